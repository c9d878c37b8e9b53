//! Which processor this is, where a software device computes on it.

use std::sync::LazyLock;

use super::device::Gpu;

impl Gpu {
    /// The processor that a software device computes on, and how many of its threads; empty of another device.
    pub fn processor(&self) -> &'static str {
        match self.is_software() {
            true => processor(),
            false => "",
        }
    }

    /// A file's name, without an ending, for what is kept of this device under its driver, and on its processor.
    pub fn file_stem(&self) -> String {
        self.info().file_stem(self.processor())
    }
}

/// Its kind and how many of its threads this process may use: what choices that were measured on it hold for.
fn processor() -> &'static str {
    static PROCESSOR: LazyLock<String> = LazyLock::new(|| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        format!("{}, {threads} threads", kind())
    });
    &PROCESSOR
}

/// Maker, family, model, stepping and name. A cloud's machines have a name that many kinds share.
#[cfg(target_arch = "x86_64")]
fn kind() -> String {
    use std::arch::x86_64::CpuidResult;

    // SAFETY: every x86-64 has the instruction, which reads registers alone. Since Rust 1.94 it is safe by its type.
    #[allow(unused_unsafe, unsafe_code)]
    let cpuid = |leaf: u32| unsafe { std::arch::x86_64::__cpuid(leaf) };

    let bytes = |registers: &[u32]| -> String {
        let bytes: Vec<u8> = registers.iter().flat_map(|r| r.to_le_bytes()).collect();
        let text = String::from_utf8_lossy(&bytes);
        text.trim_matches(|c: char| c == '\0' || c.is_whitespace())
            .into()
    };
    let maker = cpuid(0);
    let CpuidResult { eax, .. } = cpuid(1);
    let base = eax >> 8 & 0xf;
    // As the makers' manuals put the extended digits together.
    let family = base + if base == 0xf { eax >> 20 & 0xff } else { 0 };
    let model = (eax >> 4 & 0xf) + (eax >> 16 & 0xf) * 16;
    let stepping = eax & 0xf;
    const LAST: u32 = 0x8000_0004;
    let name = match cpuid(0x8000_0000).eax >= LAST {
        true => (LAST - 2..=LAST)
            .map(cpuid)
            .flat_map(|r| [r.eax, r.ebx, r.ecx, r.edx])
            .collect(),
        false => Vec::new(),
    };
    format!(
        "{} {family}.{model}.{stepping} {}",
        bytes(&[maker.ebx, maker.edx, maker.ecx]),
        bytes(&name)
    )
}

/// What the system says of it, else no more than its instructions.
#[cfg(not(target_arch = "x86_64"))]
fn kind() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = ["CPU implementer", "CPU part", "CPU variant", "model name"];
    let values = named.into_iter().filter_map(|name| {
        let line = told.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim())
    });
    std::iter::once(std::env::consts::ARCH)
        .chain(values)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::processor;

    #[test]
    fn a_processor_has_a_kind_and_threads() {
        let text = processor();
        let (kind, threads) = text.rsplit_once(", ").expect("two parts");
        assert!(kind.len() > 5, "{text}");
        assert!(threads.ends_with(" threads"), "{text}");
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            let told = std::fs::read_to_string("/proc/cpuinfo").expect("Linux has it");
            let value = |name: &str| {
                let line = told.lines().find(|line| line.starts_with(name));
                let value = line.and_then(|line| line.split_once(':'));
                value.map(|(_, value)| value.trim()).expect("x86 has it")
            };
            let [family, model, stepping] = ["cpu family", "model\t", "stepping"].map(value);
            let version = format!(" {family}.{model}.{stepping} ");
            assert!(kind.contains(&version), "{text}: {version}");
            assert!(kind.starts_with(value("vendor_id")), "{text}");
            assert!(kind.ends_with(value("model name")), "{text}");
        }
    }
}
