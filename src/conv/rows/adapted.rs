//! A frozen convolution with its LoRA, ReLU and pool as one op: what the LoRA adds is added by the last kernel of the
//! frozen product where that can, and back its share of the input's gradient onto the frozen one's.

use std::sync::Arc;

use super::ending::{Ending, Pool};
use super::layer::{Layer, check};
use crate::autograd::{Backward, Gradient, Tape, Var};
use crate::error::Result;
use crate::ops::relu::Floor;
use crate::ops::{Kept, Share, conv2d, low_rank_relu};
use crate::tensor::Tensor;

/// A LoRA on a convolution.
pub(crate) struct Lora<'a> {
    /// What A takes, where it is not what the frozen weight takes: some of it dropped.
    pub(crate) dropped: Option<&'a Var>,
    /// [R, cin, 3, 3].
    pub(crate) a: &'a Var,
    /// [cout, R, 1, 1].
    pub(crate) b: &'a Var,
    pub(crate) scale: f32,
}

/// x [N, cin, H, W] -> relu(W x + bias + scale B A x) [N, cout, H, W], or where it is `pooled` the largest of each 2 x 2.
///
/// # Errors
/// As [`super::convolve`], and [`crate::Error::Shape`] where the LoRA does not go together with it.
pub(crate) fn adapted(
    tape: &mut Tape,
    layer: &Arc<Layer>,
    x: &Var,
    lora: &Lora,
    pooled: bool,
) -> Result<Var> {
    let Lora {
        dropped,
        a,
        b,
        scale,
    } = *lora;
    let sides = check(layer, x, pooled)?;
    let input = dropped.unwrap_or(x);
    let hidden = conv2d::down(&input.tensor, &a.tensor)?;
    let mut parents = vec![x];
    parents.extend(dropped);
    parents.extend([a, b]);
    let tracked = parents.iter().any(|parent| parent.is_tracked());
    let ending = Ending {
        bias: &layer.bias,
        share: Some(Share {
            hidden: &hidden,
            b: &b.tensor,
            scale,
        }),
        floor: Floor::RELU,
        pool: match (pooled, tracked) {
            (false, _) => Pool::No,
            (true, false) => Pool::Largest,
            (true, true) => Pool::Kept,
        },
    };
    let ended = layer.forward.run(&x.tensor, &ending)?;
    let y = ended.y.clone();
    tape.record(y, &parents, || Rule {
        layer: layer.clone(),
        kept: ended.kept(sides),
        input: input.tensor.clone(),
        dropped: dropped.is_some(),
        hidden,
        a: a.tensor.clone(),
        b: b.tensor.clone(),
        scale,
    })
}

struct Rule {
    layer: Arc<Layer>,
    kept: Kept,
    /// What A took, [N, cin, H, W].
    input: Tensor,
    /// Whether that is a parent of its own.
    dropped: bool,
    /// A x, [N, R, H, W].
    hidden: Tensor,
    a: Tensor,
    b: Tensor,
    scale: f32,
}

impl Backward for Rule {
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>> {
        let (dz, dhidden) = low_rank_relu::backward(dy, &self.kept, &self.b, self.scale)?;
        let [wants_a, wants_b] = [wanted[wanted.len() - 2], wanted[wanted.len() - 1]];
        let db = wants_b.then(|| conv2d::backward_b(&dz, &self.hidden, self.scale));
        let da = wants_a.then(|| conv2d::backward_a(&dhidden, &self.input));
        let frozen = wanted[0].then(|| self.layer.backward(&dz)).transpose()?;
        let down = |onto| conv2d::backward_down(&dhidden, &self.a, onto);
        let dx = match (frozen, self.dropped) {
            (Some(dx), false) => vec![Some(down(Some(dx))?)],
            (None, false) => vec![None],
            (dx, true) => vec![dx, wanted[1].then(|| down(None)).transpose()?],
        };
        let factors = [da.transpose()?, db.transpose()?];
        let all = dx.into_iter().chain(factors);
        Ok(all.map(|gradient| gradient.map(Gradient::from)).collect())
    }
}
