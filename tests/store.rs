//! Features that are kept between runs: what is taken is what would be computed, to the bit; what differs in anything that
//! decides a bit is not taken; and nothing that is wrong with the store ends a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use goldfish::data::duplicates::Print;
use goldfish::data::{ContentHash, ImageStore, Opening, Origin, Transform};
use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::lora::Init;
use goldfish::nn::{Adapter, Engine, Identity, Loading, Source, Vgg};
use goldfish::train::store::{Holds, Images, Kept, Key, Prints, Shelf, Store};
use goldfish::train::{Frozen, Plan, Prefix, Room, Split, StepRecord, Task, train};
use goldfish::world::World;
use goldfish::{Gpu, Precision};
use libtest_mimic::Trial;

use crate::support::{adapter, gpu, gpu_trial, network, pictures, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "store::a_run_on_what_is_kept_gives_the_bits_of_one_without_and_needs_no_lower_layer",
            same_bits,
        ),
        gpu_trial(
            "store::what_an_image_gives_does_not_depend_on_the_batch",
            batches,
        ),
        gpu_trial(
            "store::whatever_decides_a_bit_is_in_the_key_and_nothing_else",
            keys,
        ),
        gpu_trial(
            "store::a_damaged_row_is_computed_again_and_a_damaged_pack_removed",
            damage,
        ),
        gpu_trial(
            "store::what_was_used_the_longest_ago_goes_and_nothing_of_the_run",
            bounded,
        ),
        gpu_trial("store::what_cannot_be_written_is_a_note", unwritable),
        gpu_trial("store::two_at_once_lose_nothing", at_once),
        gpu_trial("store::it_is_listed_and_cleared", listed),
        trial(
            "store::what_is_known_is_not_decoded_until_its_pixels_are_asked_for",
            undecoded,
        ),
        gpu_trial(
            "store::a_print_that_is_kept_needs_no_picture_and_takes_no_features_room",
            prints,
        ),
        trial("store::a_file_that_has_changed_is_an_error", changed),
    ]
}

pub const SIZE: usize = 32;
const PLAN: Plan = Plan {
    epochs: 2,
    batch_size: 3,
    lr: 1e-3,
    seed: 5,
    ..Plan::TUTORIAL
};
const IMAGES: Images = Images {
    transform: Transform { size: SIZE },
    exif: false,
};

/// Ten pictures, one of them twice.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let sizes: Vec<(u32, u32)> = (0..9).map(|i| (33 + 7 * i, 90 - 5 * i)).collect();
    pictures(folder, "a", &sizes);
    fs::copy(folder.join("a/3.png"), folder.join("a/9.png")).expect("a copy");
    (0..10).map(|i| folder.join(format!("a/{i}.png"))).collect()
}

pub fn open(files: &[PathBuf], known: impl Fn(&ContentHash) -> bool + Sync) -> Arc<ImageStore> {
    let origins = files.iter().cloned().map(Origin::File).collect();
    let how = Opening {
        transform: IMAGES.transform,
        exif: IMAGES.exif,
        memory: 1 << 20,
        skip_bad: false,
        known: Some(&known),
        world: None,
    };
    ImageStore::open_with(origins, &how, |_| Ok(()))
        .expect("images")
        .0
}

fn identity(seed: u64) -> Identity {
    Source::Random(seed)
        .identity(VGG19_TINY)
        .expect("random numbers have a seed")
}

pub fn lora(gpu: &Gpu, targets: &str, rank: usize) -> Adapter {
    adapter(
        gpu,
        VGG19_TINY,
        SIZE,
        targets,
        [rank, rank],
        (Init::Kaiming, 1),
    )
}

pub fn loading(adapter: &Adapter, portable: bool) -> Loading {
    Loading {
        side: SIZE,
        portable,
        ranks: adapter.ranks(),
        trained: true,
        ..Loading::default()
    }
}

pub fn key(gpu: &Gpu, adapter: &Adapter, how: &Loading) -> Key {
    let engine = |layer| Engine::new(gpu, VGG19_TINY, how, layer, |_| Ok(()));
    Key::new((&identity(2), VGG19_TINY), adapter, IMAGES, engine)
        .expect("an engine")
        .expect("a layer above the first")
}

/// What a run came to.
struct Run {
    bits: Vec<u32>,
    /// Images that went through the frozen layers.
    passes: usize,
    taken: usize,
    damaged: usize,
    notes: Vec<String>,
}

fn run(gpu: &Gpu, files: &[PathBuf], targets: &str, portable: bool, store: Option<&Store>) -> Run {
    let room = Room::of(1 << 30);
    run_in(room, gpu, files, targets, portable, store)
}

fn run_in(
    room: Room,
    gpu: &Gpu,
    files: &[PathBuf],
    targets: &str,
    portable: bool,
    store: Option<&Store>,
) -> Run {
    let start = lora(gpu, targets, 3);
    let how = loading(&start, portable);
    let shelf = store.map(|store| Shelf::open(store, key(gpu, &start, &how)));
    let images = match &shelf {
        Some(shelf) => open(files, |content| shelf.has(content)),
        None => open(files, |_| false),
    };
    let mut frozen = Frozen::new(gpu, VGG19_TINY, &start, &images, Some(room));
    if let Some(shelf) = shelf {
        frozen.stock(shelf, &images).expect("stocked");
    }
    let how = frozen.spare(how);
    let lowest = how.lowest;
    let base = Vgg::load(gpu, VGG19_TINY, &Source::Random(2), &how, |_| Ok(())).expect("a network");
    if lowest > 0 {
        let pixels = vec![0.5; 3 * SIZE * SIZE];
        assert!(base.prefix(&pixels, SIZE, 1).is_err(), "they are not there");
    }
    let mut prefix = Prefix::over(base, frozen);
    prefix.fill(&images, |_| Ok(())).expect("filled");
    let labels: Vec<u32> = (0..images.len() as u32).map(|i| i % 4).collect();
    let task = Task {
        images: &images,
        labels: &labels,
        split: &Split::all(images.len()),
        plan: PLAN,
        stop: &AtomicBool::new(false),
    };
    let trained = train(&mut prefix, task, start, &mut |_: StepRecord| Ok(())).expect("a run");
    let passes = prefix.passes();
    let (counts, notes) = match prefix.shelf() {
        Some(shelf) => (shelf.counts(), shelf.notes()),
        None => Default::default(),
    };
    let bits = trained.adapter.trained().into_iter().flat_map(|factor| {
        let numbers = factor.to_vec().expect("numbers");
        numbers.into_iter().map(f32::to_bits)
    });
    Run {
        bits: bits.collect(),
        passes,
        taken: counts.taken,
        damaged: counts.damaged,
        notes,
    }
}

fn same_bits() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    // On a device without kernels of its own both are the portable ones, and one would find what the other has put there.
    let store =
        |portable: bool| Store::new(&folder.path().join(format!("store-{portable}")), 1 << 30);
    for portable in [false, true] {
        let store = store(portable);
        for targets in [
            "pixels",
            "classifier.0",
            "classifier.6",
            "features.34",
            "pixels,features.28",
        ] {
            let without = run(&gpu, &files, targets, portable, None);
            let first = run(&gpu, &files, targets, portable, Some(&store));
            let second = run(&gpu, &files, targets, portable, Some(&store));
            assert!(first.bits == without.bits, "{targets} {portable}: putting");
            assert!(second.bits == without.bits, "{targets} {portable}: taking");
            assert_eq!((without.passes, first.taken), (10, 0), "{targets}");
            assert!(first.passes >= 9, "{targets}");
            assert_eq!((second.passes, second.taken), (0, 10), "{targets}");
            assert_eq!([first.notes, second.notes].concat(), Vec::<String>::new());
        }
    }
    let store = store(false);
    // Room for a row on the device and one in memory: the others are read where they lie.
    for store in [None, Some(&store)] {
        let room = Room::of(5000);
        let small = run_in(room, &gpu, &files, "classifier.0", false, store);
        let large = run(&gpu, &files, "classifier.0", false, None);
        assert!(small.bits == large.bits);
        assert_eq!(small.passes, if store.is_some() { 0 } else { 10 });
    }
    // A picture that is new is computed, and those that are there are not.
    let other = folder.path().join("other");
    pictures(&other, "b", &[(77, 41)]);
    let more = [files.clone(), vec![other.join("b/0.png")]].concat();
    let without = run(&gpu, &more, "classifier.0", false, None);
    let with = run(&gpu, &more, "classifier.0", false, Some(&store));
    assert!(with.bits == without.bits && with.passes == 1 && with.taken == 10);
}

fn batches() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let images = open(&files(folder.path()), |_| false);
    let all: Vec<usize> = (0..images.len()).collect();
    let whole = images.batch(&all).expect("a batch");
    for portable in [false, true] {
        let base = network(&gpu, VGG19_TINY, 2, portable);
        for layer in [1, 5, 16, 17, base.depth()] {
            let product = |rows: &[f32], n: usize| {
                let shape = [n, rows.len() / n];
                let x = goldfish::Tensor::from_slice(&gpu, shape, rows).expect("a tensor");
                let product = base.product(&x, layer).expect("a product");
                product.map_or(Vec::new(), |p| p.to_vec().expect("numbers"))
            };
            let together = base.prefix(&whole.pixels(), SIZE, layer).expect("rows");
            let products = product(&together, images.len());
            for parts in [1, 3, 8] {
                let (mut rows, mut apart) = (Vec::new(), Vec::new());
                for part in all.chunks(parts) {
                    let batch = images.batch(part).expect("a batch");
                    let some = base.prefix(&batch.pixels(), SIZE, layer).expect("rows");
                    apart.extend(product(&some, part.len()));
                    rows.extend(some);
                }
                assert!(rows == together, "{portable} {layer} {parts}");
                assert!(apart == products, "{portable} {layer} {parts}");
            }
        }
    }
}

fn keys() {
    let gpu = gpu();
    let base = lora(&gpu, "classifier.0", 3);
    let how = loading(&base, false);
    let engine = Engine::new(&gpu, VGG19_TINY, &how, 16, |_| Ok(()))
        .expect("an engine")
        .expect("nothing is measured");
    let of = |identity: &Identity, adapter: &Adapter, images: Images, engine: &Engine| {
        Key::new((identity, VGG19_TINY), adapter, images, |_| {
            Ok(Some(engine.clone()))
        })
        .expect("an engine")
    };
    let key = of(&identity(2), &base, IMAGES, &engine).expect("a key");
    // Rank and start are nothing to it.
    let ranked = lora(&gpu, "classifier.0,classifier.3", 5);
    assert_eq!(
        of(&identity(2), &ranked, IMAGES, &engine),
        Some(key.clone())
    );
    // Nor are the classes, as long as the last layer is above.
    let mut fewer = identity(2);
    fewer.classes = 7;
    fewer.sha256 = Some("of another last layer".into());
    assert_eq!(of(&fewer, &base, IMAGES, &engine), Some(key.clone()));
    let above = lora(&gpu, "pixels", 3);
    let logits = of(&identity(2), &above, IMAGES, &engine);
    assert_ne!(of(&fewer, &above, IMAGES, &engine), logits);
    // The images themselves are not kept.
    assert_eq!(
        of(&identity(2), &lora(&gpu, "features.0", 3), IMAGES, &engine),
        None
    );
    let exif = Images {
        exif: true,
        ..IMAGES
    };
    let large = Images {
        transform: Transform { size: 48 },
        ..IMAGES
    };
    let layer = lora(&gpu, "classifier.3", 3);
    let mut others = vec![
        logits,
        of(&identity(3), &base, IMAGES, &engine),
        of(&identity(2), &layer, IMAGES, &engine),
        of(&identity(2), &base, exif, &engine),
        of(&identity(2), &base, large, &engine),
    ];
    let mut trunk = identity(2);
    trunk.trunk = Some("of other numbers".into());
    others.push(of(&trunk, &base, IMAGES, &engine));
    let change: [fn(&mut Engine); 9] = [
        |e| e.version.push('x'),
        |e| e.device.push('x'),
        |e| e.backend.push('x'),
        |e| e.driver.push('x'),
        |e| e.subgroup[0] += 1,
        |e| e.processor.push("x".into()),
        |e| e.family.push('x'),
        |e| e.precision.push('x'),
        |e| e.choices.push("x".into()),
    ];
    for change in change {
        let mut engine = engine.clone();
        change(&mut engine);
        others.push(of(&identity(2), &base, IMAGES, &engine));
    }
    for (index, other) in others.into_iter().enumerate() {
        assert_ne!(other.expect("a key"), key, "{index}");
    }
    // What is computed in rows is chosen, and what is chosen is told.
    let portable = Loading {
        portable: true,
        ..how.clone()
    };
    let half = Loading {
        precision: Precision::F16,
        ..portable.clone()
    };
    let engine = |how: &Loading| {
        let engine = Engine::new(&gpu, VGG19_TINY, how, 3, |_| Ok(()));
        engine.expect("an engine").expect("nothing is measured")
    };
    let (full, half) = (engine(&portable), engine(&half));
    assert_eq!(full.choices.len(), 3);
    // The product of the lowest layer is kept where that is linear: how it is formed is told too.
    let linear = Engine::new(&gpu, VGG19_TINY, &portable, 16, |_| Ok(()));
    let choices = linear
        .expect("an engine")
        .expect("nothing is measured")
        .choices;
    assert_eq!((choices.len(), &*choices[16]), (17, "linear in 2048"));
    assert_ne!(full.precision, half.precision);
}

/// The only file of the store whose name ends so.
fn packs(folder: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    let files = below(folder).into_iter().flat_map(|shelf| below(&shelf));
    files
        .filter(|path| path.extension().is_some_and(|e| e == "pack"))
        .collect()
}

fn damage() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let home = folder.path().join("store");
    let store = Store::new(&home, 1 << 30);
    let first = run(&gpu, &files, "classifier.0", false, Some(&store));
    let [pack] = &packs(&home)[..] else {
        panic!("one pack");
    };
    let whole = fs::read(pack).expect("a pack");
    // A row: the others are taken.
    let mut bytes = whole.clone();
    bytes[100] ^= 1;
    fs::write(pack, &bytes).expect("damaged");
    let again = run(&gpu, &files, "classifier.0", false, Some(&store));
    assert!(again.bits == first.bits);
    assert_eq!((again.damaged, again.passes), (1, 1));
    assert_eq!(again.taken, 9);
    // What was computed again is there, and found behind the damaged one.
    let healed = run(&gpu, &files, "classifier.0", false, Some(&store));
    assert_eq!((healed.damaged, healed.passes, healed.taken), (0, 0, 10));
    // An entry, the trailer, the length: the pack is none.
    let damages: [fn(&mut Vec<u8>); 5] = [
        |bytes| {
            let at = bytes.len() - 70;
            bytes[at] ^= 1;
        },
        |bytes| {
            let at = bytes.len() - 50;
            bytes[at] ^= 1;
        },
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.truncate(10),
        Vec::clear,
    ];
    for (index, damage) in damages.into_iter().enumerate() {
        for pack in packs(&home) {
            fs::remove_file(pack).expect("removed");
        }
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(pack, &bytes).expect("damaged");
        let again = run(&gpu, &files, "classifier.0", false, Some(&store));
        assert!(again.bits == first.bits, "{index}");
        assert_eq!(again.taken, 0, "{index}");
        let told = again.notes.iter().any(|note| note.contains("removed"));
        assert!(told, "{index} {:?}", again.notes);
        assert!(fs::read(pack).expect("a new pack") == whole, "{index}");
    }
}

/// Whose input the features are.
fn layer(kept: &Kept) -> &str {
    match &kept.holds {
        Some(Holds::Features(key)) => &key.layer,
        other => panic!("{other:?}"),
    }
}

fn bounded() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let home = folder.path().join("store");
    let size =
        |store: &Store| -> u64 { store.kept().expect("a list").iter().map(|k| k.bytes).sum() };
    let large = Store::new(&home, 1 << 30);
    run(&gpu, &files, "classifier.0", false, Some(&large));
    let one = size(&large);
    let old = SystemTime::now() - Duration::from_secs(3600);
    for pack in packs(&home) {
        let file = fs::File::open(pack).expect("a pack");
        file.set_modified(old).expect("a time");
    }
    // Room for one and a half: the older goes.
    let small = Store::new(&home, one + one / 2);
    run(&gpu, &files, "pixels", false, Some(&small));
    let kept = small.kept().expect("a list");
    let layers: Vec<&str> = kept.iter().map(layer).collect();
    assert_eq!(layers, ["logits"]);
    assert!(
        size(&small) <= small.most(),
        "{} of {}",
        size(&small),
        small.most()
    );
    // One that is used stays, whenever it was made.
    run(&gpu, &files, "classifier.0", false, Some(&large));
    for pack in packs(&home) {
        let file = fs::File::open(pack).expect("a pack");
        file.set_modified(old).expect("a time");
    }
    let used = run(&gpu, &files, "pixels", false, Some(&large));
    assert_eq!(used.taken, 10);
    let kept = large.kept().expect("a list");
    assert_eq!(kept.len(), 2);
    assert_eq!(layer(&kept[0]), "logits");
    assert!(kept[0].used > kept[1].used);
    // Room for four rows: what this run has put there stays, and the rest is not kept.
    let rows = Store::new(&folder.path().join("rows"), 4 * one / 10);
    let first = run(&gpu, &files, "classifier.0", false, Some(&rows));
    assert!(
        first.notes.iter().any(|n| n.contains("as much as it may")),
        "{:?}",
        first.notes
    );
    let second = run(&gpu, &files, "classifier.0", false, Some(&rows));
    assert!(second.bits == first.bits);
    assert!((1..=5).contains(&second.taken), "{}", second.taken);
    assert!(size(&rows) <= rows.most());
    let none = Store::new(&folder.path().join("none"), 0);
    run(&gpu, &files, "classifier.0", false, Some(&none));
    assert!(!none.folder().exists());
}

fn unwritable() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let without = run(&gpu, &files, "classifier.0", false, None);
    // A file where the folder should be.
    let taken = folder.path().join("file");
    fs::write(&taken, "mine").expect("a file");
    let store = Store::new(&taken, 1 << 30);
    let with = run(&gpu, &files, "classifier.0", false, Some(&store));
    assert!(with.bits == without.bits);
    assert_eq!(with.notes.len(), 1, "{:?}", with.notes);
    assert!(
        with.notes[0].contains("not kept for the next"),
        "{:?}",
        with.notes
    );
    assert_eq!(fs::read(&taken).expect("the file"), b"mine");
}

fn at_once() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let home = folder.path().join("store");
    let store = Store::new(&home, 1 << 30);
    let start = lora(&gpu, "classifier.0", 3);
    let how = loading(&start, false);
    let open_frozen = || {
        let shelf = Shelf::open(&store, key(&gpu, &start, &how));
        let images = open(&files, |content| shelf.has(content));
        let room = Some(Room::of(1 << 30));
        let mut frozen = Frozen::new(&gpu, VGG19_TINY, &start, &images, room);
        let taken = frozen.stock(shelf, &images).expect("stocked");
        let base = Vgg::load(&gpu, VGG19_TINY, &Source::Random(2), &how, |_| Ok(()));
        (
            Prefix::over(base.expect("a network"), frozen),
            images,
            taken,
        )
    };
    // Both begin before either has put anything there.
    let (mut one, images, _) = open_frozen();
    let (mut two, _, _) = open_frozen();
    one.fill(&images, |_| Ok(())).expect("filled");
    two.fill(&images, |_| Ok(())).expect("filled");
    assert_eq!((one.passes(), two.passes()), (10, 10));
    assert_eq!(packs(&home).len(), 1, "they made the same");
    let (_, _, taken) = open_frozen();
    assert_eq!(taken, 10);
    // One is cleared away under a run that has seen it.
    let shelf = Shelf::open(&store, key(&gpu, &start, &how));
    let known = open(&files, |content| shelf.has(content));
    assert!(store.clear(|_| true).expect("cleared") > 0);
    let mut frozen = Frozen::new(&gpu, VGG19_TINY, &start, &known, Some(Room::of(1 << 30)));
    assert_eq!(frozen.stock(shelf, &known).expect("stocked"), 0);
    let base = Vgg::load(&gpu, VGG19_TINY, &Source::Random(2), &how, |_| Ok(()));
    let mut prefix = Prefix::over(base.expect("a network"), frozen);
    prefix.fill(&known, |_| Ok(())).expect("filled");
    assert_eq!(prefix.passes(), 10);
    let notes = prefix.shelf().expect("a shelf").notes();
    assert_eq!(notes, Vec::<String>::new());
}

fn listed() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let home = folder.path().join("store");
    let store = Store::new(&home, 1 << 30);
    assert!(store.kept().expect("a list").is_empty());
    run(&gpu, &files, "classifier.0", false, Some(&store));
    run(&gpu, &files, "pixels", false, Some(&store));
    // What is not the store's is left alone.
    fs::create_dir_all(home.join("photographs")).expect("a folder");
    fs::write(home.join("photographs/a.pack"), "mine").expect("a file");
    let kept = store.kept().expect("a list");
    assert_eq!(kept.len(), 2);
    for kept in &kept {
        let Some(Holds::Features(key)) = &kept.holds else {
            panic!("features: {kept:?}");
        };
        assert_eq!((key.base.as_str(), key.side), ("vgg19-tiny random:2", SIZE));
        assert_eq!(kept.images, 9, "one is there twice");
    }
    let logits = |kept: &Kept| layer(kept) == "logits";
    assert!(store.clear(logits).expect("cleared") > 0);
    assert_eq!(store.kept().expect("a list").len(), 1);
    store.clear(|_| true).expect("cleared");
    assert!(store.kept().expect("a list").is_empty());
    assert!(home.join("photographs/a.pack").exists());
}

fn undecoded() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = files(folder.path());
    let asked = AtomicUsize::new(0);
    let all = |_: &ContentHash| {
        asked.fetch_add(1, Ordering::Relaxed);
        true
    };
    let images = open(&files, all);
    assert_eq!(
        asked.load(Ordering::Relaxed),
        10,
        "each is asked about once"
    );
    let hash = |i: usize| images.content(i).expect("its content is known");
    let bytes = fs::read(&files[2]).expect("a file");
    assert_eq!(hash(2), ContentHash::of(&bytes));
    assert_eq!(hash(3), hash(9), "one picture under two names");
    assert_ne!(hash(2), hash(3));
    // Asked for, the pixels are those of a store that decoded all.
    let eager = open(&files, |_| false);
    let pixels = |store: &ImageStore| store.batch(&[0, 5]).expect("a batch").pixels();
    assert!(pixels(&images) == pixels(&eager));
    // Of a picture that nobody knows what is wrong with it is said at once.
    let bad = folder.path().join("a/bad.png");
    fs::write(&bad, &bytes[..40]).expect("a cut file");
    files.push(bad.clone());
    let whole = ContentHash::of(&bytes);
    let origins: Vec<Origin> = files.iter().cloned().map(Origin::File).collect();
    let known = |content: &ContentHash| *content == whole;
    let mut how = Opening {
        transform: IMAGES.transform,
        exif: false,
        memory: 0,
        skip_bad: false,
        known: Some(&known),
        world: None,
    };
    let error = ImageStore::open_with(origins.clone(), &how, |_| Ok(())).expect_err("it is cut");
    assert!(error.to_string().contains("bad.png"), "{error}");
    how.skip_bad = true;
    let (images, skipped) = ImageStore::open_with(origins, &how, |_| Ok(())).expect("images");
    assert_eq!((images.len(), skipped.len()), (10, 1));
    assert_eq!(skipped[0].path, bad);
    assert_eq!(images.content(2), Some(whole));
}

fn prints() {
    let gpu = gpu();
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let home = folder.path().join("store");
    let store = Store::new(&home, 1 << 30);
    let start = lora(&gpu, "classifier.0", 2);
    let how = loading(&start, false);
    let shelf = || Shelf::open(&store, key(&gpu, &start, &how));
    let all: Vec<usize> = (0..files.len()).collect();
    let give = |images: &ImageStore| {
        let mut prints = Prints::beside(&shelf()).expect("beside features");
        let given = prints.give(images, &all, &World::alone());
        (given, prints.counts(), prints.notes())
    };
    let bytes = |images: &ImageStore| -> Vec<[u8; Print::BYTES]> {
        let print = |&image: &usize| images.print(image).expect("a print").to_bytes();
        all.iter().map(print).collect()
    };
    let first = open(&files, |_| true);
    let (given, counts, _) = give(&first);
    given.expect("prints");
    assert_eq!((counts.taken, counts.put), (0, 9), "one is there twice");
    let own = bytes(&open(&files, |_| false));
    assert!(bytes(&first) == own);
    // No picture is decoded, and none is read again, that an earlier run has read.
    let second = open(&files, |_| true);
    let away = folder.path().join("away");
    fs::rename(folder.path().join("a"), &away).expect("moved");
    let (given, counts, notes) = give(&second);
    given.expect("prints");
    assert_eq!((counts.taken, counts.put), (10, 0), "{notes:?}");
    assert!(bytes(&second) == own);
    fs::rename(&away, folder.path().join("a")).expect("moved back");
    // Nor by another run on the images that this one has read.
    let (given, counts, _) = give(&second);
    given.expect("prints");
    assert_eq!((counts.taken, counts.put), (0, 0));
    // One that is damaged is made again, and so is a pack.
    let [pack] = &packs(&home)[..] else {
        panic!("one pack");
    };
    let whole = fs::read(pack).expect("a pack");
    for (at, damaged, put) in [(100, 1, 1), (whole.len() - 50, 0, 9)] {
        for pack in packs(&home) {
            fs::remove_file(pack).expect("removed");
        }
        let mut bytes_of = whole.clone();
        bytes_of[at] ^= 1;
        fs::write(pack, &bytes_of).expect("damaged");
        let images = open(&files, |_| true);
        let (given, counts, _) = give(&images);
        given.expect("prints");
        assert_eq!((counts.damaged, counts.put), (damaged, put), "{at}");
        assert!(bytes(&images) == own, "{at}");
    }
    // They take no more room than they need: features that fill the store stay.
    let kept = store.kept().expect("a list");
    assert!(
        matches!(
            kept[..],
            [Kept {
                holds: Some(Holds::Prints(_)),
                images: 9,
                ..
            }]
        ),
        "{kept:?}"
    );
    store.clear(|_| true).expect("cleared");
    run(&gpu, &files, "classifier.0", false, Some(&store));
    let features: u64 = store
        .kept()
        .expect("a list")
        .iter()
        .map(|kept| kept.bytes)
        .sum();
    let small = Store::new(&home, features + 10 * 1024);
    let shelf = Shelf::open(&small, key(&gpu, &start, &how));
    let mut beside = Prints::beside(&shelf).expect("beside features");
    beside
        .give(&open(&files, |_| true), &all, &World::alone())
        .expect("prints");
    assert_eq!((beside.counts().put, beside.notes().len()), (9, 0));
    assert_eq!(store.kept().expect("a list").len(), 2);
    // Nor do features of this run go for its prints, where there is no room for both.
    store.clear(|_| true).expect("cleared");
    run(&gpu, &files, "classifier.0", false, Some(&store));
    let packed = packs(&home);
    let full = Store::new(&home, features + 1024);
    let shelf = Shelf::open(&full, key(&gpu, &start, &how));
    let mut beside = Prints::beside(&shelf).expect("beside features");
    beside
        .give(&open(&files, |_| true), &all, &World::alone())
        .expect("prints");
    assert_eq!((beside.counts().put, beside.notes().len()), (0, 1));
    assert_eq!(packs(&home), packed);
}

fn changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let images = open(&files, |_| true);
    fs::copy(&files[1], &files[0]).expect("another picture");
    let error = images.batch(&[0]).expect_err("it is another one");
    assert!(error.to_string().contains("has changed"), "{error}");
    images.batch(&[1]).expect("this one is the same");
}
