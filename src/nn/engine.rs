//! What, beside the weights and the images, decides the bits of what a network's layers give: the kernels, how they were
//! chosen, and the device. Numbers that were made by one engine are taken for those of another where both are equal.

use serde::{Deserialize, Serialize};

use super::arch::Arch;
use super::digest::hex;
use super::loading::{LoadStep, Loading, Place};
use super::tuned::Tuned;
use crate::error::Result;
use crate::gpu::{Gpu, Tuning, shaders_version};

/// Raised with every change of what the host has to do with the numbers of frozen layers that the shaders' text and the
/// package's version do not tell of.
const VERSION: u32 = 1;

/// What computes the lower layers of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// The package's version, this file's, and a hash of all shaders.
    pub version: String,
    /// The adapter's name, which of a software device has its compiler's version.
    pub device: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Lanes of a subgroup, smallest and largest.
    pub subgroup: [u32; 2],
    /// What the processor has of what a compiler for it may use, where that is what computes.
    pub processor: Vec<String>,
    /// Whose kernels: see [`Vgg::family`](super::Vgg::family).
    pub family: String,
    /// Of the frozen weights.
    pub precision: String,
    /// How each layer is computed, where that is chosen.
    pub choices: Vec<String>,
}

impl Engine {
    /// What computes the layers below number `layer` of a network that is loaded as `how` says. What of it is measured and
    /// was not yet is measured here, and `progress` hears of it; `None` where it cannot be kept, so that the network may be
    /// computed otherwise when it is loaded.
    ///
    /// # Errors
    /// What the device reported.
    pub fn new(
        gpu: &Gpu,
        arch: Arch,
        how: &Loading,
        layer: usize,
        progress: impl FnMut(LoadStep) -> Result<()>,
    ) -> Result<Option<Self>> {
        let info = gpu.info();
        let places = Place::all(arch, how);
        let tuned = Tuned::new(gpu, how, &places, progress)?;
        if tuned.measured.lost.is_some() {
            return Ok(None);
        }
        // The product of a linear layer is kept too, beside what it takes.
        let below = places.iter().enumerate();
        let below = below.filter(|(at, p)| *at < layer || (*at == layer && !p.layer.is_conv()));
        let choices = below.filter_map(|(_, place)| tuned.rounding(place, how));
        let choices = choices.collect();
        Ok(Some(Engine {
            version: format!(
                "{} {VERSION} {}",
                env!("CARGO_PKG_VERSION"),
                hex(&shaders_version())
            ),
            device: info.name.clone(),
            backend: info.backend.clone(),
            driver: info.driver.clone(),
            subgroup: info.subgroup,
            processor: match gpu.is_software() {
                true => processor(),
                false => Vec::new(),
            },
            family: tuned.family().into(),
            precision: how.precision.to_string(),
            choices,
        }))
    }
}

/// How the layers of a network that is loaded as `how` says are computed, forward and back, as far as it decides how their
/// numbers are rounded; `None` where that is measured when it is loaded.
///
/// # Errors
/// What the device reported.
pub fn rounding(gpu: &Gpu, arch: Arch, how: &Loading) -> Result<Option<String>> {
    if how.tuning.as_ref().is_some_and(Tuning::measures) {
        return Ok(None);
    }
    let places = Place::all(arch, how);
    let tuned = Tuned::new(gpu, how, &places, |_| Ok(()))?;
    Ok(Some(tuned.roundings(&places, how).join(", ")))
}

/// What this processor has of what decides how a product and a sum are rounded, or in which order sums are formed.
fn processor() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let known: [(&str, bool); 0] = [];
    let found = known.into_iter().filter(|(_, there)| *there);
    std::iter::once(std::env::consts::ARCH)
        .chain(found.map(|(name, _)| name))
        .map(str::to_string)
        .collect()
}
