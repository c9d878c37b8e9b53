//! From files to numbers: the transform is torchvision's to the bit, and bad files are refused by name.

use std::fs;
use std::path::Path;

use goldfish::data::{Dataset, Decoded, ImageStore, Labels, Transform, decode, resize};
use image::{DynamicImage, ImageBuffer, Rgb};
use libtest_mimic::Trial;

use crate::support::{illustrations, pictures, root, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("data::resizing_gives_pillows_bits", resizing),
        trial(
            "data::cropping_and_normalising_give_torchvisions_bits",
            cropping,
        ),
        trial("data::every_format_of_the_illustrations_is_read", formats),
        trial("data::sixteen_bits_are_scaled_to_eight", sixteen_bits),
        trial("data::a_cmyk_jpeg_is_read", cmyk),
        trial("data::bad_images_are_refused_by_name", bad_images),
        trial(
            "data::an_image_too_large_is_refused_before_it_is_decoded",
            too_large,
        ),
        trial("data::exif_turns_an_image_only_when_asked", exif),
        trial("data::bad_images_are_skipped_when_asked", skipping),
        trial(
            "data::folders_are_categories_by_name_wordnet_id_or_index",
            categories,
        ),
        trial(
            "data::unknown_categories_are_refused_with_the_nearest_names",
            unknown_categories,
        ),
        trial("data::empty_folders_are_refused", empty),
        trial(
            "data::nested_folders_come_in_the_order_of_image_folder",
            nested,
        ),
        #[cfg(unix)]
        trial(
            "data::links_are_followed_and_dead_ones_left_out_by_name",
            links,
        ),
        trial(
            "data::batches_come_in_the_asked_order_whatever_is_in_memory",
            batches,
        ),
    ]
}

/// The formula image of `tests/fixtures/resize.py`.
fn picture(width: usize, height: usize) -> Decoded {
    let sample = |i: usize| {
        let (x, y, c) = (
            (i / 3 % width) as u64,
            (i / 3 / width) as u64,
            (i % 3) as u64,
        );
        let mixed = (x * 7919 + y * 104_729 + c * 1_299_709).wrapping_mul(2_654_435_761);
        (mixed >> 13) as u8
    };
    Decoded {
        rgb: (0..width * height * 3).map(sample).collect(),
        width,
        height,
    }
}

fn recorded(kind: &str) -> Vec<Vec<usize>> {
    let text =
        fs::read_to_string(root().join("tests/fixtures/resize.tsv")).expect("the fixture is there");
    let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
    let numbers = |line: &str| {
        line.split_whitespace()
            .map(|n| n.parse().expect("a number"))
            .collect()
    };
    let lines: Vec<Vec<usize>> = lines.map(numbers).collect();
    assert!(lines.len() >= 16, "{kind}");
    lines
}

fn resizing() {
    for line in recorded("resize") {
        let [w, h, new_w, new_h, crc] = line[..] else {
            panic!("{line:?}")
        };
        let resized = resize(&picture(w, h).rgb, [w, h], [new_w, new_h]);
        assert_eq!(
            crc32fast::hash(&resized) as usize,
            crc,
            "{w}x{h} to {new_w}x{new_h}"
        );
    }
}

fn cropping() {
    for line in recorded("crop") {
        let [w, h, size, crop_crc, normal_crc] = line[..] else {
            panic!("{line:?}")
        };
        let transform = Transform { size };
        let crop = transform.crop(&picture(w, h));
        assert_eq!(
            crc32fast::hash(&crop) as usize,
            crop_crc,
            "{w}x{h} to {size}"
        );
        let mut normal = vec![0f32; crop.len()];
        transform.normalise(&crop, &mut normal);
        assert_eq!(
            crc32fast::hash(bytemuck::cast_slice(&normal)) as usize,
            normal_crc,
            "{w}x{h} to {size}"
        );
    }
}

fn formats() {
    for (file, size) in [
        ("bowl.png", (640, 480)),
        ("ink.gif", (420, 560)),
        ("pixels.bmp", (312, 240)),
        ("pond.jpg", (900, 600)),
        ("stamp.webp", (360, 360)),
    ] {
        let image = decode(&illustrations().join("goldfish").join(file), false).expect(file);
        assert_eq!((image.width, image.height), size, "{file}");
        let distinct: std::collections::BTreeSet<&[u8]> = image.rgb.chunks(3).collect();
        assert!(distinct.len() > 8, "{file} has {} colours", distinct.len());
    }
}

fn sixteen_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep.png");
    let image = ImageBuffer::from_fn(3, 1, |x, _| {
        Rgb([x as u16 * 0x8000u16.wrapping_sub(1), 257, 65535])
    });
    DynamicImage::ImageRgb16(image)
        .save(&path)
        .expect("an image");
    assert_eq!(
        decode(&path, false).expect("it is read").rgb,
        [0, 1, 255, 127, 1, 255, 255, 1, 255]
    );
}

fn cmyk() {
    let image = decode(&root().join("tests/fixtures/cmyk.jpg"), false).expect("it is read");
    assert_eq!((image.width, image.height), (8, 8));
    // Pillow's convert("RGB") gives 230, 115, 25; JPEG decoders differ by a few levels.
    for pixel in image.rgb.chunks(3) {
        let close = pixel
            .iter()
            .zip([230u8, 115, 25])
            .all(|(&a, b)| a.abs_diff(b) <= 4);
        assert!(close, "{pixel:?}");
    }
}

fn bad_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = fs::read(illustrations().join("goldfish/bowl.png")).expect("an image");
    for (name, bytes, reason) in [
        ("empty.png", &[][..], "empty"),
        ("text.png", b"these are words, not pixels", "not a PNG"),
        ("short.png", &whole[..whole.len() / 2], "damaged"),
        ("header.png", &whole[..20], "ends early"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        let error = decode(&path, false).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(reason), "{error}");
    }
    let error = decode(&folder.path().join("gone.png"), false)
        .expect_err("there is none")
        .to_string();
    assert!(error.contains("gone.png: cannot open"), "{error}");
}

fn too_large() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("huge.png");
    // A PNG that declares 60,000 x 60,000 pixels and holds none.
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        bytes.extend((data.len() as u32).to_be_bytes());
        let body = [kind, data].concat();
        bytes.extend(&body);
        bytes.extend(crc32fast::hash(&body).to_be_bytes());
    };
    let mut header = Vec::new();
    header.extend(60_000u32.to_be_bytes());
    header.extend(60_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    chunk(b"IHDR", &header);
    chunk(b"IDAT", b"x\x9c");
    chunk(b"IEND", b"");
    fs::write(&path, bytes).expect("a file");
    let error = decode(&path, false)
        .expect_err("too many pixels")
        .to_string();
    assert!(
        error.contains("60000 x 60000") && error.contains("huge.png"),
        "{error}"
    );
}

fn exif() {
    let path = root().join("tests/fixtures/turned.jpg");
    let plain = decode(&path, false).expect("it is read");
    assert_eq!((plain.width, plain.height), (16, 8));
    let turned = decode(&path, true).expect("it is read");
    assert_eq!((turned.width, turned.height), (8, 16));
}

fn skipping() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(folder.path(), "goldfish", &[(40, 50), (60, 40)]);
    fs::write(folder.path().join("goldfish/0b.png"), b"").expect("a file");
    let dataset = Dataset::open(folder.path(), &Labels::ImageNet).expect("a dataset");
    let paths: Vec<_> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let open = |paths: &[_], skip| {
        ImageStore::open(paths, Transform { size: 32 }, false, 0, skip, |_| Ok(()))
    };
    let error = open(&paths, false)
        .map(|_| ())
        .expect_err("one is empty")
        .to_string();
    assert!(
        error.ends_with("0b.png: the file is empty. Replace or remove it, or go on without it"),
        "{error}"
    );
    let (images, skipped) = open(&paths, true).expect("two are left");
    assert_eq!(images.len(), 2);
    assert!(
        skipped.len() == 1 && skipped[0].path.ends_with("0b.png"),
        "{skipped:?}"
    );
    assert!(open(&paths[1..2], true).is_err(), "nothing is left");
}

fn categories() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(folder.path(), "goldfish", &[(4, 4)]);
    pictures(folder.path(), "n01440764", &[(4, 4), (5, 5)]);
    pictures(folder.path(), "474", &[(4, 4)]);
    fs::write(folder.path().join("goldfish/.hidden.png"), b"").expect("a file");
    fs::write(folder.path().join("goldfish/notes.txt"), b"").expect("a file");
    fs::write(folder.path().join("readme.md"), b"").expect("a file");
    let dataset = Dataset::open(folder.path(), &Labels::ImageNet).expect("a dataset");
    let labels: Vec<u32> = dataset.items.iter().map(|item| item.label).collect();
    assert_eq!(labels, [474, 1, 0, 0]);
    assert_eq!(dataset.left_out.len(), 3);
}

fn unknown_categories() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(folder.path(), "Gold fish", &[(4, 4)]);
    pictures(folder.path(), "tabby cats", &[(4, 4)]);
    let error = Dataset::open(folder.path(), &Labels::ImageNet)
        .expect_err("no such categories")
        .to_string();
    for part in [
        "\"Gold fish\" (nearest: goldfish",
        "\"tabby cats\" (nearest: tabby",
        "WordNet",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

fn empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let says = |path: &Path| {
        Dataset::open(path, &Labels::ImageNet)
            .expect_err("nothing there")
            .to_string()
    };
    assert!(says(folder.path()).contains("no category folder"));
    fs::create_dir(folder.path().join("goldfish")).expect("a folder");
    assert!(says(folder.path()).contains("no images"));
    assert!(says(&illustrations().join("goldfish")).contains("pass the folder above"));
    assert!(says(&folder.path().join("missing")).contains("cannot list"));
}

/// The order is `sorted(os.walk(folder, followlinks=True))` of torchvision's `make_dataset`: folders by
/// their whole paths, where `a-b` comes before `a/b`, and the files of each by name.
fn nested() {
    let folder = tempfile::tempdir().expect("a folder");
    let make = |path: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, b"").expect("a file");
    };
    for path in [
        "goldfish/z.png",
        "goldfish/a/b/1.png",
        "goldfish/a/2.png",
        "goldfish/a-b/3.jpg",
        "goldfish/B.png",
        "goldfish/a/.hidden/4.png",
        "goldfish/a/notes.txt",
        "0/c.png",
        "loose.png",
    ] {
        make(path);
    }
    let dataset = Dataset::open(folder.path(), &Labels::ImageNet).expect("a dataset");
    let names = |path: &Path| {
        let below = path.strip_prefix(folder.path()).expect("it lies there");
        below.to_string_lossy().replace('\\', "/")
    };
    let items = dataset.items.iter();
    let found: Vec<(String, u32)> = items.map(|i| (names(&i.path), i.label)).collect();
    let expected = [
        ("0/c.png", 0),
        ("goldfish/B.png", 1),
        ("goldfish/z.png", 1),
        ("goldfish/a/2.png", 1),
        ("goldfish/a-b/3.jpg", 1),
        ("goldfish/a/b/1.png", 1),
    ];
    assert_eq!(
        found,
        expected.map(|(path, label)| (path.to_string(), label))
    );
    let left_out: Vec<(String, &str)> = dataset
        .left_out
        .0
        .iter()
        .map(|(p, r)| (names(p), *r))
        .collect();
    assert_eq!(
        left_out,
        [
            ("loose.png".to_string(), "not in a category folder"),
            ("goldfish/a/.hidden".to_string(), "hidden"),
            (
                "goldfish/a/notes.txt".to_string(),
                "not named like an image"
            ),
        ]
    );
}

#[cfg(unix)]
fn links() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().expect("a folder");
    let elsewhere = tempfile::tempdir().expect("a folder");
    pictures(elsewhere.path(), "more", &[(4, 4), (5, 5)]);
    pictures(folder.path(), "goldfish", &[(4, 4)]);
    let goldfish = folder.path().join("goldfish");
    let link = |to: &Path, name: &str| symlink(to, goldfish.join(name)).expect("a link");
    link(&elsewhere.path().join("more"), "linked");
    link(&elsewhere.path().join("more/0.png"), "one.png");
    link(Path::new("/nowhere/x.png"), "dead.png");
    link(folder.path(), "up");
    link(Path::new("itself"), "itself");
    symlink(elsewhere.path().join("more"), folder.path().join("1")).expect("a link");
    symlink(&goldfish, elsewhere.path().join("more/back")).expect("a link");
    let dataset = Dataset::open(folder.path(), &Labels::ImageNet).expect("a dataset");
    let by_label = |label| dataset.items.iter().filter(|i| i.label == label).count();
    // `1` and `goldfish` are one category: 2 below the link `1`, where `back` leads to the 1 of goldfish, its
    // `one.png`; and goldfish's own 2 with the 2 of `linked`.
    assert_eq!((dataset.items.len(), by_label(1)), (8, 8));
    let text = dataset.left_out.to_string();
    for part in [
        "dead.png (a dead link)",
        "itself (a dead link)",
        "a link back to a folder above it",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

fn batches() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(
        folder.path(),
        "goldfish",
        &[(40, 50), (60, 40), (33, 90), (32, 32), (64, 64)],
    );
    let dataset = Dataset::open(folder.path(), &Labels::ImageNet).expect("a dataset");
    let paths: Vec<_> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let order = vec![vec![4, 0], vec![2], vec![1, 3, 2]];
    // Room for all crops, for two, and for none.
    let runs = [1 << 20, 2 * 32 * 32 * 3, 0].map(|memory| {
        let (images, _) =
            ImageStore::open(&paths, Transform { size: 32 }, false, memory, false, |_| {
                Ok(())
            })
            .expect("images");
        let batches = images.batches(order.clone()).into_iter();
        batches
            .map(|batch| batch.map(|b| (b.indices.clone(), b.pixels())))
            .map(|batch| batch.expect("a batch"))
            .collect::<Vec<_>>()
    });
    let indices: Vec<Vec<usize>> = runs[0].iter().map(|b| b.0.clone()).collect();
    assert_eq!(indices, order);
    assert!(runs[0] == runs[1] && runs[1] == runs[2]);
    assert_eq!(runs[0][1].1, runs[0][2].1[2 * 3072..]);
}
