//! A picture, of whatever format it says it is.

#![no_main]

use std::path::Path;

use goldfish::data::{Transform, decode_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for exif in [false, true] {
        if let Ok(picture) = decode_bytes(Path::new("x"), bytes, exif) {
            let crop = Transform { size: 32 }.crop(&picture);
            assert_eq!(crop.len(), 3 * 32 * 32);
        }
    }
});
