//! Weights as people have them: in other precisions, under wrapped names, of other networks, and files that hold none.

use std::collections::HashMap;
use std::fs;

use goldfish::formats::{Tensors, write_merged};
use goldfish::nn::arch::VGG19_TINY;
use libtest_mimic::Trial;
use safetensors::tensor::Dtype;

use crate::files::{Stored, classifier, load, store, tiny, trained};
use crate::support::{gpu, gpu_trial, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        gpu_trial(
            "weights::weights_are_read_in_any_precision_and_merged_in_f32",
            other_precisions,
        ),
        gpu_trial(
            "weights::what_wrappers_put_into_names_is_left_out",
            wrapped_names,
        ),
        trial(
            "weights::weights_of_another_network_are_named",
            other_networks,
        ),
        trial(
            "weights::a_file_of_another_kind_is_named_with_what_to_do",
            other_kinds,
        ),
    ]
}

/// The bytes of f32 numbers in another precision, and the f32 numbers that those mean.
fn rounded(bytes: &[u8], dtype: Dtype) -> (Vec<u8>, Vec<f32>) {
    let values = bytemuck::pod_collect_to_vec::<u8, f32>(bytes).into_iter();
    let pairs = values.map(|value| match dtype {
        Dtype::F16 => {
            let half = half::f16::from_f32(value);
            (half.to_le_bytes().to_vec(), half.to_f32())
        }
        Dtype::BF16 => {
            let half = half::bf16::from_f32(value);
            (half.to_le_bytes().to_vec(), half.to_f32())
        }
        // Less than half a step of f32 away, so that rounding must give the f32 back.
        _ => {
            let double = f64::from(value) * (1.0 + 1e-8);
            (double.to_le_bytes().to_vec(), value)
        }
    });
    let (bytes, values): (Vec<_>, Vec<_>) = pairs.unzip();
    (bytes.concat(), values)
}

fn other_precisions() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, merged) = (folder.path().join("base"), folder.path().join("merged"));
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F64] {
        let mut tensors = tiny();
        let mut expected = HashMap::new();
        for (name, _, bytes) in &mut tensors {
            let (stored, values) = rounded(bytes, dtype);
            *bytes = stored;
            expected.insert(name.clone(), values);
        }
        store(&path, &tensors, dtype);
        assert_eq!(
            load(&path).expect("it is read"),
            expected["classifier.0.weight"]
        );
        // Merged weights are f32 whatever the base is: a half would round what the adapter adds away.
        let mut adapter = trained("classifier.6");
        adapter.loras[0].1.alpha = 1e-3;
        let file = Tensors::open(&path).expect("the base");
        let source = file.source(VGG19_TINY).expect("its parameters");
        write_merged(&gpu(), &merged, VGG19_TINY, &source, &adapter, 1.0, |_| {
            Ok(())
        })
        .expect("it is written");
        let mut changed = 0;
        let file = Tensors::open(&merged).expect("the merged weights");
        file.each(|name, dtype, _, bytes| {
            assert_eq!(dtype, Dtype::F32);
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
            if name == "classifier.6.weight" {
                let pairs = values.iter().zip(&expected[name]);
                changed = pairs.filter(|(merged, base)| merged != base).count();
            } else {
                assert_eq!(values, expected[name], "{name}");
            }
        });
        assert!(changed > 60_000, "{changed} of 64000 numbers changed");
    }
}

fn wrapped_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wrapped.safetensors");
    let expected = classifier(&tiny());
    let wrapped = |wrap: &dyn Fn(&str) -> String| {
        let mut tensors = tiny();
        tensors.iter_mut().for_each(|t| t.0 = wrap(&t.0));
        store(&path, &tensors, Dtype::F32);
        load(&path)
    };
    for prefix in ["module.", "model.", "_orig_mod.", "_orig_mod.module."] {
        let values = wrapped(&|name| format!("{prefix}{name}"));
        assert_eq!(values.expect(prefix), expected);
    }
    // PyTorch's own example wraps the convolutions of VGG alone.
    let values = wrapped(&|name| name.replace("features.", "features.module."));
    assert_eq!(values.expect("features alone"), expected);
    let error = wrapped(&|name| format!("backbone.vgg.{name}")).expect_err("unknown");
    assert!(error.contains("the prefix \"backbone.vgg.\""), "{error}");
    let mut twice = tiny();
    let mut again = twice[0].clone();
    again.0 = format!("module.{}", again.0);
    twice.push(again);
    store(&path, &twice, Dtype::F32);
    let error = load(&path).expect_err("which of the two?");
    assert!(
        error.contains("features.0.bias") && error.contains("module.features.0.bias"),
        "{error}"
    );
    // A shape is not stretched because a name was.
    let mut turned = tiny();
    turned
        .iter_mut()
        .for_each(|t| t.0 = format!("module.{}", t.0));
    let weight = turned
        .iter_mut()
        .find(|t| t.0 == "module.features.2.weight");
    weight.expect("it is there").1 = vec![3, 3, 4, 4];
    store(&path, &turned, Dtype::F32);
    let error = load(&path).expect_err("another shape");
    assert!(
        error.contains("module.features.2.weight has shape [3, 3, 4, 4]"),
        "{error}"
    );
}

fn other_networks() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.safetensors");
    let says = |tensors: &Stored| {
        store(&path, tensors, Dtype::F32);
        let file = Tensors::open(&path).expect("a whole file");
        let source = file.source(VGG19_TINY).map(|_| ());
        source.expect_err("another network").to_string()
    };
    let mut head = tiny();
    for (name, shape, bytes) in &mut head {
        if name.starts_with("classifier.6") {
            shape[0] = 10;
            bytes.truncate(4 * shape.iter().product::<usize>());
        }
    }
    let error = says(&head);
    assert!(
        error.contains("a head of 10 outputs (classifier.6.weight)") && error.contains("1000"),
        "{error}"
    );
    let mut shallow = tiny();
    shallow.retain(|t| !t.0.starts_with("features.34"));
    assert!(says(&shallow).contains("features.34.bias is missing"));
    // Names out of a file cannot write to the terminal.
    let mut named = tiny();
    named.push(("\0\u{1b}[2Jname".into(), vec![1], vec![0; 4]));
    let error = says(&named);
    assert!(
        error.contains("\\0\\u{1b}[2Jname does not belong here"),
        "{error}"
    );
    // Tensors without elements are of another shape as any other.
    let mut empty = tiny();
    empty[0].1 = vec![0];
    empty[0].2.clear();
    assert!(says(&empty).contains("has shape [0] and should have [4]"));
}

fn other_kinds() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vgg19.safetensors");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 574673361\n";
    for (bytes, says) in [
        (pointer.as_bytes(), "git lfs pull"),
        (b"<!DOCTYPE html><html>", "is an HTML page"),
        (
            b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0archive/data.pkl",
            "is a damaged PyTorch file",
        ),
        (
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
            "is a damaged PyTorch file",
        ),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0\0", "gzip"),
        (b"", "is empty"),
    ] {
        fs::write(&path, bytes).expect("a file");
        let error = Tensors::open(&path)
            .map(|_| ())
            .expect_err(says)
            .to_string();
        assert!(
            error.contains(says) && error.contains("vgg19.safetensors: is "),
            "{error}"
        );
    }
}
