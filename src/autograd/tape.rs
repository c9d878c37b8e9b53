//! Reverse-mode differentiation over a Wengert list: ops record themselves going forward, and
//! [`Tape::backward`] walks the list from its end. The tape knows no op.
//!
//! A [`Var`] without a node is frozen: it has no tracked ancestor, and an op all of whose inputs are
//! frozen records nothing and saves nothing. A frozen weight *above* a tracked input is different: the
//! op records a node, and its rule returns `None` for the weight.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::gradient::Gradient;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

/// A tensor in a computation, with its place on the tape where it is tracked.
#[derive(Clone, Debug)]
pub struct Var {
    /// The value.
    pub tensor: Tensor,
    node: Option<Place>,
}

/// A node of a tape.
#[derive(Clone, Copy, Debug)]
struct Place {
    tape: u64,
    index: usize,
}

impl Var {
    /// A value that needs no gradient.
    pub fn frozen(tensor: &Tensor) -> Self {
        Var {
            tensor: tensor.clone(),
            node: None,
        }
    }

    /// Whether a gradient flows here.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }
}

/// What an op does with an incoming gradient. Tensors it saved drop as it runs.
pub trait Backward {
    /// From `dy`, the gradient of the output, a fresh gradient for each parent in the order of
    /// recording; `None` for those in `wanted` that are `false`.
    ///
    /// # Errors
    /// What the device reported.
    fn backward(self: Box<Self>, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Gradient>>>;

    /// The same for an output `y` of one element whose gradient is 1, as a loss has. For rules that know the answer.
    ///
    /// # Errors
    /// What the device reported.
    fn backward_of_one(
        self: Box<Self>,
        y: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Gradient>>> {
        let one = Tensor::from_slice(y.gpu(), y.shape().clone(), &[1.0])?;
        self.backward(&one, wanted)
    }
}

struct Node {
    parents: Vec<Option<usize>>,
    /// `None` for a leaf, whose gradient is a result.
    rule: Option<Box<dyn Backward>>,
    /// Of the value, and of its gradient.
    shape: Shape,
    /// Whether both are in planes.
    planes: bool,
}

/// The list of what was computed from tracked values, in order.
pub struct Tape {
    /// No other tape has it.
    id: u64,
    nodes: Vec<Node>,
}

impl Default for Tape {
    fn default() -> Self {
        static TAPES: AtomicU64 = AtomicU64::new(0);
        Tape {
            id: TAPES.fetch_add(1, Ordering::Relaxed),
            nodes: Vec::new(),
        }
    }
}

/// The gradients of a tape's leaves.
#[derive(Debug)]
pub struct Gradients {
    tape: u64,
    of: Vec<Option<Gradient>>,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape")
            .field("nodes", &self.nodes.len())
            .finish()
    }
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of recorded nodes, leaves included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is tracked yet.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A value whose gradient is wanted.
    pub fn leaf(&mut self, tensor: &Tensor) -> Var {
        self.push(tensor.clone(), Vec::new(), None)
    }

    fn push(
        &mut self,
        tensor: Tensor,
        parents: Vec<Option<usize>>,
        rule: Option<Box<dyn Backward>>,
    ) -> Var {
        self.nodes.push(Node {
            parents,
            rule,
            shape: tensor.shape().clone(),
            planes: tensor.texture().is_some(),
        });
        let (tape, index) = (self.id, self.nodes.len() - 1);
        Var {
            tensor,
            node: Some(Place { tape, index }),
        }
    }

    /// The node of a value, `None` where it is not tracked.
    fn index(&self, var: &Var) -> Result<Option<usize>> {
        match var.node {
            Some(place) if place.tape != self.id => Err(Error::Usage(
                "a tracked value belongs to another tape: compute with the tape that made it, or with Var::frozen of \
                 its tensor"
                    .into(),
            )),
            place => Ok(place.map(|place| place.index)),
        }
    }

    /// The result of an op on `parents`. `rule` is built only where some parent is tracked.
    ///
    /// # Errors
    /// [`Error::Usage`] where a parent is tracked by another tape.
    pub fn record<R: Backward + 'static>(
        &mut self,
        tensor: Tensor,
        parents: &[&Var],
        rule: impl FnOnce() -> R,
    ) -> Result<Var> {
        let parents = parents.iter().map(|parent| self.index(parent));
        let parents: Vec<Option<usize>> = parents.collect::<Result<_>>()?;
        if parents.iter().all(Option::is_none) {
            return Ok(Var { tensor, node: None });
        }
        Ok(self.push(tensor, parents, Some(Box::new(rule()))))
    }

    /// The gradients of a one-element `loss` with respect to every leaf.
    ///
    /// # Errors
    /// [`Error::Shape`] where `loss` has more than one element, [`Error::Usage`] where nothing that it
    /// was computed from is tracked or another tape tracks it, [`Error::Shape`] where an op's rule gives what is no
    /// gradient of its inputs, and what the device reported.
    pub fn backward(mut self, loss: &Var) -> Result<Gradients> {
        if loss.tensor.shape().len() != 1 {
            return Err(Error::shape(
                "backward",
                "a loss of one element",
                loss.tensor.shape().to_string(),
            ));
        }
        let last = self.tracked(loss)?;
        self.nodes.truncate(last + 1);
        let mut gradients: Vec<Option<Gradient>> = vec![None; last + 1];
        if let Some(Node { parents, rule, .. }) = self.nodes.pop() {
            let wanted: Vec<bool> = parents.iter().map(Option::is_some).collect();
            match rule {
                Some(rule) => {
                    let fresh = rule.backward_of_one(&loss.tensor, &wanted)?;
                    self.hand_down(&mut gradients, &parents, fresh)?;
                }
                None => {
                    let shape = loss.tensor.shape().clone();
                    let one = Tensor::from_slice(loss.tensor.gpu(), shape, &[1.0])?;
                    gradients[last] = Some(one.into());
                }
            }
        }
        self.walk(gradients)
    }

    /// The gradients of the sum of `output * upstream` with respect to every leaf.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ, otherwise as [`Tape::backward`].
    pub fn backward_from(self, output: &Var, upstream: Tensor) -> Result<Gradients> {
        if output.tensor.shape() != upstream.shape() {
            return Err(Error::shapes(
                "backward",
                "an upstream gradient of the output's shape",
                output.tensor.shape(),
                upstream.shape(),
            ));
        }
        let last = self.tracked(output)?;
        let mut gradients: Vec<Option<Gradient>> = vec![None; self.nodes.len()];
        gradients[last] = Some(upstream.into());
        self.walk(gradients)
    }

    /// Pops the nodes from the end and hands their gradients down.
    fn walk(mut self, mut gradients: Vec<Option<Gradient>>) -> Result<Gradients> {
        while let Some(node) = self.nodes.pop() {
            let (Some(rule), Some(dy)) = (node.rule, gradients[self.nodes.len()].as_ref()) else {
                continue;
            };
            let wanted: Vec<bool> = node.parents.iter().map(Option::is_some).collect();
            let fresh = rule.backward(&dy.dense()?, &wanted)?;
            gradients[self.nodes.len()] = None;
            self.hand_down(&mut gradients, &node.parents, fresh)?;
        }
        Ok(Gradients {
            tape: self.id,
            of: gradients,
        })
    }

    fn tracked(&self, output: &Var) -> Result<usize> {
        self.index(output)?.ok_or_else(|| {
            Error::Usage(
                "backward: nothing in this computation is tracked; make a parameter with Tape::leaf"
                    .into(),
            )
        })
    }

    /// Adds the gradients of a node's parents to what they have.
    fn hand_down(
        &self,
        gradients: &mut [Option<Gradient>],
        parents: &[Option<usize>],
        fresh: Vec<Option<Gradient>>,
    ) -> Result<()> {
        if fresh.len() != parents.len() {
            return Err(Error::shape(
                "backward",
                format!("a gradient, or None, for each of {} inputs", parents.len()),
                fresh.len().to_string(),
            ));
        }
        for (parent, gradient) in parents.iter().zip(fresh) {
            if let (Some(parent), Some(gradient)) = (*parent, gradient) {
                let Node { shape, planes, .. } = &self.nodes[parent];
                let found = gradient.shape()?;
                let in_planes = matches!(&gradient, Gradient::Dense(t) if t.texture().is_some());
                if found != *shape || in_planes != *planes {
                    let layout = |planes| if planes { "planes" } else { "rows" };
                    return Err(Error::shape(
                        "backward",
                        format!(
                            "a gradient of its input's shape {shape} in {}",
                            layout(*planes)
                        ),
                        format!("{found} in {}", layout(in_planes)),
                    ));
                }
                gradients[parent] = Some(match gradients[parent].take() {
                    None => gradient,
                    Some(sum) => sum.dense()?.plus(&gradient.dense()?)?.into(),
                });
            }
        }
        Ok(())
    }
}

impl Gradients {
    /// The gradient of `leaf`, `None` where the loss does not depend on it.
    pub fn get(&self, leaf: &Var) -> Option<&Gradient> {
        let place = leaf.node.filter(|place| place.tape == self.tape)?;
        self.of.get(place.index)?.as_ref()
    }

    /// The gradient of `leaf`.
    ///
    /// # Errors
    /// [`Error::Usage`] where the loss does not depend on it.
    pub fn of(&self, leaf: &Var) -> Result<&Gradient> {
        self.get(leaf)
            .ok_or_else(|| Error::Usage("backward: the loss does not depend on a parameter".into()))
    }

    /// The gradients of `leaves`, in their order: what an optimiser takes.
    ///
    /// # Errors
    /// As [`Gradients::of`].
    pub fn of_all(&self, leaves: &[Var]) -> Result<Vec<Gradient>> {
        leaves.iter().map(|leaf| self.of(leaf).cloned()).collect()
    }
}
