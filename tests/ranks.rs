//! Ranks that are threads of one process: whatever their number, a run comes to the same bits, and every image is answered once.

use goldfish::data::{ImageStore, Opening, Origin, Transform};
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::lora::Init;
use goldfish::nn::{Loading, Source, Vgg};
use goldfish::train::{
    EpochRecord, Plan, Prefix, Room, Split, StepRecord, Task, Watch, predict, serve, train,
};
use goldfish::world::World;
use goldfish::{Error, Gpu, GpuOptions, Result};
use libtest_mimic::Trial;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::support::{adapter, gpu, gpu_trial, pictures, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("ranks::files_are_read_once_and_known_to_all", reading),
        trial("ranks::a_bad_file_is_found_by_all", bad_file),
        trial(
            "ranks::a_build_without_mpi_links_none_and_says_so",
            without_mpi,
        ),
        gpu_trial("ranks::one_to_four_come_to_the_same_bits", same_bits),
        gpu_trial("ranks::every_image_is_answered_once_and_in_order", answers),
        gpu_trial("ranks::one_that_fails_is_named_by_those_that_wait", fails),
    ]
}

const SIZE: usize = 32;

fn files(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let sizes: Vec<(u32, u32)> = (0..11).map(|n| (33 + 7 * n, 40 + 3 * (n % 4))).collect();
    pictures(folder.path(), "a", &sizes);
    (0..11)
        .map(|n| folder.path().join(format!("a/{n}.png")))
        .collect()
}

fn open(
    files: &[PathBuf],
    world: &World,
    skip_bad: bool,
) -> Result<(Arc<ImageStore>, Vec<String>)> {
    let how = Opening {
        transform: Transform { size: SIZE },
        exif: false,
        memory: 1 << 20,
        skip_bad,
        known: Some(&|_| false),
        world: Some(world),
    };
    let origins = files.iter().cloned().map(Origin::File).collect();
    let (images, skipped) = ImageStore::open_with(origins, &how, |_| Ok(()))?;
    Ok((images, skipped.into_iter().map(|s| s.reason).collect()))
}

fn reading() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(&folder);
    let contents = |images: &ImageStore| -> Vec<_> { (0..11).map(|i| images.content(i)).collect() };
    let (whole, _) = open(&files, &World::alone(), false).expect("images");
    for ranks in [2, 3, 16] {
        for found in World::on_threads(ranks, |world| open(&files, &world, false)) {
            let (images, _) = found.expect("images");
            assert_eq!(contents(&images), contents(&whole));
            let pixels = |images: &ImageStore| images.batch(&[0, 4, 10]).expect("a batch").pixels();
            assert!(pixels(&images) == pixels(&whole));
        }
    }
}

fn bad_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(&folder);
    std::fs::write(&files[7], b"no picture").expect("written");
    let said = open(&files, &World::alone(), false)
        .expect_err("it is bad")
        .to_string();
    let (_, skipped) = open(&files, &World::alone(), true).expect("the others");
    for ranks in [2, 5] {
        for found in World::on_threads(ranks, |world| open(&files, &world, false)) {
            assert_eq!(found.expect_err("it is bad").to_string(), said);
        }
        for found in World::on_threads(ranks, |world| open(&files, &world, true)) {
            let (images, left_out) = found.expect("the others");
            assert_eq!((images.len(), &left_out), (10, &skipped));
            assert_eq!(images.path(7), files[8]);
        }
    }
}

/// What a launcher starts several times, and cannot find one another, is not left to do all of the work each.
fn without_mpi() {
    if cfg!(feature = "mpi") {
        return;
    }
    let program = env!("CARGO_BIN_EXE_goldfish");
    if let Ok(said) = Command::new("ldd").arg(program).output() {
        let said = String::from_utf8_lossy(&said.stdout).to_lowercase();
        assert!(!said.contains("mpi") && !said.contains("clang"), "{said}");
    }
    for name in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"] {
        let said = Command::new(program).arg("devices").env(name, "2").output();
        let said = said.expect("it runs");
        assert_eq!(said.status.code(), Some(2));
        let error = String::from_utf8_lossy(&said.stderr);
        assert!(
            error.starts_with("error: 2 processes were started by a launcher"),
            "{error}"
        );
        assert!(error.contains("--features mpi"), "{error}");
    }
}

/// What is heard of a run.
#[derive(Default)]
struct Heard {
    losses: Vec<u32>,
    scores: Vec<String>,
    tried: usize,
}

impl Watch for Heard {
    fn step(&mut self, record: StepRecord) -> Result<()> {
        self.losses.push(record.loss.to_bits());
        Ok(())
    }

    fn epoch(&mut self, record: EpochRecord) -> Result<()> {
        self.scores.push(format!("{record:?}"));
        Ok(())
    }

    fn tried(&mut self, _seconds: [f64; 2]) {
        self.tried += 1;
    }
}

/// A run's losses, what is said of its epochs, the bits of its adapter, and how often it was measured who takes the steps.
type Came = (Vec<u32>, Vec<String>, Vec<u32>, usize);

/// A run of `targets` on the ranks of a world; of ranks that are led nothing.
fn run(world: &World, files: &[PathBuf], targets: &str, plan: Plan, kept: bool) -> Option<Came> {
    // A device of its own, as another process has. Its bindings hold so few planes of a layer that larger parts of `features.0` go
    // through in groups.
    let portable = targets == "features.0";
    let gpu = Gpu::open(&GpuOptions {
        max_binding: portable.then_some(100 << 10),
        ..GpuOptions::default()
    });
    let gpu = gpu.expect("a device");
    let (images, _) = open(files, world, false).expect("images");
    let labels = [1, 1, 7, 1, 7, 999, 999, 3, 3, 7, 1];
    let split = Split {
        train: (0..9).collect(),
        validation: vec![9, 10],
    };
    let start = adapter(&gpu, VGG19_TINY, SIZE, targets, [3, 6], (Init::Kaiming, 4));
    let how = Loading {
        ranks: start.ranks(),
        trained: true,
        portable,
        ..Loading::default()
    };
    let base = Vgg::load(&gpu, VGG19_TINY, &Source::Random(2), &how, |_| Ok(()));
    if portable {
        let most = base.as_ref().expect("a network").max_batch(0, SIZE);
        assert!((1..8).contains(&most), "{most} images at a time");
    }
    let room = kept.then(|| Room::of(1 << 30));
    let prefix = Prefix::new(base.expect("a network"), &start, &images, room);
    let mut prefix = prefix.among(world);
    if kept {
        let for_all = plan.shares_steps(split.train.len());
        prefix
            .fill_for(&images, for_all, |_| Ok(()))
            .expect("filled");
    }
    let task = Task {
        images: &images,
        labels: &labels,
        split: &split,
        plan,
        stop: &AtomicBool::new(false),
    };
    if !world.leads() {
        serve(&mut prefix, task, &start).expect("served");
        return None;
    }
    let mut heard = Heard::default();
    let trained = train(&mut prefix, task, start, &mut heard).expect("a run");
    trained.end.expect("it runs to its end");
    let factors = trained.adapter.trained().into_iter();
    let bits = factors
        .flat_map(|f| f.to_vec().expect("numbers"))
        .map(f32::to_bits);
    Some((heard.losses, heard.scores, bits.collect(), heard.tried))
}

fn same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(&folder);
    let plan = Plan {
        epochs: 5,
        batch_size: 4,
        micro_batch: Some(2),
        seed: 5,
        dropout: 0.25,
        ..Plan::TUTORIAL
    };
    let groups = Plan {
        epochs: 7,
        batch_size: 9,
        micro_batch: Some(8),
        ..plan
    };
    let whole = Plan {
        micro_batch: None,
        ..plan
    };
    for (targets, plan, kept) in [
        ("pixels", plan, true),
        ("classifier", plan, true),
        ("features.28,classifier.6", plan, true),
        ("features.28", plan, false),
        ("features.0", groups, true),
        ("classifier.0", whole, true),
    ] {
        let (losses, scores, bits, _) =
            run(&World::alone(), &files, targets, plan, kept).expect("one rank leads");
        for ranks in [2, 3, 4] {
            let mut came =
                World::on_threads(ranks, |world| run(&world, &files, targets, plan, kept));
            let led = came.split_off(1);
            assert!(led.into_iter().all(|came| came.is_none()));
            let came = came.pop().flatten().expect("rank 0 leads");
            let what = format!("{targets} on {ranks} ranks");
            assert_eq!(came.0, losses, "{what}");
            assert_eq!(came.1, scores, "{what}");
            assert!(came.2 == bits, "{what}");
            assert_eq!(came.3, usize::from(plan.micro_batch.is_some()), "{what}");
        }
    }
}

fn answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(&folder);
    let said = |world: &World| {
        let gpu = Gpu::new().expect("a device");
        let (images, _) = open(&files, world, false).expect("images");
        let start = adapter(&gpu, VGG19_TINY, SIZE, "pixels", [3, 6], (Init::Kaiming, 4));
        let how = Loading {
            ranks: start.ranks(),
            ..Loading::default()
        };
        let base = Vgg::load(&gpu, VGG19_TINY, &Source::Random(2), &how, |_| Ok(()));
        let prefix = Prefix::new(base.expect("a network"), &start, &images, None);
        let mut all = Vec::new();
        predict(
            &mut prefix.among(world),
            &images,
            &start,
            |image, logits| {
                all.push((
                    image,
                    logits.iter().map(|l| l.to_bits()).collect::<Vec<_>>(),
                ));
                Ok(())
            },
        )
        .expect("answers");
        all
    };
    let alone = said(&World::alone());
    assert_eq!(alone.len(), 11);
    for ranks in [2, 3, 4] {
        let mut all = World::on_threads(ranks, |world| said(&world)).into_iter();
        assert!(all.next().as_ref() == Some(&alone), "{ranks} ranks");
        assert!(all.all(|others| others.is_empty()));
    }
}

fn fails() {
    let gpu = gpu();
    let start = adapter(&gpu, VGG19_TINY, SIZE, "pixels", [3, 6], (Init::Kaiming, 4));
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(&folder);
    let (images, _) = open(&files, &World::alone(), false).expect("images");
    let base = |gpu: &Gpu| {
        let how = Loading {
            ranks: start.ranks(),
            ..Loading::default()
        };
        Vgg::load(gpu, VGG19_TINY, &Source::Random(2), &how, |_| Ok(())).expect("a network")
    };
    // The last rank leaves before it has answered.
    let ended = World::on_threads(3, |world| {
        if world.rank() == 2 {
            return Ok(0);
        }
        let prefix = Prefix::new(base(&gpu), &start, &images, None);
        let mut answered = 0;
        predict(&mut prefix.among(&world), &images, &start, |_, _| {
            answered += 1;
            Ok(())
        })?;
        Ok::<usize, Error>(answered)
    });
    // Rank 1 may have done its part before.
    for (rank, ended) in ended.into_iter().enumerate().take(2) {
        match ended {
            Err(error @ Error::Rank { .. }) => {
                assert!(error.to_string().starts_with("rank 2 on "), "{error}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => assert_eq!(rank, 1),
        }
    }
}
