//! Every fault of a dataset is found where it was planted, and none where there is none.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use goldfish::Error;
use goldfish::data::doctor::{Checks, Examined, Fault, Severity, doctor};
use goldfish::data::{Classes, Dataset, Labels, resize};
use goldfish::random::Stream;
use goldfish::world::World;
use image::{ImageBuffer, Rgb, RgbImage};
use libtest_mimic::Trial;
use predicates::str::contains;
use serde_json::Value;

use crate::cli::{goldfish, stdout};
use crate::support::{illustrations, root, slashed, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("doctor::nothing_is_found_where_nothing_is_wrong", clean),
        trial("doctor::every_planted_fault_is_found_and_no_other", planted),
        trial("doctor::what_ends_early_is_cut_off_in_every_format", cut),
        trial("doctor::names_that_training_refuses_are_errors", names),
        trial("doctor::a_folder_too_far_up_is_seen", above),
        trial(
            "doctor::options_of_training_decide_what_is_a_fault",
            options,
        ),
        trial("doctor::it_can_be_stopped", stopped),
        trial(
            "doctor::ranks_find_together_what_one_process_finds",
            together,
        ),
        trial("doctor::it_says_what_is_wrong_and_what_to_do", said),
        trial("doctor::warnings_count_where_they_are_to", strict),
        #[cfg(unix)]
        trial("doctor::nothing_in_a_name_steers_the_terminal", steering),
    ]
}

/// A picture of smooth random colours that no other seed is near to.
fn picture(seed: u64, width: u32, height: u32) -> RgbImage {
    let stream = Stream::new(seed, "picture");
    let coarse: Vec<u8> = (0..8 * 8 * 3).map(|i| stream.word(i) as u8).collect();
    let size = [width as usize, height as usize];
    let rgb = resize(&coarse, [8, 8], size);
    RgbImage::from_raw(width, height, rgb).expect("all samples")
}

fn save(image: &RgbImage, path: &Path) {
    let folder = path.parent().expect("a folder");
    fs::create_dir_all(folder).expect("a folder");
    image.save(path).expect("a picture");
}

/// `count` sound pictures in `folder/class`, of seeds from `first` on.
fn class(folder: &Path, class: &str, first: u64, count: u64) {
    for seed in first..first + count {
        let path = folder.join(class).join(format!("{seed}.png"));
        save(&picture(seed, 240, 230), &path);
    }
}

fn checks<'a>(data: &'a Path, validation: Option<&'a Path>) -> Checks<'a> {
    Checks {
        data,
        validation,
        labels: Labels::Auto(Classes::imagenet()),
        exif: false,
        size: 224,
        world: None,
    }
}

fn examined(checks: &Checks) -> Examined {
    doctor(checks, |_, _| (), &AtomicBool::new(false)).expect("it goes on")
}

/// The places of each fault, below `root`.
fn found(examined: &Examined, root: &Path) -> BTreeMap<Fault, Vec<String>> {
    let below = |path: &Path| {
        let path = path.strip_prefix(root).unwrap_or(path);
        path.to_string_lossy().replace('\\', "/")
    };
    let findings = examined.findings.iter();
    findings
        .map(|finding| {
            let places = finding.places.iter().map(|place| {
                let paths = std::iter::once(&place.path).chain(&place.with);
                paths
                    .map(|path| below(path))
                    .collect::<Vec<_>>()
                    .join(" = ")
            });
            (finding.fault, places.collect())
        })
        .collect()
}

fn clean() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, val) = (folder.path().join("data"), folder.path().join("val"));
    class(&data, "alpha", 0, 9);
    class(&data, "beta/2020", 20, 4);
    class(&data, "beta/2021", 30, 4);
    class(&val, "alpha", 40, 2);
    class(&val, "Beta", 50, 3);
    let examined = examined(&checks(&data, Some(&val)));
    assert_eq!(found(&examined, folder.path()), BTreeMap::new());
    let counts = |classes: &[goldfish::data::doctor::Counted]| -> Vec<(String, usize, usize)> {
        let counts = classes.iter();
        counts
            .map(|c| (c.name.clone(), c.pictures, c.readable))
            .collect()
    };
    assert_eq!(
        counts(&examined.classes),
        [("alpha".into(), 9, 9), ("beta".into(), 8, 8)]
    );
    assert_eq!(
        counts(&examined.validation),
        [("Beta".into(), 3, 3), ("alpha".into(), 2, 2)]
    );
    // The illustrations that the program brings along are sound too: one class of ImageNet's.
    let own = examined_illustrations();
    assert_eq!(
        own.count(Severity::Error) + own.count(Severity::Warning),
        0,
        "{own:?}"
    );
}

fn examined_illustrations() -> Examined {
    examined(&checks(&illustrations(), None))
}

/// Puts one of each fault into `folder`, and returns where they are to be found.
fn plant(folder: &Path) -> BTreeMap<Fault, Vec<String>> {
    let (data, val) = (folder.join("data"), folder.join("val"));
    let a = |name: &str| data.join("alpha").join(name);
    let fixture = |name: &str| root().join("tests/fixtures").join(name);
    class(&data, "alpha", 0, 12);
    class(&data, "be_ta", 20, 12);
    // Classes.
    class(&data, "be-ta", 40, 2);
    class(&data, "single", 50, 1);
    fs::create_dir_all(data.join("empty")).expect("a folder");
    for seed in 60..66 {
        let mut image = picture(seed, 240, 240);
        image.pixels_mut().for_each(|p| p.0 = [p.0[1]; 3]);
        save(&image, &data.join(format!("grey/{seed}.png")));
    }
    // Pictures that are none, or not whole.
    fs::write(a("broken.png"), "words").expect("a file");
    fs::write(a("empty.png"), "").expect("a file");
    let pond = fs::read(illustrations().join("goldfish/pond.jpg")).expect("the picture");
    fs::write(a("cut.jpg"), &pond[..pond.len() / 2]).expect("a file");
    // Pictures that are not what they seem.
    save(&picture(70, 8, 8), &a("tiny.png"));
    save(&picture(71, 100, 120), &a("small.png"));
    save(&picture(72, 900, 240), &a("long.png"));
    let lines = ImageBuffer::from_fn(6400, 6400, |x, y| Rgb([(x / 100) as u8, (y / 80) as u8, 9]));
    save(&lines, &a("huge.png"));
    let deep = picture(73, 240, 240);
    let deep = ImageBuffer::from_fn(240, 240, |x, y| {
        Rgb(deep[(x, y)].0.map(|s| u16::from(s) * 257))
    });
    deep.save(a("deep.png")).expect("a picture");
    turned(&a("turned.jpg"));
    fs::copy(fixture("cmyk.jpg"), a("cmyk.jpg")).expect("a picture");
    moving(&a("moving.gif"));
    let glass = picture(74, 240, 240);
    let glass = ImageBuffer::from_fn(240, 240, |x, y| {
        let [r, g, b] = glass[(x, y)].0;
        image::Rgba([r, g, b, (x + 16) as u8])
    });
    glass.save(a("glass.png")).expect("a picture");
    save(
        &RgbImage::from_pixel(240, 240, Rgb([200, 10, 90])),
        &a("blank.png"),
    );
    let named = data.join("alpha/ending.png");
    save(&picture(75, 240, 240), &named);
    fs::rename(&named, a("ending.jpg")).expect("renamed");
    // Pictures that are there twice.
    save(&picture(0, 240, 230), &a("copy.bmp"));
    save(&picture(1, 300, 260), &a("near.png"));
    let mirrored = picture(2, 240, 230);
    let mirrored = ImageBuffer::from_fn(240, 230, |x, y| mirrored[(239 - x, y)]);
    save(&mirrored, &a("mirrored.png"));
    save(&picture(3, 240, 230), &data.join("be_ta/contradiction.png"));
    // What is no picture of a class.
    save(&picture(80, 240, 240), &data.join("loose.png"));
    save(&picture(81, 240, 240), &a("named.png"));
    fs::rename(a("named.png"), a("named.dat")).expect("renamed");
    fs::write(a("notes.txt"), "a line").expect("a file");
    fs::write(a(".hidden.png"), "hidden").expect("a file");
    fs::write(data.join("README.md"), "a line").expect("a file");
    #[cfg(unix)]
    std::os::unix::fs::symlink("/gone/away.png", a("gone.png")).expect("a link");
    // Validation.
    class(&val, "alpha", 90, 2);
    save(&picture(4, 240, 230), &val.join("alpha/leak.png"));
    let mut darker = picture(5, 240, 230);
    let shade = |s: u8| 20 + (f64::from(s) * 0.6) as u8;
    darker.pixels_mut().for_each(|p| p.0 = p.0.map(shade));
    save(&darker, &val.join("alpha/darker.png"));
    class(&val, "gamma", 95, 2);
    class(&val, "grey", 100, 2);

    let expected: &[(Fault, &[&str])] = &[
        (Fault::EmptyClass, &["data/empty"]),
        (Fault::FewPictures, &["data/single"]),
        (
            Fault::Unreadable,
            &["data/alpha/broken.png", "data/alpha/empty.png"],
        ),
        (Fault::Cut, &["data/alpha/cut.jpg"]),
        (
            Fault::Contradiction,
            &["data/alpha/3.png = data/be_ta/contradiction.png"],
        ),
        (Fault::Leak, &["data/alpha/4.png = val/alpha/leak.png"]),
        (Fault::UnknownInValidation, &["val/gamma"]),
        (Fault::ClashingClasses, &["data/be-ta = data/be_ta"]),
        (Fault::Imbalance, &["data"]),
        (Fault::GreyClass, &["data/grey"]),
        (
            Fault::MissingInValidation,
            &["data/be-ta", "data/be_ta", "data/empty", "data/single"],
        ),
        (
            Fault::NearLeak,
            &["data/alpha/5.png = val/alpha/darker.png"],
        ),
        (
            Fault::Duplicate,
            &["data/alpha/0.png = data/alpha/copy.bmp"],
        ),
        (
            Fault::NearDuplicate,
            &[
                "data/alpha/1.png = data/alpha/near.png",
                "data/alpha/2.png = data/alpha/mirrored.png",
            ],
        ),
        (
            Fault::Blank,
            &["data/alpha/blank.png", "data/alpha/cmyk.jpg"],
        ),
        (Fault::Turned, &["data/alpha/turned.jpg"]),
        (Fault::Transparent, &["data/alpha/glass.png"]),
        (Fault::Tiny, &["data/alpha/cmyk.jpg", "data/alpha/tiny.png"]),
        (Fault::Loose, &["data/loose.png"]),
        (Fault::NotNamed, &["data/alpha/named.dat"]),
        #[cfg(unix)]
        (Fault::DeadLink, &["data/alpha/gone.png"]),
        (Fault::WrongEnding, &["data/alpha/ending.jpg"]),
        (Fault::Huge, &["data/alpha/huge.png"]),
        (Fault::Long, &["data/alpha/long.png"]),
        (
            Fault::Small,
            &["data/alpha/moving.gif", "data/alpha/small.png"],
        ),
        (Fault::SixteenBit, &["data/alpha/deep.png"]),
        (Fault::Animated, &["data/alpha/moving.gif"]),
        (Fault::Inks, &["data/alpha/cmyk.jpg"]),
        (
            Fault::Junk,
            &[
                "data/README.md",
                "data/alpha/.hidden.png",
                "data/alpha/notes.txt",
            ],
        ),
    ];
    let owned = |places: &[&str]| places.iter().map(|place| place.to_string()).collect();
    expected
        .iter()
        .map(|(fault, places)| (*fault, owned(places)))
        .collect()
}

/// A photograph-like JPEG whose EXIF says that it lies on its side.
fn turned(path: &Path) {
    let pond = fs::read(illustrations().join("goldfish/pond.jpg")).expect("the picture");
    // A segment APP1 of 34 bytes, a TIFF of one entry: orientation, a short, once, 6.
    let exif =
        b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    fs::write(path, [&pond[..2], exif, &pond[2..]].concat()).expect("a file");
}

/// An animation of two frames.
fn moving(path: &Path) {
    let file = fs::File::create(path).expect("a file");
    let mut encoder = gif::Encoder::new(file, 120, 90, &[]).expect("a header");
    for seed in [76, 77] {
        let rgb = picture(seed, 120, 90).into_raw();
        let frame = gif::Frame::from_rgb_speed(120, 90, &rgb, 10);
        encoder.write_frame(&frame).expect("a frame");
    }
}

fn planted() {
    let folder = tempfile::tempdir().expect("a folder");
    let expected = plant(folder.path());
    let (data, val) = (folder.path().join("data"), folder.path().join("val"));
    let examined = examined(&checks(&data, Some(&val)));
    let found = found(&examined, folder.path());
    for (fault, places) in &expected {
        assert_eq!(found.get(fault), Some(places), "{fault:?}");
    }
    assert_eq!(found, expected);
    // The worst comes first, and the counts are of findings.
    let severities: Vec<Severity> = examined
        .findings
        .iter()
        .map(|f| f.fault.severity())
        .collect();
    assert!(severities.is_sorted());
    let all = [Severity::Error, Severity::Warning, Severity::Note].map(|s| examined.count(s));
    assert_eq!(all.iter().sum::<usize>(), expected.len());
    // Beside names and folders, which other tests have, no fault is left that nothing plants.
    let alpha = &examined.classes[0];
    assert_eq!(
        (&*alpha.name, alpha.pictures - alpha.readable),
        ("alpha", 3)
    );
}

fn cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    class(data, "alpha", 0, 2);
    class(data, "beta", 10, 2);
    let goldfish = illustrations().join("goldfish");
    let mut expected = Vec::new();
    for name in [
        "bowl.png",
        "ink.gif",
        "pixels.bmp",
        "pond.jpg",
        "stamp.webp",
    ] {
        let bytes = fs::read(goldfish.join(name)).expect("the picture");
        fs::write(data.join("alpha").join(name), &bytes[..bytes.len() * 2 / 3]).expect("a file");
        expected.push(format!("alpha/{name}"));
    }
    let found = found(&examined(&checks(data, None)), data);
    assert_eq!(found.get(&Fault::Cut), Some(&expected), "{found:?}");
    assert_eq!(found.len(), 1, "{found:?}");
}

/// Datasets that training refuses for their names, each with the fault that says so.
fn names() {
    let cases: [(&[&str], Labels, Fault); 7] = [
        (
            &["goldfish", "cat"],
            Labels::Auto(Classes::imagenet()),
            Fault::UnknownClass,
        ),
        (
            &["1", "2"],
            Labels::Auto(Classes::imagenet()),
            Fault::UnknownClass,
        ),
        (
            &["goldfish", "glodfish"],
            Labels::ImageNet,
            Fault::UnknownClass,
        ),
        (
            &["only"],
            Labels::Auto(Classes::imagenet()),
            Fault::OneClass,
        ),
        (
            &["goldfish", "tench"],
            Labels::BehindImageNet,
            Fault::UnknownClass,
        ),
        (
            &["goldfish", "of mine"],
            Labels::OwnBehindImageNet,
            Fault::UnknownClass,
        ),
        (&[], Labels::Own, Fault::Folder),
    ];
    for (names, labels, fault) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        for (at, name) in names.iter().enumerate() {
            class(folder.path(), name, at as u64 * 10, 2);
        }
        let refused = Dataset::open(folder.path(), &labels);
        assert!(refused.is_err(), "{names:?}");
        let labels = labels.clone();
        let checks = Checks {
            labels,
            ..checks(folder.path(), None)
        };
        let found = found(&examined(&checks), folder.path());
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [fault], "{names:?}");
    }
}

fn above() {
    let folder = tempfile::tempdir().expect("a folder");
    for (part, first) in [("train", 0), ("val", 50)] {
        class(&folder.path().join(part), "alpha", first, 3);
        class(&folder.path().join(part), "beta", first + 10, 3);
    }
    let found_here = found(&examined(&checks(folder.path(), None)), folder.path());
    let expected = BTreeMap::from([(Fault::FolderAbove, vec!["train = val".to_string()])]);
    assert_eq!(found_here, expected);
    let data = folder.path().join("train");
    let val = folder.path().join("val");
    let found_below = found(&examined(&checks(&data, Some(&val))), folder.path());
    assert_eq!(found_below, BTreeMap::new());
}

fn options() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    class(data, "goldfish", 0, 3);
    class(data, "tench", 10, 3);
    turned(&data.join("tench/turned.jpg"));
    save(&picture(20, 100, 100), &data.join("tench/small.png"));
    let faults =
        |checks: &Checks| -> Vec<Fault> { found(&examined(checks), data).into_keys().collect() };
    assert_eq!(faults(&checks(data, None)), [Fault::Turned, Fault::Small]);
    let turned = Checks {
        exif: true,
        ..checks(data, None)
    };
    assert_eq!(faults(&turned), [Fault::Small]);
    let small = Checks {
        exif: true,
        size: 32,
        ..checks(data, None)
    };
    assert_eq!(faults(&small), []);
    // Of ImageNet's categories one picture is enough; of one's own it is not.
    class(data, "goldfish", 0, 3);
    class(data, "shark", 30, 1);
    let own = Checks {
        labels: Labels::Own,
        exif: true,
        size: 32,
        ..checks(data, None)
    };
    assert_eq!(faults(&own), [Fault::FewPictures]);
    fs::rename(data.join("shark"), data.join("great_white_shark")).expect("renamed");
    assert_eq!(faults(&small), []);
    // Two folders of one category.
    class(data, "n01443537", 40, 2);
    assert_eq!(faults(&small), [Fault::ClashingClasses]);
    // Where the system tells them apart, by case too.
    let folder = tempfile::tempdir().expect("a folder");
    class(folder.path(), "plum", 0, 3);
    class(folder.path(), "Plum", 30, 3);
    if !folder.path().join("PLUM").exists() {
        let own = Checks {
            labels: Labels::Own,
            ..checks(folder.path(), None)
        };
        assert_eq!(faults(&own), [Fault::ClashingClasses]);
    }
}

fn stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    class(folder.path(), "goldfish", 0, 2);
    let stopped = doctor(
        &checks(folder.path(), None),
        |_, _| (),
        &AtomicBool::new(true),
    );
    assert!(matches!(stopped, Err(Error::Interrupted { .. })));
}

fn together() {
    let folder = tempfile::tempdir().expect("a folder");
    plant(folder.path());
    let (data, validation) = (folder.path().join("data"), folder.path().join("val"));
    fs::remove_file(data.join("alpha/huge.png")).expect("it was planted");
    let alone = examined(&checks(&data, Some(&validation)));
    for size in 2..=4 {
        let mut ranks = World::on_threads(size, |world| {
            let checks = Checks {
                world: Some(&world),
                ..checks(&data, Some(&validation))
            };
            examined(&checks)
        });
        let led = ranks.split_off(1);
        let found = &ranks[0];
        assert_eq!(found.findings, alone.findings, "{size} ranks");
        assert_eq!(found.classes, alone.classes);
        assert_eq!(found.validation, alone.validation);
        assert!(led.iter().all(|rank| rank.findings.is_empty()));
    }
}

fn said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut expected = plant(folder.path());
    // It is read four times below.
    fs::remove_file(folder.path().join("data/alpha/huge.png")).expect("it was planted");
    expected.remove(&Fault::Huge);
    let run = |more: &[&str]| {
        let mut command = goldfish(folder.path());
        // It must not look for a device.
        command
            .env("VK_DRIVER_FILES", "/gone")
            .env("GOLDFISH_DEVICE", "gone");
        command.args(["doctor", "data", "--val", "val"]).args(more);
        command.assert().code(3)
    };
    let text = run(&[]).stderr(contains("not sound: 7 errors, "));
    let text = slashed(&stdout(&text));
    for words in [
        "error    Pictures that cannot be read: 2\n",
        "data/alpha/cut.jpg: the JPEG ends early",
        "train without them: --skip-bad",
        "data/alpha/0.png, data/alpha/copy.bmp\n",
        "data/alpha/ending.jpg: is a PNG, named like a JPEG\n",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    let json: Value = serde_json::from_str(&stdout(&run(&["--json"]))).expect("JSON");
    assert_eq!(json["schema"], 1);
    assert_eq!(json["errors"], 7);
    let findings = json["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), expected.len());
    for finding in findings {
        let words = ["fault", "severity", "what", "advice"].map(|key| finding[key].as_str());
        assert!(
            words
                .iter()
                .all(|words| words.is_some_and(|w| !w.is_empty()))
        );
        assert!(
            finding["places"]
                .as_array()
                .is_some_and(|places| !places.is_empty())
        );
    }
    let leak = findings
        .iter()
        .find(|f| f["fault"] == "leak")
        .expect("it is there");
    let with = leak["places"][0]["with"][0].as_str().expect("a path");
    assert_eq!(slashed(with), "val/alpha/leak.png");

    // A long list is cut, and --all shows it.
    for seed in 0..30 {
        fs::write(
            folder.path().join(format!("data/alpha/{seed}.txt")),
            "a line",
        )
        .expect("a file");
    }
    let text = stdout(&run(&[]));
    assert!(text.contains("and 25 more; --all shows them"), "{text}");
    let text = slashed(&stdout(&run(&["--all"])));
    assert!(
        text.contains("alpha/29.txt") && !text.contains("more; --all"),
        "{text}"
    );
}

fn strict() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    class(&data, "alpha", 0, 2);
    class(&data, "beta", 10, 2);
    let run = |more: &[&str]| {
        let mut command = goldfish(folder.path());
        command.args(["doctor", "data"]).args(more).assert()
    };
    run(&["--strict"])
        .success()
        .stdout("4 pictures in 2 classes: nothing found\n");
    fs::write(data.join("alpha/notes.txt"), "a line").expect("a file");
    run(&["--strict"]).success().stdout(contains("1 note\n"));
    save(&picture(0, 240, 230), &data.join("alpha/copy.png"));
    run(&[]).success().stdout(contains("1 warning, 1 note\n"));
    run(&["--strict"]).code(3);
    run(&["--image-size", "7"]).code(2);
    let mut gone = goldfish(folder.path());
    gone.args(["doctor", "nowhere"]).assert().code(3);
}

#[cfg(unix)]
fn steering() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    class(&data, "alpha", 0, 2);
    class(&data, "beta", 10, 2);
    fs::write(data.join("alpha/a\u{1b}[2J\u{202e}.txt"), "a line").expect("a file");
    let run = goldfish(folder.path())
        .args(["doctor", "data"])
        .assert()
        .success();
    assert!(!stdout(&run).contains('\u{1b}') && !stdout(&run).contains('\u{202e}'));
}
