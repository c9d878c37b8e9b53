//! A run's folder that is taken up: its settings, a zero byte, its images, a zero byte, where it stood. The state's checksum
//! is made to fit, since who writes a folder can do so too.

#![no_main]

use std::fs;
use std::sync::OnceLock;

use goldfish::nn::arch::VGG19_TINY;
use goldfish::nn::lora::Init;
use goldfish::nn::{Adapter, Choice};
use goldfish::train::{Beginning, Listing, MadeOn, Run};
use goldfish::{Gpu, GpuOptions};
use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

const DIGEST: &str = "goldfish.state_sha256";

fuzz_target!(|bytes: &[u8]| {
    static START: OnceLock<Option<Adapter>> = OnceLock::new();
    let mut parts = bytes.splitn(3, |&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let folder = goldfish_fuzz::folder().join("run");
    fs::create_dir_all(folder.join("state")).expect("a folder");
    goldfish_fuzz::file("run/run.toml", part());
    goldfish_fuzz::file("run/state/images.tsv", part());
    let state = fitting(part().to_vec());
    goldfish_fuzz::file("run/state/step-00000006.safetensors", &state);
    goldfish_fuzz::file("run/metrics.jsonl", &[b'\n'; 1 << 12]);
    let settings = Run::settings(&folder);
    if let (Some(start), Ok((_, settings))) = (START.get_or_init(start), settings)
        && let Ok(mut run) = Run::resume(&folder)
    {
        let deciding = deciding(&state);
        let begun = run.begin(Beginning {
            settings,
            deciding: &deciding,
            images: &Listing::default(),
            start,
            made_on: MadeOn {
                device: String::new(),
                driver: String::new(),
                goldfish: String::new(),
                kernels: None,
            },
            room: 0,
            keep: 1,
        });
        let _ = std::hint::black_box(begun);
    }
});

/// The settings that the state was written under: what is read under others goes no further than that.
fn deciding(state: &[u8]) -> toml::Table {
    let metadata = SafeTensors::read_metadata(state).ok();
    let notes = metadata.and_then(|(_, metadata)| metadata.metadata().clone());
    let note = notes.and_then(|notes| notes.get("goldfish.state").cloned());
    let note: Option<serde_json::Value> = note.and_then(|note| serde_json::from_str(&note).ok());
    let settings = note.map(|note| note["beside"]["settings"].clone());
    let settings = settings.and_then(|settings| toml::Table::try_from(settings).ok());
    settings.unwrap_or_default()
}

fn start() -> Option<Adapter> {
    let gpu = Gpu::open(&GpuOptions::default()).ok()?;
    let choice = Choice {
        targets: vec!["classifier.0".into()],
        rank: 2,
        ..Choice::default()
    };
    let targets = choice.resolve(VGG19_TINY, 32).ok()?;
    Adapter::new(&gpu, &targets, false, |_| Init::Kaiming, 0).ok()
}

/// `file` with the checksum of what it holds.
fn fitting(mut file: Vec<u8>) -> Vec<u8> {
    let Ok((header, metadata)) = SafeTensors::read_metadata(&file) else {
        return file;
    };
    let notes = metadata.metadata().clone().unwrap_or_default();
    let (Some(note), Some(digest)) = (notes.get("goldfish.state"), notes.get(DIGEST)) else {
        return file;
    };
    let mut hasher = Sha256::new_with_prefix(note);
    hasher.update(&file[(8 + header).min(file.len())..]);
    let right: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if digest.len() == right.len() {
        let at = file
            .windows(digest.len())
            .position(|found| found == digest.as_bytes());
        if let Some(at) = at {
            file[at..at + right.len()].copy_from_slice(right.as_bytes());
        }
    }
    file
}
