//! An adapter's folder: the settings, a zero byte, the classes, a zero byte, the factors.

#![no_main]

use std::sync::OnceLock;

use goldfish::Gpu;
use goldfish::formats::{Kind, Summary, adapter, convert, standing};
use goldfish::nn::arch::VGG19_TINY;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static DEVICE: OnceLock<Option<Gpu>> = OnceLock::new();
    let mut parts = bytes.splitn(3, |&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    goldfish_fuzz::file("adapter_config.json", part());
    goldfish_fuzz::file("classes.txt", part());
    goldfish_fuzz::file("adapter_model.safetensors", part());
    let folder = goldfish_fuzz::folder();
    let _ = std::hint::black_box(standing(folder));
    let _ = std::hint::black_box(Summary::read(folder));
    let out = folder.join("out");
    let _ = convert(folder, &out, Some(Kind::Lycoris), &mut |_| Ok(()));
    // Where there is a device, all the way to it.
    if let Some(gpu) = DEVICE.get_or_init(|| Gpu::new().ok())
        && let Ok(stored) = adapter::load(gpu, folder, VGG19_TINY, 32)
    {
        let _ = stored.adapter.check_trainable();
    }
});
