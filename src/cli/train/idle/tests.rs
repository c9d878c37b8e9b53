//! No flag without a decision.

use std::collections::BTreeSet;

use clap::CommandFactory;

use super::{by_itself, of_its_length, of_what_is_adapted};
use crate::cli::Cli;

/// Those that do what they say whatever else is said, or are refused where they are read: of clap's `conflicts_with`, of
/// `labelled` (classes), of `fresh` (head), of `variants` (augmentation), of the optimiser (nesterov).
const ALWAYS: &[&str] = &[
    "help",
    "device",
    "version",
    "output",
    "overwrite",
    "resume",
    "config",
    "dry-run",
    "verify-determinism",
    "weights",
    "arch",
    "image-size",
    "exif",
    "skip-bad",
    "precision",
    "kernels",
    "tune",
    "image-memory",
    "classes",
    "keep-imagenet",
    "head",
    "targets",
    "epochs",
    "batch-size",
    "lr",
    "seed",
    "init-adapter",
    "cache",
    "store",
    "val",
    "val-split",
    "fold",
    "kfold",
    "save-every",
    "keep",
    "optimizer",
    "nesterov",
    "weight-decay",
    "schedule",
    "clip-norm",
    "label-smoothing",
    "class-weights",
    "augment",
    "flip",
    "crop-scale",
    "crop-ratio",
    "jitter",
    "cache-variants",
];

#[test]
fn of_every_flag_of_train_it_is_known_whether_it_may_do_nothing() {
    let program = Cli::command();
    let train = program.find_subcommand("train").expect("it is there");
    let flags = train.get_arguments().filter_map(|arg| arg.get_long());
    let flags: BTreeSet<String> = flags.map(String::from).collect();
    let names = by_itself().iter().map(|idle| idle.name).collect::<Vec<_>>();
    let more = of_what_is_adapted().iter().map(|idle| idle.name).collect();
    let last = of_its_length().iter().map(|idle| idle.name).collect();
    let names = [names, more, last].concat().into_iter();
    let idle: BTreeSet<String> = names.map(|name| name.replace('_', "-")).collect();
    let always: BTreeSet<String> = ALWAYS.iter().map(|name| name.to_string()).collect();
    assert_eq!(idle.intersection(&always).collect::<Vec<_>>(), [""; 0]);
    let own = ["help", "device", "version"].map(String::from);
    let known: BTreeSet<String> = idle.union(&always).cloned().collect();
    let open: Vec<&String> = flags.difference(&known).collect();
    assert!(open.is_empty(), "what may make these do nothing? {open:?}");
    let gone = known.difference(&flags).filter(|name| !own.contains(name));
    assert_eq!(gone.collect::<Vec<_>>(), [""; 0], "no flags of train");
}
