//! Picture files of every kind against Pillow, and against the table in the README that says what is exact.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use goldfish::data::{Decoded, Transform, decode};
use libtest_mimic::Trial;
use safetensors::SafeTensors;

use crate::support::{root, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "pictures::the_readmes_table_says_how_far_each_kind_is_from_pillow",
            table,
        ),
        trial(
            "pictures::what_is_not_read_is_refused_with_the_reason",
            refused,
        ),
        trial("pictures::exif_turns_every_format_that_has_it", turned),
        trial(
            "pictures::the_content_decides_and_not_the_name",
            wrong_endings,
        ),
        trial("pictures::damage_anywhere_is_no_panic", damage),
        trial("pictures::no_number_in_a_header_is_a_panic", headers),
        trial(
            "pictures::a_thread_of_a_picture_takes_no_more_than_its_crop",
            thin,
        ),
    ]
}

/// Every fixture of `row` by name: the file's bytes and, where it is read, Pillow's picture.
fn fixtures(bytes: &[u8]) -> BTreeMap<(String, String), (Vec<u8>, Option<Decoded>)> {
    let file = SafeTensors::deserialize(bytes).expect("the fixture is whole");
    let names = file.names();
    let files = names.into_iter().filter(|name| !name.ends_with(".rgb"));
    files
        .map(|key| {
            let (row, name) = key.rsplit_once('/').expect("ROW/NAME");
            let picture = file.tensor(&format!("{key}.rgb")).ok();
            let picture = picture.map(|view| Decoded {
                rgb: view.data().to_vec(),
                width: view.shape()[1],
                height: view.shape()[0],
            });
            let bytes = file.tensor(key).expect("it is listed").data().to_vec();
            ((row.to_string(), name.to_string()), (bytes, picture))
        })
        .collect()
}

fn recorded() -> Vec<u8> {
    fs::read(root().join("tests/fixtures/pictures.safetensors")).expect("the fixture is there")
}

fn read(folder: &Path, name: &str, bytes: &[u8], exif: bool) -> goldfish::Result<Decoded> {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a file");
    decode(&path, exif)
}

/// The largest difference of a sample; the sizes must agree.
fn difference(name: &str, found: &Decoded, expected: &Decoded) -> u8 {
    let size = |picture: &Decoded| [picture.width, picture.height];
    assert_eq!(size(found), size(expected), "{name}");
    assert_eq!(found.rgb.len(), expected.rgb.len(), "{name}");
    let pairs = found.rgb.iter().zip(&expected.rgb);
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

fn table() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README is there");
    let (_, table) = readme
        .split_once("| picture | at most |")
        .expect("the README has the table");
    let lines = table.lines().skip(2);
    let mut said = BTreeMap::new();
    for line in lines.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let most: u8 = cells[2].parse().unwrap_or_else(|_| panic!("{line}"));
        said.insert(cells[1].to_string(), most);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut measured = BTreeMap::new();
    let mut wrong = Vec::new();
    for ((row, name), (bytes, expected)) in fixtures(&recorded()) {
        let Some(expected) = expected.filter(|_| row != "exif") else {
            continue;
        };
        match read(folder.path(), &name, &bytes, false) {
            Ok(found) => {
                let most = measured.entry(row.clone()).or_insert(0);
                let difference = difference(&name, &found, &expected);
                *most = difference.max(*most);
                if said.get(&row).is_some_and(|&said| difference > said) {
                    wrong.push(format!("{name}: {difference}"));
                }
            }
            Err(error) => wrong.push(error.to_string()),
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "measured {measured:?}");
    assert_eq!(measured, said, "measured, and said in the README");
}

fn refused() {
    let recorded = recorded();
    let (_, header) = SafeTensors::read_metadata(&recorded).expect("the fixture is whole");
    let words = header.metadata().as_ref().expect("words");
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for ((row, name), (bytes, _)) in fixtures(&recorded) {
        if row == "refused" {
            let error = read(folder.path(), &name, &bytes, false);
            let error = error.map(|_| ()).expect_err(&name).to_string();
            for words in [&*words[&name], &name, "or go on without it"] {
                assert!(error.contains(words), "{words:?} is not in {error:?}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, words.len());
}

fn turned() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for ((row, name), (bytes, expected)) in fixtures(&recorded()) {
        let Some(expected) = expected.filter(|_| row == "exif") else {
            continue;
        };
        let found = read(folder.path(), &name, &bytes, true).expect(&name);
        assert!(difference(&name, &found, &expected) <= 2, "{name}");
        let plain = read(folder.path(), &name, &bytes, false).expect(&name);
        assert_eq!([plain.height, plain.width], [found.width, found.height]);
        seen += 1;
    }
    assert_eq!(seen, 3);
}

fn wrong_endings() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for ((row, name), (bytes, expected)) in fixtures(&recorded()) {
        if let ("PNG" | "BMP" | "GIF" | "WebP" | "TIFF", Some(expected)) = (&*row, expected) {
            let found = read(folder.path(), &format!("{name}.jpg"), &bytes, false).expect(&name);
            assert_eq!(difference(&name, &found, &expected), 0, "{name}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

/// Cuts and changes bytes of every fixture: whatever comes of it is a picture or an error.
fn damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    let (mut read_still, mut failed) = (0, 0);
    for ((_, name), (bytes, _)) in fixtures(&recorded()) {
        for round in 0..6 {
            let mut bytes = bytes.clone();
            if round < 2 {
                bytes.truncate(random() % (bytes.len() + 1));
            }
            for _ in 0..round {
                let at = random() % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (random() % 8);
                }
            }
            match read(folder.path(), &name, &bytes, false) {
                Ok(picture) => {
                    assert_eq!(
                        picture.rgb.len(),
                        picture.width * picture.height * 3,
                        "{name}"
                    );
                    read_still += 1;
                }
                Err(_) => failed += 1,
            }
        }
    }
    assert!(read_still > 100 && failed > 100, "{read_still} {failed}");
}

/// One pixel wide and a million high: as wide as the crop, its other side would be 196 GB.
fn thin() {
    let crop = |width: usize, height: usize| {
        let rgb = (0..width * height * 3).map(|i| (i / 3 % 251) as u8);
        let picture = Decoded {
            rgb: rgb.collect(),
            width,
            height,
        };
        Transform { size: 32 }.crop(&picture)
    };
    for crop in [crop(1, 1_000_000), crop(1_000_000, 1)] {
        assert_eq!(crop.len(), 32 * 32 * 3);
        // The middle pixel, and its neighbour: half a million is 8 past a multiple of 251.
        assert!(
            crop.iter().all(|&sample| (7..=8).contains(&sample)),
            "{crop:?}"
        );
    }
}

/// Bytes of headers as numbers that fields have in the wild and that a reader may not expect: an eighth of all places and
/// numbers, another one in each file.
fn headers() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut failed = 0;
    for (file, ((_, name), (bytes, _))) in fixtures(&recorded()).into_iter().enumerate() {
        if ![".tif", ".bmp", ".gif"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            continue;
        }
        let places = (0..bytes.len().min(200)).flat_map(|at| [0, 1, 3, 5, 255].map(|v| (at, v)));
        for (at, value) in places.skip(file % 8).step_by(8) {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            failed += usize::from(read(folder.path(), &name, &bytes, false).is_err());
        }
    }
    assert!(failed > 100, "{failed}");
}
