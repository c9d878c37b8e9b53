//! The optimisers under one type: what a training loop steps with, whichever was chosen.

use super::adam::Adam;
use super::sgd::Sgd;
use crate::autograd::Gradient;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

/// Which rule moves the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// [`Adam`]; weight decay is added to the gradient.
    #[default]
    Adam,
    /// [`Adam`] with decoupled weight decay.
    AdamW,
    /// [`Sgd`].
    Sgd,
}

/// What an [`Optimizer`] is made from, but for its learning rate. What a rule has no use for, it does not look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The rule.
    pub rule: Rule,
    /// Adam's and AdamW's decay rates of the two moments.
    pub betas: [f64; 2],
    /// Adam's and AdamW's, added to the root of the second moment.
    pub eps: f64,
    /// How strongly parameters are drawn to zero.
    pub weight_decay: f64,
    /// SGD's.
    pub momentum: f64,
    /// SGD's: looks ahead along the momentum.
    pub nesterov: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings::ADAM
    }
}

impl Settings {
    /// Adam with PyTorch's defaults.
    pub const ADAM: Settings = Settings {
        rule: Rule::Adam,
        betas: [0.9, 0.999],
        eps: 1e-8,
        weight_decay: 0.0,
        momentum: 0.0,
        nesterov: false,
    };

    /// Refuses settings that cannot train, PyTorch's rules for them.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let wrong = |name, rule: &str, found: f64| {
            Err(Error::setting(
                name,
                format!("must be {rule}, found {found}"),
            ))
        };
        for beta in self.betas {
            if !(0.0..1.0).contains(&beta) {
                return wrong("betas", "at least 0 and below 1", beta);
            }
        }
        if !self.eps.is_finite() || self.eps <= 0.0 {
            return wrong("eps", "a positive number", self.eps);
        }
        if !self.weight_decay.is_finite() || self.weight_decay < 0.0 {
            return wrong("weight_decay", "a number of at least 0", self.weight_decay);
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return wrong("momentum", "at least 0 and below 1", self.momentum);
        }
        if self.nesterov && (self.rule != Rule::Sgd || self.momentum == 0.0) {
            let problem = "looks ahead along a momentum: it takes sgd and a momentum above 0";
            return Err(Error::setting("nesterov", problem));
        }
        Ok(())
    }
}

/// Any of the optimisers.
#[derive(Clone, Debug)]
pub enum Optimizer {
    /// Adam, or AdamW.
    Adam(Adam),
    /// Gradient descent.
    Sgd(Sgd),
}

impl Optimizer {
    /// One that has taken no step, with the learning rate of its first.
    pub fn new(settings: &Settings, lr: f64) -> Self {
        match settings.rule {
            Rule::Adam | Rule::AdamW => {
                let mut adam = Adam::new(lr);
                adam.betas = settings.betas;
                adam.eps = settings.eps;
                adam.weight_decay = settings.weight_decay;
                adam.decoupled = settings.rule == Rule::AdamW;
                Optimizer::Adam(adam)
            }
            Rule::Sgd => {
                let mut sgd = Sgd::new(lr);
                sgd.momentum = settings.momentum;
                sgd.nesterov = settings.nesterov;
                sgd.weight_decay = settings.weight_decay;
                Optimizer::Sgd(sgd)
            }
        }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        match self {
            Optimizer::Adam(adam) => adam.steps,
            Optimizer::Sgd(sgd) => sgd.steps,
        }
    }

    /// Sets the learning rate of the steps that follow.
    pub fn set_lr(&mut self, lr: f64) {
        match self {
            Optimizer::Adam(adam) => adam.lr = lr,
            Optimizer::Sgd(sgd) => sgd.lr = lr,
        }
    }

    /// Replaces each parameter by its next value.
    ///
    /// # Errors
    /// As [`Adam::step`].
    pub fn step(&mut self, parameters: &mut [Tensor], gradients: &[Gradient]) -> Result<()> {
        match self {
            Optimizer::Adam(adam) => adam.step(parameters, gradients),
            Optimizer::Sgd(sgd) => sgd.step(parameters, gradients),
        }
    }

    /// A word that is 0 as long as all that it wrote is finite; `None` before the first step.
    pub(crate) fn lost(&self) -> Option<&Tensor> {
        match self {
            Optimizer::Adam(adam) => adam.lost(),
            Optimizer::Sgd(sgd) => sgd.lost(),
        }
    }

    /// As [`Adam::state`], with the names of the rule.
    pub fn state(&self) -> (u64, Vec<(String, Tensor)>) {
        match self {
            Optimizer::Adam(adam) => adam.state(),
            Optimizer::Sgd(sgd) => sgd.state(),
        }
    }

    /// As [`Adam::restore`].
    ///
    /// # Errors
    /// As there.
    pub fn restore(
        &mut self,
        steps: u64,
        parameters: &[Tensor],
        find: &mut dyn FnMut(&str, &Shape) -> Result<Tensor>,
    ) -> Result<()> {
        match self {
            Optimizer::Adam(adam) => adam.restore(steps, parameters, find),
            Optimizer::Sgd(sgd) => sgd.restore(steps, parameters, find),
        }
    }
}
