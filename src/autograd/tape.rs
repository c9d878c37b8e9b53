//! Reverse-mode differentiation over a Wengert list: ops record themselves going forward, and
//! [`Tape::backward`] walks the list from its end. The tape knows no op.
//!
//! A [`Var`] without a node is frozen: it has no tracked ancestor, and an op all of whose inputs are
//! frozen records nothing and saves nothing. A frozen weight *above* a tracked input is different: the
//! op records a node, and its rule returns `None` for the weight.

use std::fmt;

use super::gradient::Gradient;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A tensor in a computation, with its place on the tape where it is tracked.
#[derive(Clone, Debug)]
pub struct Var {
    /// The value.
    pub tensor: Tensor,
    node: Option<usize>,
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
}

/// The list of what was computed from tracked values, in order.
#[derive(Default)]
pub struct Tape {
    nodes: Vec<Node>,
}

/// The gradients of a tape's leaves.
#[derive(Debug)]
pub struct Gradients(Vec<Option<Gradient>>);

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
        self.nodes.push(Node {
            parents: Vec::new(),
            rule: None,
        });
        Var {
            tensor: tensor.clone(),
            node: Some(self.nodes.len() - 1),
        }
    }

    /// The result of an op on `parents`. `rule` is built only where some parent is tracked.
    pub fn record<R: Backward + 'static>(
        &mut self,
        tensor: Tensor,
        parents: &[&Var],
        rule: impl FnOnce() -> R,
    ) -> Var {
        let parents: Vec<Option<usize>> = parents.iter().map(|p| p.node).collect();
        if parents.iter().all(Option::is_none) {
            return Var { tensor, node: None };
        }
        self.nodes.push(Node {
            parents,
            rule: Some(Box::new(rule())),
        });
        Var {
            tensor,
            node: Some(self.nodes.len() - 1),
        }
    }

    /// The gradients of a one-element `loss` with respect to every leaf.
    ///
    /// # Errors
    /// [`Error::Shape`] where `loss` has more than one element, [`Error::Usage`] where nothing that it
    /// was computed from is tracked, and what the device reported.
    pub fn backward(mut self, loss: &Var) -> Result<Gradients> {
        if loss.tensor.shape().len() != 1 {
            return Err(Error::shape(
                "backward",
                "a loss of one element",
                loss.tensor.shape().to_string(),
            ));
        }
        let last = tracked(loss)?;
        self.nodes.truncate(last + 1);
        let mut gradients: Vec<Option<Gradient>> = vec![None; last + 1];
        if let Some(Node { parents, rule }) = self.nodes.pop() {
            let wanted: Vec<bool> = parents.iter().map(Option::is_some).collect();
            match rule {
                Some(rule) => {
                    let fresh = rule.backward_of_one(&loss.tensor, &wanted)?;
                    hand_down(&mut gradients, &parents, fresh)?;
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
        let last = tracked(output)?;
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
            hand_down(&mut gradients, &node.parents, fresh)?;
        }
        Ok(Gradients(gradients))
    }
}

fn tracked(output: &Var) -> Result<usize> {
    output.node.ok_or_else(|| {
        Error::Usage(
            "backward: nothing in this computation is tracked; make a parameter with Tape::leaf"
                .into(),
        )
    })
}

/// Adds the gradients of a node's parents to what they have.
fn hand_down(
    gradients: &mut [Option<Gradient>],
    parents: &[Option<usize>],
    fresh: Vec<Option<Gradient>>,
) -> Result<()> {
    for (parent, gradient) in parents.iter().zip(fresh) {
        if let (Some(parent), Some(gradient)) = (*parent, gradient) {
            gradients[parent] = Some(match gradients[parent].take() {
                None => gradient,
                Some(sum) => sum.dense()?.plus(&gradient.dense()?)?.into(),
            });
        }
    }
    Ok(())
}

impl Gradients {
    /// The gradient of `leaf`, `None` where the loss does not depend on it.
    pub fn get(&self, leaf: &Var) -> Option<&Gradient> {
        self.0.get(leaf.node?)?.as_ref()
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
