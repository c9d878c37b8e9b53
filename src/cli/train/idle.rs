//! Settings that would do nothing beside the others, which nobody asks for: one that decides what a run comes to is refused;
//! of one that only says what a run may take, or that depends on how long it is, the run tells.

use goldfish::nn::{Adapter, chooses};
use goldfish::train::Plan;
use goldfish::{Error, Result};

use super::args::{CACHE_MEMORY, Cache, TrainArgs};
use super::recipe::{CurveArg, RuleArg, STEP_GAMMA};
use crate::cli::advice::flag;
use crate::cli::base::BaseArgs;
use crate::cli::store::{STORE_SIZE, StoreArg};
use crate::cli::terminal::note;
use crate::cli::values::MetricArg;

/// A setting that may do nothing, by what is known: `T`.
struct Idle<T> {
    /// As the flag is called, with `_` for `-`.
    name: &'static str,
    does: Does,
    /// Why it would do nothing, to be read after its name, where it would.
    why: fn(&T) -> Option<String>,
}

/// What is done about it.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// It decides what the run comes to.
    Refused,
    /// It does not.
    Told,
}
use Does::{Refused, Told};

/// What is known before anything is looked at.
struct Asked<'a> {
    base: &'a BaseArgs,
    args: &'a TrainArgs,
}

/// What is known once it is known what is adapted, and for how many classes.
struct Adapted<'a> {
    args: &'a TrainArgs,
    start: &'a Adapter,
    classes: usize,
}

/// What is known once the images are counted.
struct Counted<'a> {
    args: &'a TrainArgs,
    plan: &'a Plan,
    /// Those that are trained on.
    images: usize,
}

/// `why`, where that is so.
fn so(idle: bool, why: &str) -> Option<String> {
    idle.then(|| why.to_string())
}

const UNSEEN: &str = "needs images that are not trained on: name them with --val, or a part of the images with --val-split, --fold or --kfold";
const SGD: &str = "goes with --optimizer sgd, which alone has it";
const ADAM: &str = "goes with --optimizer adam or adamw, which alone have it";
const STEP: &str = "goes with --schedule step, which alone has it";
const UNCACHED: &str = "does nothing with --cache off, which keeps nothing of what it is for";
const UNSTORED: &str = "does nothing with --store off, which keeps nothing for other runs";
const NO_LORA: &str = "is of LoRAs, and there are none: the new last layer alone is trained. Name layers with --targets beside head, or leave it out";

fn by_itself<'a>() -> Vec<Idle<Asked<'a>>> {
    vec![
        Idle {
            name: "early_stop",
            does: Refused,
            why: |of| so(of.args.early_stop.is_some() && !of.args.validates(), UNSEEN),
        },
        Idle {
            name: "metric",
            does: Refused,
            why: |of| {
                let other = of.args.metric != MetricArg::Loss;
                so(other && !of.args.validates(), UNSEEN)
            },
        },
        Idle {
            name: "momentum",
            does: Refused,
            why: |of| {
                let recipe = &of.args.recipe;
                so(
                    recipe.momentum != 0.0 && recipe.optimizer != RuleArg::Sgd,
                    SGD,
                )
            },
        },
        Idle {
            name: "betas",
            does: Refused,
            why: |of| {
                let (recipe, usual) = (&of.args.recipe, Plan::TUTORIAL.recipe.optimizer.betas);
                so(
                    recipe.betas != usual && recipe.optimizer == RuleArg::Sgd,
                    ADAM,
                )
            },
        },
        Idle {
            name: "eps",
            does: Refused,
            why: |of| {
                let (recipe, usual) = (&of.args.recipe, Plan::TUTORIAL.recipe.optimizer.eps);
                so(
                    recipe.eps != usual && recipe.optimizer == RuleArg::Sgd,
                    ADAM,
                )
            },
        },
        Idle {
            name: "step_every",
            does: Refused,
            why: |of| {
                let recipe = &of.args.recipe;
                so(
                    recipe.step_every.is_some() && recipe.schedule != CurveArg::Step,
                    STEP,
                )
            },
        },
        Idle {
            name: "step_gamma",
            does: Refused,
            why: |of| {
                let recipe = &of.args.recipe;
                so(
                    recipe.step_gamma != STEP_GAMMA && recipe.schedule != CurveArg::Step,
                    STEP,
                )
            },
        },
        Idle {
            name: "any_base",
            does: Told,
            why: |of| {
                so(
                    of.base.any_base && of.args.init_adapter.is_none(),
                    "does nothing without --init-adapter: a new adapter has no other base",
                )
            },
        },
        Idle {
            name: "cache_memory",
            does: Told,
            why: |of| {
                let other = of.args.cache_memory != CACHE_MEMORY;
                so(other && of.args.cache == Cache::Off, UNCACHED)
            },
        },
        Idle {
            name: "store_size",
            does: Told,
            why: |of| {
                let (args, other) = (of.args, of.args.store.store_size != STORE_SIZE);
                match args.store.store {
                    StoreArg::Off => so(other, UNSTORED),
                    StoreArg::Auto => so(other && args.cache == Cache::Off, UNCACHED),
                }
            },
        },
    ]
}

/// What is `said` of LoRAs, where there are none.
fn no_lora(of: &Adapted, said: bool) -> Option<String> {
    so(said && of.start.loras.is_empty(), NO_LORA)
}

/// What is `said` of modules that no pattern names, where these name every one that is adapted.
fn every_one<T>(of: &Adapted, said: bool, patterns: &[(String, T)]) -> Option<String> {
    so(
        said && all_named(of.start, patterns),
        "does nothing where a pattern gives every adapted module its own: leave out the one or the other",
    )
}

/// Whether each module that is adapted is named by one of these patterns.
pub(super) fn all_named<T>(adapter: &Adapter, patterns: &[(String, T)]) -> bool {
    let named = |module: &str| patterns.iter().any(|(name, _)| chooses(name, module));
    adapter.loras.iter().all(|(module, _)| named(module))
}

/// The first of these patterns that names no module that is adapted.
fn unused<T>(of: &Adapted, patterns: &[(String, T)]) -> Option<String> {
    let used = |pattern: &str| {
        of.start
            .loras
            .iter()
            .any(|(module, _)| chooses(pattern, module))
    };
    let (pattern, _) = patterns.iter().find(|(pattern, _)| !used(pattern))?;
    Some(format!(
        "names {pattern}, and no such module is adapted: name it with --targets, or leave it out"
    ))
}

fn of_what_is_adapted<'a>() -> Vec<Idle<Adapted<'a>>> {
    vec![
        Idle {
            name: "rank",
            does: Refused,
            why: |of| {
                let said = of.args.rank.is_some();
                no_lora(of, said).or_else(|| every_one(of, said, &of.args.rank_pattern))
            },
        },
        Idle {
            name: "alpha",
            does: Refused,
            why: |of| {
                let said = of.args.alpha.is_some();
                no_lora(of, said).or_else(|| every_one(of, said, &of.args.alpha_pattern))
            },
        },
        Idle {
            name: "rslora",
            does: Refused,
            why: |of| no_lora(of, of.args.rslora),
        },
        Idle {
            name: "init",
            does: Refused,
            why: |of| no_lora(of, of.args.init.is_some()),
        },
        Idle {
            name: "dropout",
            does: Refused,
            why: |of| no_lora(of, of.args.dropout != 0.0),
        },
        Idle {
            name: "rank_pattern",
            does: Refused,
            why: |of| unused(of, &of.args.rank_pattern),
        },
        Idle {
            name: "alpha_pattern",
            does: Refused,
            why: |of| unused(of, &of.args.alpha_pattern),
        },
        Idle {
            name: "metric",
            does: Refused,
            why: |of| {
                let (top5, classes) = (of.args.metric == MetricArg::Top5, of.classes);
                (top5 && classes <= 5).then(|| {
                format!(
                    "top5 is 100 % of whatever is asked about {classes} classes: take top1 or loss"
                )
            })
            },
        },
        Idle {
            name: "checkpoint_activations",
            does: Told,
            why: |of| {
                let deep = |(module, _): &(String, _)| module.starts_with("features.");
                so(
                    of.args.checkpoint_activations && !of.start.loras.iter().any(deep),
                    "does nothing where no convolution is adapted: no step goes back through one",
                )
            },
        },
    ]
}

fn of_its_length<'a>() -> Vec<Idle<Counted<'a>>> {
    vec![
        Idle {
            name: "early_stop",
            does: Told,
            why: |of| {
                let (patience, epochs) = (of.plan.patience?, of.plan.epochs);
                (patience >= epochs).then(|| {
                    format!(
                        "{patience} does nothing in a run of {}",
                        many(epochs as u64, "epoch")
                    )
                })
            },
        },
        Idle {
            name: "warmup",
            does: Told,
            why: |of| {
                let (warmup, steps) = (of.args.recipe.warmup, of.plan.steps(of.images));
                let falls = of.args.recipe.schedule != CurveArg::Constant;
                match warmup > steps {
                    true => Some(format!(
                        "{warmup} is longer than the run, which has {}: the rate never becomes what --lr says",
                        many(steps, "step")
                    )),
                    false => so(
                        falls && warmup > 0 && warmup == steps,
                        "takes all steps of the run: --schedule does nothing behind it",
                    ),
                }
            },
        },
        Idle {
            name: "step_every",
            does: Told,
            why: |of| {
                let (every, steps) = (of.args.recipe.step_every?, of.plan.steps(of.images));
                let warmup = of.args.recipe.warmup;
                let of_them = match warmup {
                    0 => String::new(),
                    _ => format!(", {warmup} of them warm-up"),
                };
                (every.saturating_add(warmup) >= steps).then(|| {
                    format!(
                        "{every} does nothing: the rate never falls in a run of {}{of_them}",
                        many(steps, "step")
                    )
                })
            },
        },
        Idle {
            name: "max_steps",
            does: Told,
            why: |of| {
                let most = of.plan.recipe.max_steps?;
                let steps = of.plan.epochs as u64 * of.plan.steps_per_epoch(of.images) as u64;
                (most > steps).then(|| {
                    format!(
                        "{most} is not reached: {} have {}. More --epochs have more",
                        many(of.plan.epochs as u64, "epoch"),
                        many(steps, "step")
                    )
                })
            },
        },
        Idle {
            name: "micro_batch",
            does: Refused,
            why: |of| {
                let (part, batch) = (of.plan.micro_batch?, of.plan.batch_size);
                (part > batch).then(|| {
                    format!(
                        "{part} is more than a batch has, {batch}: lower it, or take a larger batch"
                    )
                })
            },
        },
        Idle {
            name: "grad_accum",
            does: Told,
            why: |of| {
                let (batches, batch) = (of.plan.recipe.grad_accum, of.plan.batch_size);
                (batches > 1 && of.images <= batch).then(|| {
                    format!(
                        "{batches} does nothing: {} are one batch",
                        many(of.images as u64, "image")
                    )
                })
            },
        },
    ]
}

/// `1 step`, `2 steps`.
fn many(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Refuses the first setting of `table` that would do nothing, or tells of it.
fn go_through<T>(table: &[Idle<T>], of: &T) -> Result<()> {
    for Idle { name, does, why } in table {
        match (why(of), does) {
            (None, _) => {}
            (Some(why), Refused) => return Err(Error::setting(name, why)),
            (Some(why), Told) => note!("notice   {} {why}", flag(name)),
        }
    }
    Ok(())
}

impl TrainArgs {
    /// Refuses what would do nothing whatever the data are, and tells of what only takes nothing.
    pub(in crate::cli) fn check(&self, base: &BaseArgs) -> Result<()> {
        if self.keep == 0 {
            return Err(Error::setting("keep", "must be at least 1"));
        }
        go_through(&by_itself(), &Asked { base, args: self })
    }

    /// The same for what is adapted from `start`, for so many classes.
    pub(super) fn check_adapted(&self, start: &Adapter, classes: usize) -> Result<()> {
        let adapted = Adapted {
            args: self,
            start,
            classes,
        };
        go_through(&of_what_is_adapted(), &adapted)
    }

    /// Tells of what a run of `plan` on so many `images` has no use for.
    pub(in crate::cli) fn check_length(&self, plan: &Plan, images: usize) -> Result<()> {
        let counted = Counted {
            args: self,
            plan,
            images,
        };
        go_through(&of_its_length(), &counted)
    }
}

#[cfg(test)]
mod tests;
