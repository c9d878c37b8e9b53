//! What an optimiser carries from one step to the next: some tensors for each parameter, and the word that says whether all
//! that it wrote was finite. It can be taken out and put back, and the run goes on with the same bits.

use crate::autograd::Gradient;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

/// The name of the word of [`State::lost`] among the state's tensors.
const LOST: &str = "lost";

/// A run's state of `N` tensors a parameter, made with its first step.
#[derive(Clone, Debug)]
pub(super) struct State<const N: usize> {
    /// Of each parameter; kernels update them in place.
    pub(super) of: Vec<[Tensor; N]>,
    /// A word: 0 until a new number of a parameter is not finite.
    pub(super) lost: Tensor,
}

impl<const N: usize> State<N> {
    /// Zeros; `None` where there is no parameter.
    pub(super) fn new(parameters: &[Tensor]) -> Result<Option<Self>> {
        let Some(first) = parameters.first() else {
            return Ok(None);
        };
        let zeros =
            |p: &Tensor| Tensor::from_fn(p.gpu(), p.shape().clone(), |_, out| out.fill(0.0));
        Ok(Some(State {
            of: parameters
                .iter()
                .map(|p| each(|_| zeros(p)))
                .collect::<Result<_>>()?,
            lost: Tensor::from_slice(first.gpu(), [1], &[0.0])?,
        }))
    }

    /// Refuses parameters of other shapes than those of the first step.
    pub(super) fn check(&self, op: &'static str, parameters: &[Tensor]) -> Result<()> {
        let shapes = || self.of.iter().map(|all| all[0].shape());
        if shapes().eq(parameters.iter().map(Tensor::shape)) {
            return Ok(());
        }
        let list = |shapes: Vec<String>| shapes.join(", ");
        Err(Error::shape(
            op,
            format!(
                "the parameters of its first step, {}: another optimiser for others",
                list(shapes().map(Shape::to_string).collect())
            ),
            list(parameters.iter().map(|p| p.shape().to_string()).collect()),
        ))
    }

    /// Every tensor: `names[k].i` the `k`-th of parameter `i`, and the word as `lost`.
    pub(super) fn tensors(&self, names: [&str; N]) -> Vec<(String, Tensor)> {
        let mut all = Vec::with_capacity(self.of.len() * N + 1);
        for (index, tensors) in self.of.iter().enumerate() {
            for (name, tensor) in names.iter().zip(tensors) {
                all.push((format!("{name}.{index}"), tensor.clone()));
            }
        }
        all.push((LOST.into(), self.lost.clone()));
        all
    }

    /// The state of `parameters` after `steps` from what `find` gives for the names of [`State::tensors`]; copies, since steps
    /// change them.
    pub(super) fn restored(
        op: &'static str,
        names: [&str; N],
        steps: u64,
        parameters: &[Tensor],
        find: &mut dyn FnMut(&str, &Shape) -> Result<Tensor>,
    ) -> Result<Option<Self>> {
        let Some(first) = parameters.first().filter(|_| steps > 0) else {
            return Ok(None);
        };
        let mut take = |name: &str, shape: &Shape| {
            let found = find(name, shape)?;
            if found.shape() != shape {
                let expected = format!("{name} of shape {shape}");
                return Err(Error::shape(op, expected, found.shape().to_string()));
            }
            copy(&found, first)
        };
        let mut of = Vec::with_capacity(parameters.len());
        for (index, parameter) in parameters.iter().enumerate() {
            of.push(each(|k| {
                take(&format!("{}.{index}", names[k]), parameter.shape())
            })?);
        }
        let lost = take(LOST, &[1].into())?;
        Ok(Some(State { of, lost }))
    }
}

/// `N` tensors.
fn each<const N: usize>(mut make: impl FnMut(usize) -> Result<Tensor>) -> Result<[Tensor; N]> {
    let all = (0..N).map(&mut make).collect::<Result<Vec<_>>>()?;
    Ok(all.try_into().expect("as many as were made"))
}

/// The same numbers in memory of their own, on the device of `other`.
fn copy(tensor: &Tensor, other: &Tensor) -> Result<Tensor> {
    let fresh = Tensor::empty(other.gpu(), tensor.shape().clone())?;
    for ((_, from), (_, to)) in tensor.parts().zip(fresh.parts()) {
        other.gpu().copy(from, 0, to, 0, to.bytes)?;
    }
    Ok(fresh)
}

/// Refuses gradients that are not one for each parameter, of its shape.
pub(super) fn check(op: &'static str, parameters: &[Tensor], gradients: &[Gradient]) -> Result<()> {
    if parameters.len() != gradients.len() {
        let (expected, found) = (parameters.len().to_string(), gradients.len().to_string());
        return Err(Error::shape(op, format!("{expected} gradients"), found));
    }
    for (p, dp) in parameters.iter().zip(gradients) {
        let found = dp.shape()?;
        if *p.shape() != found {
            let expected = "a gradient of its parameter's shape";
            return Err(Error::shapes(op, expected, p.shape(), &found));
        }
    }
    Ok(())
}
