//! A file of tensors as PyTorch writes it, in its zip or the older form.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| goldfish_fuzz::tensors(&goldfish_fuzz::file("x.pth", bytes)));
