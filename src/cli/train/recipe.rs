//! How the steps of a run are taken, as flags and as the library's settings.

use clap::{Args as ClapArgs, ValueEnum};
use goldfish::optim::{Curve, Rule, Schedule, Settings};
use goldfish::train::{ClassWeights, Recipe};

pub(super) const STEPS: &str = "How it learns";
/// What a fall of the rate leaves of it unless somebody says otherwise, as in PyTorch.
pub(super) const STEP_GAMMA: f64 = 0.1;

/// What moves the adapter from step to step.
#[derive(ClapArgs, Clone)]
pub struct RecipeArgs {
    /// What moves the adapter: Adam, AdamW (weight decay apart from the gradient) or SGD, with PyTorch's arithmetic
    #[arg(long, value_enum, default_value = "adam", help_heading = STEPS)]
    pub(super) optimizer: RuleArg,
    /// How strongly numbers are drawn to zero [default: 0; with adamw 0.01]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true, help_heading = STEPS)]
    weight_decay: Option<f64>,
    /// Adam's and AdamW's decay rates of the gradient's mean and of its square's
    #[arg(long, value_name = "B1,B2", default_value = "0.9,0.999", value_parser = betas, allow_negative_numbers = true, help_heading = STEPS)]
    pub(super) betas: [f64; 2],
    /// Adam's and AdamW's, added to the root of the square's mean
    #[arg(long, default_value_t = 1e-8, allow_negative_numbers = true, help_heading = STEPS)]
    pub(super) eps: f64,
    /// SGD's: what each step keeps of the last one's direction
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true, help_heading = STEPS)]
    pub(super) momentum: f64,
    /// SGD's: look ahead along the momentum
    #[arg(long, help_heading = STEPS)]
    pub(super) nesterov: bool,
    /// What the learning rate does: it stays (constant), falls to zero along half a cosine or a line, or falls at once every
    /// so many steps (step)
    #[arg(long, value_enum, default_value = "constant", help_heading = STEPS)]
    pub(super) schedule: CurveArg,
    /// Steps over which the learning rate rises before that
    #[arg(long, value_name = "STEPS", default_value_t = 0, help_heading = STEPS)]
    pub(super) warmup: u64,
    /// Steps between two falls of --schedule step [default: a third of those after the warm-up]
    #[arg(long, value_name = "STEPS", help_heading = STEPS)]
    pub(super) step_every: Option<u64>,
    /// What each fall of --schedule step leaves of the rate
    #[arg(long, value_name = "SHARE", default_value_t = STEP_GAMMA, allow_negative_numbers = true, help_heading = STEPS)]
    pub(super) step_gamma: f64,
    /// Scale the gradients down to this norm, all together, where theirs is larger
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, help_heading = STEPS)]
    clip_norm: Option<f64>,
    /// Gather the gradients of so many batches for one step: as one batch of all their images, in the memory of one
    #[arg(long, value_name = "BATCHES", default_value_t = 1, help_heading = STEPS)]
    grad_accum: usize,
    /// End after so many steps, whatever --epochs says
    #[arg(long, value_name = "STEPS", help_heading = STEPS)]
    max_steps: Option<u64>,
    /// Share of each target that is spread evenly over all classes
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true, help_heading = STEPS)]
    label_smoothing: f64,
    /// What counts the same in the loss: every image (even), or every class however many images it has (balanced)
    #[arg(long, value_enum, default_value = "even", help_heading = STEPS)]
    class_weights: WeightsArg,
}

impl RecipeArgs {
    pub(super) fn recipe(&self) -> Recipe {
        Recipe {
            optimizer: Settings {
                rule: self.optimizer.into(),
                betas: self.betas,
                eps: self.eps,
                weight_decay: self.weight_decay(),
                momentum: self.momentum,
                nesterov: self.nesterov,
            },
            schedule: Schedule {
                curve: match self.schedule {
                    CurveArg::Constant => Curve::Constant,
                    CurveArg::Cosine => Curve::Cosine,
                    CurveArg::Linear => Curve::Linear,
                    CurveArg::Step => Curve::Step {
                        every: self.step_every,
                        gamma: self.step_gamma,
                    },
                },
                warmup: self.warmup,
            },
            clip_norm: self.clip_norm,
            grad_accum: self.grad_accum,
            max_steps: self.max_steps,
            label_smoothing: self.label_smoothing,
            class_weights: self.class_weights.into(),
        }
    }

    /// PyTorch's where nobody says one.
    pub(super) fn weight_decay(&self) -> f64 {
        self.weight_decay.unwrap_or(match self.optimizer {
            RuleArg::Adamw => 0.01,
            RuleArg::Adam | RuleArg::Sgd => 0.0,
        })
    }
}

/// Two numbers with a comma between them.
fn betas(text: &str) -> Result<[f64; 2], String> {
    let parse = || {
        let (first, second) = text.split_once(',')?;
        Some([first.trim().parse().ok()?, second.trim().parse().ok()?])
    };
    parse().ok_or_else(|| format!("{text:?} is not two numbers, as in 0.9,0.999"))
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(super) enum RuleArg {
    Adam,
    Adamw,
    Sgd,
}

impl From<RuleArg> for Rule {
    fn from(rule: RuleArg) -> Self {
        match rule {
            RuleArg::Adam => Rule::Adam,
            RuleArg::Adamw => Rule::AdamW,
            RuleArg::Sgd => Rule::Sgd,
        }
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(super) enum CurveArg {
    Constant,
    Cosine,
    Linear,
    Step,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum WeightsArg {
    Even,
    Balanced,
}

impl From<WeightsArg> for ClassWeights {
    fn from(weights: WeightsArg) -> Self {
        match weights {
            WeightsArg::Even => ClassWeights::Even,
            WeightsArg::Balanced => ClassWeights::Balanced,
        }
    }
}
