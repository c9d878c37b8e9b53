//! Instructions as Mesa's compiler for AMD prints them, counted.
//!
//! What counts is the loop over a product's depth, its filling included: everything from the place that a branch leads back
//! to, to that branch. The other loops of a kernel are within it, or are run once.

/// What one round of a kernel's main loop is made of; of a kernel without a loop, the whole of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Whether it is a loop.
    pub looped: bool,
    /// All instructions.
    pub instructions: usize,
    /// Of them those of the vector unit.
    pub vector: usize,
    /// Of them multiply-adds in f32: one that is issued as two counts twice.
    pub multiply_adds: usize,
    /// Loads from memory, and the words that a lane gets by them.
    pub loads: usize,
    pub words: usize,
    /// Reads and writes of the workgroup's memory.
    pub shared: usize,
}

impl Step {
    /// Multiply-adds of a hundred instructions.
    pub fn share(&self) -> f64 {
        100.0 * self.multiply_adds as f64 / self.instructions.max(1) as f64
    }
}

/// What Mesa prints for loads that its disassembler does not know again.
const UNKNOWN: &str = "(invalid instruction)";

/// The load whose first word this is, by AMD's description of the format MUBUF.
fn buffer_load(code: &str) -> Option<&'static str> {
    let word = u32::from_str_radix(code.trim(), 16).ok()?;
    // RDNA1 and 2, and from RDNA3 on.
    let load = match (word >> 26, (word >> 18) & 0x7f) {
        (0b11_1000, 12 | 20) => "buffer_load_dword",
        (0b11_1000, 13 | 21) => "buffer_load_dwordx2",
        (0b11_1000, 14 | 23) => "buffer_load_dwordx4",
        (0b11_1000, 15 | 22) => "buffer_load_dwordx3",
        _ => return None,
    };
    Some(load)
}

/// The main loop of a kernel's instructions: the one with the most multiply-adds, and of those with as many the shortest.
pub fn step(assembly: &str) -> Step {
    let mut blocks = std::collections::HashMap::new();
    let mut instructions: Vec<&str> = Vec::new();
    let mut lines = assembly.lines();
    while let Some(line) = lines.next() {
        let (line, code) = line.split_once(';').unwrap_or((line, ""));
        let mut line = line.trim();
        if line == UNKNOWN {
            line = buffer_load(code).unwrap_or(line);
            // Its second half, which is shown as an instruction of its own.
            lines.next();
        }
        match line.strip_suffix(':').filter(|name| name.starts_with("BB")) {
            Some(name) => drop(blocks.insert(name, instructions.len())),
            None if line.is_empty() => {}
            None => instructions.push(line),
        }
    }
    let back = |(at, line): (usize, &&str)| {
        let (word, to) = line.split_once(' ')?;
        let branch = word.starts_with("s_branch") || word.starts_with("s_cbranch");
        let first = *blocks.get(to.trim()).filter(|_| branch)?;
        (first <= at).then(|| counted(&instructions[first..=at], true))
    };
    let loops = instructions.iter().enumerate().filter_map(back);
    let most = loops.max_by_key(|step| (step.multiply_adds, usize::MAX - step.instructions));
    most.filter(|step| step.multiply_adds > 0)
        .unwrap_or_else(|| counted(&instructions, false))
}

fn counted(instructions: &[&str], looped: bool) -> Step {
    let mut step = Step {
        looped,
        ..Step::default()
    };
    for line in instructions {
        // One that is issued as two is printed as two, apart by "::".
        let parts = line.split("::").map(str::trim);
        step.instructions += 1;
        step.vector += usize::from(line.starts_with("v_"));
        for part in parts {
            let word = part.split(' ').next().unwrap_or_default();
            let plain = word.strip_prefix("v_dual_").unwrap_or(word);
            let plain = plain.strip_prefix("v_").unwrap_or(plain);
            let vector = word.starts_with("v_");
            let adds = [
                "fma_f32",
                "fmac_f32",
                "mac_f32",
                "mad_f32",
                "fmaak_f32",
                "fmamk_f32",
                "madak_f32",
                "madmk_f32",
            ];
            let mixed = plain.starts_with("fma_mix_f32");
            if vector && (mixed || adds.iter().any(|add| plain.starts_with(add))) {
                step.multiply_adds += 1;
            }
            let memory = ["buffer_load", "global_load", "flat_load"];
            if memory.iter().any(|load| word.starts_with(load)) {
                step.loads += 1;
                step.words += words(word);
            }
            step.shared += usize::from(word.starts_with("ds_"));
        }
    }
    step
}

/// The words of 32 bits that a load brings: `buffer_load_dwordx4` as `buffer_load_b128` four.
fn words(load: &str) -> usize {
    match load.rsplit('_').next() {
        Some("dwordx4" | "b128" | "xyzw") => 4,
        Some("dwordx3" | "b96") => 3,
        Some("dwordx2" | "b64") => 2,
        _ => 1,
    }
}
