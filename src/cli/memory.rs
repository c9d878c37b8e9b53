//! What a run took of the device and of the machine.

use goldfish::Gpu;
use goldfish::train::Prefix;

/// What a training run took at most; `step` bytes of an image for a step's gradient.
pub fn taken(gpu: &Gpu, prefix: &Prefix, step: u64) -> String {
    let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
    let mut text = format!(
        "{} on the device at most; of an image {:.2} MiB for all steps and {:.2} MiB for a step's gradient",
        mib(gpu.pool_stats().peak_bytes),
        prefix.bytes_per_image() as f64 / f64::from(1 << 20),
        step as f64 / f64::from(1 << 20)
    );
    if let Some(bytes) = peak_resident() {
        text += &format!("; {} resident at most", mib(bytes));
    }
    text
}

/// The most memory that this process ever had, where the system says so.
pub fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
