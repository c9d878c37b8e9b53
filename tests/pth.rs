//! Files of `torch.save`: every form that PyTorch writes is read to the byte, and nothing that a pickle asks for is done.
//! `fixtures/torch_files.py` wrote the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use goldfish::formats::Tensors;
use libtest_mimic::Trial;
use safetensors::{Dtype, SafeTensors};

use crate::support::{root, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "pth::every_form_that_pytorch_writes_is_read_to_the_byte",
            forms,
        ),
        trial("pth::what_is_no_tensor_is_refused_by_name", refused),
        trial("pth::a_cut_file_is_an_error_at_every_length", cut),
        trial("pth::no_pickle_takes_more_than_its_share", bombs),
        trial("pth::sizes_that_lie_are_errors", lies),
    ]
}

type Found = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn fixtures() -> PathBuf {
    root().join("tests/fixtures/torch")
}

fn read(path: &Path) -> Result<Found, String> {
    let file = Tensors::open(path).map_err(|e| e.to_string())?;
    let mut found = Found::new();
    file.each(|name, dtype, shape, bytes| {
        found.insert(name.into(), (dtype, shape.to_vec(), bytes.to_vec()));
    });
    Ok(found)
}

fn forms() {
    let bytes = fs::read(fixtures().join("expected.safetensors")).expect("the fixture");
    let file = SafeTensors::deserialize(&bytes).expect("the fixture is whole");
    let mut expected: BTreeMap<String, Found> = BTreeMap::new();
    for (name, view) in file.iter() {
        let (file, name) = name.split_once('/').expect("a file and a name");
        let tensor = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        let tensors = expected.entry(file.into()).or_default();
        tensors.insert(name.into(), tensor);
    }
    for (name, tensors) in &expected {
        let found = read(&fixtures().join(name)).expect(name);
        assert_eq!(&found, tensors, "{name}");
    }
    let here = fs::read_dir(fixtures()).expect("the fixtures");
    let here = here.map(|entry| entry.expect("an entry").file_name());
    let good = here.filter(|name| {
        let name = name.to_string_lossy();
        name.ends_with(".pth") && !name.starts_with("bad_")
    });
    assert_eq!(good.count(), expected.len());
    assert!(expected.len() > 15 && expected["views.pth"].len() == 13);
}

fn refused() {
    for (name, says) in [
        ("bad_command", "system, where only tensors are read"),
        ("bad_command_legacy", "system, where only tensors are read"),
        (
            "bad_model",
            "torch.nn.modules.linear.Linear, where only tensors are read",
        ),
        ("bad_sparse", "_rebuild_sparse_tensor"),
        ("bad_complex", "torch.ComplexFloatStorage"),
        ("bad_float8", "_rebuild_tensor_v3"),
        (
            "bad_expanded",
            "holds weight: it repeats numbers of its storage",
        ),
        ("bad_list", "without tensors by name"),
        ("bad_names", "first entries (epoch, weights) are no tensors"),
        ("bad_pickle", "a pickle of Python's own"),
        ("bad_compressed", "is a compressed PyTorch file"),
        ("bad_big_endian", "a big-endian machine"),
    ] {
        let name = format!("{name}.pth");
        let error = read(&fixtures().join(&name)).expect_err(&name);
        assert!(error.contains(says), "{error}");
        // The file by name, and what to do.
        let does = ["torch.save(", "Fetch or save it again", ".contiguous()"];
        assert!(
            error.contains(&format!("{name}: ")) && does.iter().any(|does| error.contains(does)),
            "{error}"
        );
    }
    assert!(!Path::new("goldfish-was-here").exists());
}

/// What is said of a file with these bytes.
fn says(folder: &Path, bytes: &[u8]) -> Result<Found, String> {
    let path = folder.join("file.pth");
    fs::write(&path, bytes).expect("a file");
    read(&path)
}

fn cut() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["zip.pth", "legacy.pth"] {
        let whole = fs::read(fixtures().join(name)).expect("the fixture");
        assert!(says(folder.path(), &whole).is_ok());
        for length in 0..whole.len() {
            let error = says(folder.path(), &whole[..length]).expect_err("a part");
            assert!(error.contains("file.pth: is "), "{length}: {error}");
        }
    }
}

/// A file before PyTorch 1.6 with this pickle, storage keys and data.
fn legacy(pickle: &[u8], rest: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02";
    [&magic[..], pickle, rest].concat()
}

fn bombs() {
    let folder = tempfile::tempdir().expect("a folder");
    // A tuple of itself twice, a hundred thousand times over: 2^100000 items for whoever walks them.
    let mut doubled = b")q\0".to_vec();
    doubled.extend(b"h\0h\0\x86q\0".repeat(100_000));
    let lists = b"]".repeat((1 << 20) + 1);
    // A dict of a thousand pairs, made again and again.
    let mut pairs = b"](".to_vec();
    pairs.extend(b"K\x01K\x02\x86".repeat(1000));
    pairs.extend(b"eq\0");
    pairs.extend(b"ccollections\nOrderedDict\nh\0\x85R".repeat(10_000));
    let nested = [b"(".repeat(200_000), b"t".repeat(200_000)].concat();
    let remembered = b"N\x94".repeat(600_000);
    for (pickle, says_) in [
        (doubled, "without tensors by name"),
        (lists, "more than 1048576 values"),
        (pairs, "more than 1048576 values"),
        (nested, "without tensors by name"),
        (remembered, "without tensors by name"),
        (b"0".to_vec(), "takes what is not there"),
        (b"h\x07".to_vec(), "names what is not there"),
        (b"]t".to_vec(), "takes what is not there"),
        (b"X\xff\xff\xff\xff".to_vec(), "does not end"),
        (
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            "does not end",
        ),
        (b"c\xff\n\xfe\n".to_vec(), "not UTF-8"),
        (
            b"ca\x1b[2J\nb\n".to_vec(),
            "a\\u{1b}[2J.b, where only tensors",
        ),
    ] {
        let bytes = legacy(&[&pickle[..], b"."].concat(), b"\x80\x02].");
        let error = says(folder.path(), &bytes).expect_err(says_);
        assert!(error.contains(says_), "{error}");
    }
}

/// `{"w": a tensor of storage "0"}` with these numbers of four bytes each.
fn tensor(count: u32, offset: u32, shape: [u32; 2], strides: [u32; 2]) -> Vec<u8> {
    let int = |value: u32| [&b"J"[..], &value.to_le_bytes()].concat();
    let two = |pair: [u32; 2]| [int(pair[0]), int(pair[1]), b"\x86".to_vec()].concat();
    [
        &b"}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000"[..],
        b"X\x03\0\0\0cpu",
        &int(count),
        b"NtQ",
        &int(offset),
        &two(shape),
        &two(strides),
        b"\x89}tRs.",
    ]
    .concat()
}

fn lies() {
    let folder = tempfile::tempdir().expect("a folder");
    let numbers: Vec<u8> = (0..6u8).flat_map(|n| f32::from(n).to_le_bytes()).collect();
    let rest = |stored: u64| {
        let keys = b"\x80\x02]X\x01\0\0\x000a.";
        [&keys[..], &stored.to_le_bytes(), &numbers].concat()
    };
    let file = |pickle: Vec<u8>, stored| legacy(&pickle, &rest(stored));
    let whole = file(tensor(6, 1, [2, 2], [3, 1]), 6);
    let found = says(folder.path(), &whole).expect("a view");
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&found["w"].2);
    assert_eq!(values, [1.0, 2.0, 4.0, 5.0]);
    const HUGE: u32 = i32::MAX as u32;
    let minus = (-1i32) as u32;
    for (pickle, stored, says_) in [
        (tensor(6, 1, [2, 3], [3, 1]), 6, "outside of its storage"),
        (tensor(6, HUGE, [2, 2], [3, 1]), 6, "outside of its storage"),
        (tensor(6, 0, [2, 2], [HUGE, 1]), 6, "outside of its storage"),
        (
            tensor(6, 0, [HUGE, HUGE], [HUGE, 1]),
            6,
            "outside of its storage",
        ),
        (tensor(6, 0, [HUGE, HUGE], [0, 0]), 6, "repeats numbers"),
        (tensor(6, minus, [2, 2], [3, 1]), 6, "in an unknown way"),
        (tensor(6, 0, [2, 2], [minus, 1]), 6, "in an unknown way"),
        (
            tensor(HUGE, 0, [2, 2], [3, 1]),
            HUGE.into(),
            "ends within its tensors",
        ),
        (
            tensor(6, 0, [2, 2], [3, 1]),
            7,
            "has 7 numbers and should have 6",
        ),
        (
            tensor(5, 0, [2, 2], [2, 1]),
            5,
            "4 bytes follow its last tensor",
        ),
        (
            tensor(6, 0, [2, 2], [3, 1]),
            6u64.swap_bytes(),
            "big-endian machine",
        ),
    ] {
        let error = says(folder.path(), &file(pickle, stored)).expect_err(says_);
        assert!(error.contains(says_), "{error}");
    }
}
