//! Settings that would do nothing beside the others: each is refused by its flag, or told of, before anything is trained.

use std::path::Path;

use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

use crate::cli::{TINY, goldfish};
use crate::support::{gpu_trial, pictures};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial("idle::what_would_do_nothing_is_refused", refused),
        gpu_trial("idle::what_only_takes_nothing_is_told_of", told),
        gpu_trial("idle::what_a_run_writes_of_itself_is_no_such_setting", own),
        gpu_trial("idle::what_could_not_be_measured_is_refused", unmeasured),
    ]
}

/// `data/` with three classes of their own of four images.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for class in ["b", "cc", "ddd"] {
        let sizes = [(40, 50), (60, 40), (33, 90), (48, 37)];
        pictures(&folder.path().join("data"), class, &sizes);
    }
    folder
}

/// Two epochs of three steps unless `flags` say otherwise.
fn asked(folder: &Path, command: &[&str], flags: &str) -> assert_cmd::assert::Assert {
    let mut run = goldfish(folder);
    run.args(command).args(TINY);
    for (flag, usual) in [("-e", "2"), ("-b", "4")] {
        if !flags.split(' ').any(|word| word == flag) {
            run.args([flag, usual]);
        }
    }
    run.args(flags.split(' ')).assert()
}

fn refused() {
    let folder = data();
    for (flags, said) in [
        ("--early-stop 1", "--early-stop needs images"),
        ("--metric top1", "--metric needs images"),
        ("--metric top5 --val-split 0.3", "--metric top5 is 100 %"),
        ("--momentum 0.5", "--momentum goes with --optimizer sgd"),
        (
            "--momentum 0.5 --nesterov",
            "--nesterov looks ahead along a momentum",
        ),
        (
            "--optimizer sgd --betas 0.8,0.9",
            "--betas goes with --optimizer adam",
        ),
        (
            "--optimizer sgd --eps 1e-6",
            "--eps goes with --optimizer adam",
        ),
        ("--step-every 2", "--step-every goes with --schedule step"),
        (
            "--schedule cosine --step-gamma 0.5",
            "--step-gamma goes with --schedule step",
        ),
        ("--targets head --rank 4", "--rank is of LoRAs"),
        ("--targets head --alpha 4", "--alpha is of LoRAs"),
        ("--targets head --rslora", "--rslora is of LoRAs"),
        ("--targets head --init gaussian", "--init is of LoRAs"),
        ("--targets head --dropout 0.1", "--dropout is of LoRAs"),
        (
            "--targets classifier.0 --rank 4 --rank-pattern *=3",
            "--rank does nothing where a pattern gives every adapted module its own",
        ),
        (
            "--targets classifier.0 --alpha 4 --alpha-pattern classifier.*=3",
            "--alpha does nothing where a pattern gives every",
        ),
        (
            "--rank-pattern features.0=2",
            "--rank-pattern names features.0",
        ),
        (
            "--alpha-pattern classifier.*=2,features.28=1",
            "--alpha-pattern names features.28",
        ),
        (
            "--cache-variants 2",
            "--cache-variants is of pictures that are augmented",
        ),
        (
            "--classes imagenet --keep-imagenet",
            "--classes imagenet leaves no class",
        ),
    ] {
        for command in [&["train", "data", "-o", "run"][..], &["estimate", "data"]] {
            asked(folder.path(), command, flags)
                .code(2)
                .stderr(contains(said));
        }
        assert!(!folder.path().join("run").exists(), "{flags}");
    }
    // As in every run of a sweep.
    let sweep = ["sweep", "data", "--val-split", "0.3", "-o", "all"];
    asked(
        folder.path(),
        &sweep,
        "--rank 2,4 --rank-pattern classifier.*=3",
    )
    .code(2)
    .stderr(contains("--rank does nothing where a pattern"));
    asked(folder.path(), &sweep, "--targets head --rank 2,4")
        .code(2)
        .stderr(contains("--rank is of LoRAs"));
}

fn told() {
    let folder = data();
    let run = ["train", "data", "-o", "run", "--overwrite"];
    for (flags, said) in [
        (
            "--any-base",
            "--any-base does nothing without --init-adapter",
        ),
        (
            "--cache off --cache-memory 5",
            "--cache-memory does nothing with --cache off",
        ),
        (
            "--cache off --store-size 5",
            "--store-size does nothing with --cache off",
        ),
        (
            "--store off --store-size 5",
            "--store-size does nothing with --store off",
        ),
        (
            "--checkpoint-activations --targets classifier.0",
            "--checkpoint-activations does nothing where no convolution is adapted",
        ),
        (
            "--val-split 0.3 --early-stop 2",
            "--early-stop 2 does nothing in a run of 2 epochs",
        ),
        (
            "--warmup 7",
            "--warmup 7 is longer than the run, which has 6 steps",
        ),
        (
            "--warmup 6 --schedule cosine",
            "--warmup takes all steps of the run: --schedule does nothing",
        ),
        (
            "--schedule step --step-every 6",
            "--step-every 6 does nothing: the rate never falls in a run of 6 steps",
        ),
        (
            "--schedule step --step-every 3 --warmup 4",
            "--step-every 3 does nothing: the rate never falls in a run of 6 steps, 4 of them warm-up",
        ),
        (
            "--max-steps 7",
            "--max-steps 7 is not reached: 2 epochs have 6 steps",
        ),
        (
            "--grad-accum 2 -b 12",
            "--grad-accum 2 does nothing: 12 images are one batch",
        ),
    ] {
        let said = format!("notice   {said}");
        asked(folder.path(), &run, flags)
            .success()
            .stderr(contains(&*said));
        asked(folder.path(), &["estimate", "data"], flags)
            .success()
            .stderr(contains(&*said));
    }
    // What just does something is not spoken of.
    for flags in [
        "--warmup 6",
        "--schedule step --step-every 5",
        "--max-steps 6",
        "--val-split 0.3 --early-stop 1",
        "--grad-accum 2 -b 11",
        "--checkpoint-activations --targets features.28",
        "--metric top1 --val-split 0.3",
    ] {
        asked(folder.path(), &run, flags)
            .success()
            .stderr(contains("notice").not());
    }
}

/// What is not measured is not said to take nothing.
fn unmeasured() {
    let folder = data();
    let others = folder.path().join("others/b");
    std::fs::create_dir_all(&others).expect("a folder");
    std::fs::write(others.join("0.png"), b"no picture").expect("a file");
    asked(
        folder.path(),
        &["estimate", "data"],
        "--val others --skip-bad",
    )
    .code(3)
    .stderr(contains("has too few images that can be read"));
}

/// Every setting stands in run.toml with its default, and the run is done again from there.
fn own() {
    let folder = data();
    for flags in [
        "--targets head --optimizer sgd --momentum 0.5",
        "--cache off --store off",
    ] {
        asked(
            folder.path(),
            &["train", "data", "-o", "run", "--overwrite"],
            flags,
        )
        .success();
        if flags.starts_with("--targets head") {
            // As runs of the head alone once wrote it.
            let path = folder.path().join("run/run.toml");
            let text = std::fs::read_to_string(&path).expect("settings");
            std::fs::write(&path, format!("rank = 8\n{text}")).expect("settings");
        }
        goldfish(folder.path())
            .args([
                "train",
                "--config",
                "run/run.toml",
                "-o",
                "again",
                "--overwrite",
            ])
            .assert()
            .success()
            .stderr(contains("notice").not());
    }
}
