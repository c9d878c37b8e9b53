//! The same run on any number of ranks.

use super::launch::{TINY, alone, ended, on, pictures, run_files};

/// Runs that differ in what is shared: `train` words, and how many pictures there are.
const RUNS: [(&str, usize, &[&str]); 7] = [
    (
        "a head and classifier layers, validated",
        7,
        &[
            "--batch-size",
            "4",
            "--micro-batch",
            "1",
            "--val-split",
            "0.3",
        ],
    ),
    (
        "fewer parts than ranks",
        7,
        &[
            "--targets",
            "head",
            "--batch-size",
            "7",
            "--micro-batch",
            "4",
        ],
    ),
    (
        "a convolution, with dropout",
        7,
        &[
            "--targets",
            "head,features.28",
            "--batch-size",
            "7",
            "--micro-batch",
            "2",
            "--dropout",
            "0.2",
        ],
    ),
    (
        "variants without end",
        24,
        &[
            "--augment",
            "strong",
            "--batch-size",
            "8",
            "--micro-batch",
            "3",
            "--grad-accum",
            "2",
        ],
    ),
    (
        "kept variants, from the pixels on",
        20,
        &[
            "--augment",
            "light",
            "--cache-variants",
            "3",
            "--targets",
            "head,pixels",
            "--batch-size",
            "8",
            "--micro-batch",
            "3",
        ],
    ),
    ("steps that have one part", 20, &["--batch-size", "8"]),
    (
        "nothing kept, and every other setting of a step",
        20,
        &[
            "--cache",
            "off",
            "--batch-size",
            "8",
            "--micro-batch",
            "2",
            "--clip-norm",
            "1",
            "--class-weights",
            "balanced",
            "--label-smoothing",
            "0.1",
            "--optimizer",
            "sgd",
        ],
    ),
];

#[test]
fn a_run_comes_to_the_same_bytes_on_any_number_of_ranks() {
    for (what, count, words) in RUNS {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        pictures(at, "data", count);
        let run = |to: &'static str| {
            [
                &["train", "data", "-o", to, "--epochs", "3", "--store", "off"],
                &TINY[..],
                words,
            ]
            .concat()
        };
        ended(&mut alone(at, &run("alone"))).ok();
        let expected = run_files(&at.join("alone"));
        assert!(expected.len() >= 3, "{:?}", expected.keys());
        for (ranks, to) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
            let said = ended(&mut on(ranks, at, &run(to))).ok();
            let found = run_files(&at.join(to));
            for (name, bytes) in &expected {
                let same = found.get(name) == Some(bytes);
                assert!(
                    same,
                    "{what}: {} on {ranks} ranks\n{}",
                    name.display(),
                    said.err
                );
            }
            assert_eq!(said.out.matches("adapter").count(), 2, "{}", said.out);
        }
    }
}
