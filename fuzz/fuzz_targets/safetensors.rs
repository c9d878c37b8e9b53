//! A file of tensors as safetensors.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| goldfish_fuzz::tensors(&goldfish_fuzz::file("x.safetensors", bytes)));
