//! How the GPUs' kernels are chosen and stored: half precision, and what was measured of a device.

use goldfish::nn::Factors;
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::{Arch, Engine, LoadStep, Loading, Source, Vgg};
use goldfish::{GpuOptions, Precision, Tape, Tuning, Var};
use libtest_mimic::Trial;
use predicates::str::contains;

use crate::cli::{TINY, dataset, goldfish, stdout};
use crate::parity::{NARROW, WIDE, noise};
use crate::support::{error, gpu, gpu_trial, gpu_with, measuring, network, normal, portable};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "portable::half_precision_is_near_and_the_base_it_cannot_hold_is_refused",
            half_precision,
        ),
        gpu_trial(
            "portable::what_was_measured_of_a_device_is_kept_and_changes_nothing_else",
            tuning,
        ),
        gpu_trial(
            "portable::what_was_measured_of_linear_layers_is_taken_on_that_device_and_told",
            linear_choices,
        ),
        gpu_trial(
            "portable::a_sum_in_splits_counts_where_a_batch_must_fit",
            splits_count,
        ),
        gpu_trial(
            "portable::half_precision_answers_alike_and_is_refused_where_it_does_not_exist",
            half,
        ),
    ]
}

fn half_precision() {
    let gpu = gpu();
    let half = Loading {
        precision: Precision::F16,
        ..portable()
    };
    let pixels = noise(2, 40);
    for arch in [VGG19_TINY, WIDE] {
        let logits = |how: &Loading| {
            let base =
                Vgg::load(&gpu, arch, &Source::Random(6), how, |_| Ok(())).expect("a network");
            base.logits(&pixels, 40).expect("logits")
        };
        let full: Vec<f64> = logits(&portable()).into_iter().map(f64::from).collect();
        let error = error(&logits(&half), &full);
        // 19 roundings of 5e-4, more by Winograd, against each other.
        assert!((1e-6..1e-2).contains(&error), "{}: {error:.1e}", arch.name);
    }
    let large = Source::Numbers(Box::new(|name: &str, _: &[usize], _, out: &mut [f32]| {
        out.fill(if name == "features.5.weight" {
            1e5
        } else {
            0.1
        });
    }));
    let refused = Vgg::load(&gpu, NARROW, &large, &half, |_| Ok(())).map(drop);
    let text = refused.expect_err("1e5 is no f16").to_string();
    let says = "precision f16 cannot hold the base's weight 100000 (at most 65504): take f32";
    assert_eq!(text, says);
}

/// Columns and rows of the linear layers' weights.
const LINEAR: [[usize; 2]; 3] = [[1176, 64], [64, 64], [64, 1000]];

/// The convolutions of the narrow VGG19 that a choice is made for: channels in and out, the side, and how a pool is named.
fn convolutions(mut side: usize) -> Vec<(usize, usize, usize, &'static str)> {
    let (mut cin, mut all) = (3, Vec::new());
    for (block, cout) in VGG19_TINY.widths.into_iter().enumerate() {
        all.push((cin, cout, side, ""));
        // Two of them, or four.
        if block > 1 {
            all.push((cout, cout, side, ""));
        }
        all.push((cout, cout, side, ", pooled"));
        (cin, side) = (cout, side / 2);
    }
    all
}

/// What is chosen of linear layers is read again, changes no bit where only the sizes differ, else is told by the engine; what
/// another device has chosen is not taken.
fn linear_choices() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("choices.json");
    let arch = Arch {
        hidden: 2560,
        classes: 20,
        ..VGG19_TINY
    };
    let told = || {
        // One reads its file once.
        let how = Loading {
            tuning: Some(Tuning::new(&path, false)),
            ..portable()
        };
        let base = Vgg::load(&gpu, arch, &Source::Random(6), &how, |_| Ok(()));
        let logits = base.expect("a network").logits(&noise(2, 40), 40);
        let engine = Engine::new(&gpu, arch, &how, 18, |_| Ok(())).expect("an engine");
        let choices = engine.expect("nothing is measured").choices;
        (logits.expect("logits"), choices)
    };
    let write = |device: &str, cut: &str| {
        let mut choices = serde_json::Map::new();
        choices.insert("linear 2560 to 20, f32".into(), cut.into());
        let kept = serde_json::json!({
            "device": device, "driver": gpu.info().driver, "processor": gpu.processor(),
            "engine": Loading::kernels_version(), "choices": choices
        });
        std::fs::write(&path, kept.to_string()).expect("a file");
    };
    let fixed = told();
    assert_eq!(fixed.1.last().expect("choices"), "linear in 2048");
    write(&gpu.info().name, "4x8 in 2048");
    assert_eq!(told(), fixed);
    write("another", "8x4 in 8192");
    assert_eq!(told(), fixed);
    write(&gpu.info().name, "8x4 in 4711");
    assert_eq!(told(), fixed);
    write(&gpu.info().name, "8x4 in 8192");
    let (logits, choices) = told();
    assert_eq!(choices.last().expect("choices"), "linear in 8192");
    assert_ne!(logits, fixed.0);
    let expected: Vec<f64> = fixed.0.into_iter().map(f64::from).collect();
    let off = error(&logits, &expected);
    // Another order of the same sum.
    assert!(off < 1e-6, "{off:.1e}");
}

/// Every choice but the smallest layer's is in the file: one is measured, and kept.
fn tuning() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("choices.json");
    let tuned = Loading {
        tuning: Some(measuring(path.clone())),
        ..portable()
    };
    let info = gpu.info();
    let mut choices = serde_json::Map::new();
    for (cin, cout, side, pooled) in convolutions(224) {
        // What divides the channels, padded to a multiple of 4.
        let depth = cin.next_multiple_of(4).min(16);
        let site = format!("conv {cin} to {cout} at {side}, f32{pooled}");
        choices.insert(site, format!("direct 32x32x{depth}.8x8").into());
    }
    assert!(choices.remove("conv 24 to 24 at 14, f32, pooled").is_some());
    for [k, out] in LINEAR {
        choices.insert(format!("linear {k} to {out}, f32"), "8x7 in 2048".into());
    }
    let kept = serde_json::json!({
        "device": info.name,
        "driver": info.driver,
        "processor": gpu.processor(),
        "engine": Loading::kernels_version(),
        "choices": choices,
    });
    let load = |how: &Loading| {
        let mut steps = Vec::new();
        let report = |step| {
            steps.push(step);
            Ok(())
        };
        let base = Vgg::load(&gpu, VGG19_TINY, &Source::Random(6), how, report);
        (base.expect("a network"), steps)
    };
    std::fs::write(&path, kept.to_string()).expect("a file");
    let (base, steps) = load(&tuned);
    assert_eq!((base.measured(), base.unkept()), (1, None));
    let measured = steps.iter().filter_map(|step| match step {
        LoadStep::Measured { done, of } => Some((*done, *of)),
        LoadStep::Loaded(_) => None,
    });
    let measured: Vec<(usize, usize)> = measured.collect();
    let of = measured.len();
    assert!(of > 1, "{steps:?}");
    assert!(
        measured.iter().copied().eq((1..=of).map(|done| (done, of))),
        "{measured:?}"
    );
    let (base, steps) = load(&tuned);
    assert_eq!((base.measured(), base.unkept()), (0, None));
    assert_eq!(steps.len(), base.depth());
    // A file that can be read, in a folder where none can be made.
    #[cfg(target_os = "linux")]
    {
        use std::io::Write;
        use std::os::fd::AsRawFd;

        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(kept.to_string().as_bytes())
            .expect("written");
        let (base, _) = load(&Loading {
            tuning: Some(measuring(
                format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
            )),
            ..portable()
        });
        assert_eq!(base.measured(), 1);
        assert!(
            base.unkept()
                .is_some_and(|why| why.contains("/proc/self/fd"))
        );
    }
    let file = std::fs::read_to_string(&path).expect("the file");
    let file: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    let found = file["choices"].as_object().expect("choices");
    assert_eq!(found.len(), choices.len() + 1);
    let pixels = noise(2, 40);
    let expected = network(&gpu, VGG19_TINY, 6, true)
        .logits(&pixels, 40)
        .expect("logits");
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    let error = error(&base.logits(&pixels, 40).expect("logits"), &expected);
    assert!(error < 1e-5, "{error:.1e}");
}

fn half() {
    let folder = dataset();
    let answers = |more: &[&str]| {
        let mut command = goldfish(folder.path());
        command
            .args(["predict", "data", "--top", "1", "--format", "csv"])
            .args(TINY);
        command.args(more);
        command
    };
    let top = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.split(',').take(4));
        lines
            .map(|fields| fields.collect::<Vec<_>>().join(","))
            .collect()
    };
    let [full, half] = [
        &["--kernels", "portable"][..],
        &["--kernels", "portable", "--precision", "f16"],
    ]
    .map(|more| top(&stdout(&answers(more).assert().success())));
    assert_eq!(full.len(), 6);
    assert_eq!(full, half);
    answers(&["--precision", "f64"])
        .assert()
        .code(2)
        .stderr(contains("neither f32 nor f16"));
    // The software family has none. Not every software device runs it.
    let refused = answers(&["--precision", "f16"]).assert();
    if network(&gpu(), VGG19_TINY, 3, false).family() == "software" {
        refused.code(2).stderr(contains("--kernels portable"));
    } else {
        refused.success();
    }
}

/// A layer whose sums were chosen to go in four splits, each as large as its result, takes fewer images at once.
fn splits_count() {
    const SIDE: usize = 224;
    let gpu = gpu_with(GpuOptions {
        // Room for two images' planes of 28 x 28 in 24 channels, four times.
        max_binding: Some(1 << 20),
        ..GpuOptions::default()
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("choices.json");
    let layer = 9;
    let most = |split: &str| {
        let info = gpu.info();
        let mut choices = serde_json::Map::new();
        for (cin, cout, side, pooled) in convolutions(SIDE) {
            let depth = cin.next_multiple_of(4).min(16);
            let split = if (cin, side) == (24, 28) { split } else { "" };
            let way = format!("direct 32x32x{depth}.8x8{split}");
            let site = format!("conv {cin} to {cout} at {side}, f32{pooled}");
            choices.insert(site, way.into());
        }
        for [k, out] in LINEAR {
            choices.insert(format!("linear {k} to {out}, f32"), "8x4 in 2048".into());
        }
        let (engine, processor) = (Loading::kernels_version(), gpu.processor());
        let kept = serde_json::json!({
            "device": info.name, "driver": info.driver, "processor": processor, "engine": engine,
            "choices": choices
        });
        std::fs::write(&path, kept.to_string()).expect("a file");
        let tuned = Loading {
            tuning: Some(measuring(path.clone())),
            ..portable()
        };
        let base = Vgg::load(&gpu, VGG19_TINY, &Source::Random(6), &tuned, |_| Ok(()));
        let base = base.expect("a network");
        let most = base.max_batch(layer, SIDE);
        let x = Var::frozen(&normal(
            &gpu,
            1,
            "x",
            &[most, base.row_len(layer, SIDE)],
            1.0,
        ));
        let logits = base.forward_from(
            &mut Tape::new(),
            &x,
            layer,
            None,
            &Factors::default(),
            false,
        );
        let shape = logits.expect("as many as fit").tensor.shape().clone();
        assert_eq!(shape.dims(), [most, 1000]);
        most
    };
    assert_eq!([most(""), most(" in 4 splits")], [13, 3]);
}
