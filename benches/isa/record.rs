//! The recorded table: a line a chip and kernel, and what is worse than it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::assembly::{Step, step};
use super::radv::{Compiled, Compiler, environment, is_for_gpus};

/// AMD's chips that stand for RDNA2, RDNA3 and GCN 5, by Mesa's names: today's, and that of Mesa 22.
pub const CHIPS: [&[&str]; 3] = [&["navi21"], &["navi31", "gfx1100"], &["vega10"]];

/// A chip's and a kernel's name.
pub type Key = (String, String);

/// What the compiler makes of one kernel for one chip.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub vector_registers: u64,
    pub scalar_registers: u64,
    /// Registers that did not fit, and bytes of memory for those and for arrays.
    pub spilled: u64,
    pub scratch: u64,
    /// Bytes of a workgroup's memory.
    pub shared: u64,
    /// Waves that fit one SIMD.
    pub waves: u64,
    pub step: Step,
}

/// All rows, and the Mesa that they are of.
#[derive(Debug, Default)]
pub struct Table {
    pub driver: String,
    pub rows: BTreeMap<Key, Row>,
}

/// Where the table is kept.
pub fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/isa/table.tsv")
}

const HEAD: &str = "chip\tkernel\tvgprs\tsgprs\tspilled\tscratch\tlds\twaves\tloop\tinstructions\tvector\tmultiply_adds\tloads\twords\tlds_operations";

/// The table of all chips, each compiled by a process of its own: `command` makes one that ends with [`compile`]'s table, for
/// the chip of that name.
pub fn of_all(manifest: &Path, command: impl Fn(&str) -> Command) -> Result<Table, String> {
    let mut table = Table::default();
    for names in CHIPS {
        let chip = names[0];
        let mut said = String::new();
        let found = names.iter().find_map(|name| {
            let mut command = command(chip);
            let output = command.envs(environment(name, manifest)).output();
            let output = output.map_err(|e| said += &e.to_string()).ok()?;
            said += &String::from_utf8_lossy(&output.stderr);
            let text = String::from_utf8_lossy(&output.stdout);
            Table::parse(&text).filter(|_| output.status.success())
        });
        let of_chip = found.ok_or_else(|| format!("{chip}: {said}"))?;
        table.driver = of_chip.driver;
        table.rows.extend(of_chip.rows);
    }
    Ok(table)
}

/// Every kernel for GPUs that has `filter` in its name, compiled for this process's chip. `see` is shown the instructions.
pub fn compile(chip: &str, filter: &str, mut see: impl FnMut(&str, &str)) -> Result<Table, String> {
    let compiler = Compiler::open()?;
    let mut table = Table {
        driver: compiler.driver.clone(),
        ..Table::default()
    };
    for kernel in goldfish::selftest::kernels() {
        if kernel.name.contains(filter) && is_for_gpus(kernel) {
            let compiled = compiler.compile(kernel)?;
            see(&kernel.name, &compiled.assembly);
            let row = Row::new(&compiled).map_err(|e| format!("{}: {e}", kernel.name))?;
            table
                .rows
                .insert((chip.into(), kernel.name.to_string()), row);
        }
    }
    Ok(table)
}

impl Row {
    fn new(compiled: &Compiled) -> Result<Self, String> {
        let figure = |name: &str| {
            let found = compiled.figures.get(name);
            let found = found.ok_or_else(|| format!("Mesa does not tell {name:?}"));
            found.map(|&value| value as u64)
        };
        Ok(Row {
            vector_registers: figure("VGPRs")?,
            scalar_registers: figure("SGPRs")?,
            spilled: figure("Spilled VGPRs")? + figure("Spilled SGPRs")?,
            scratch: figure("Scratch size")?,
            shared: figure("LDS size")?,
            waves: figure("Subgroups per SIMD")?,
            step: step(&compiled.assembly),
        })
    }

    /// What is worse here than in `before`.
    pub fn worse(&self, before: &Row) -> Vec<String> {
        let mut worse = Vec::new();
        let mut more = |what: &str, was: u64, is: u64| {
            if is > was {
                worse.push(format!("{what} {was} -> {is}"));
            }
        };
        more("spilled", before.spilled, self.spilled);
        more("scratch", before.scratch, self.scratch);
        if self.waves < before.waves {
            worse.push(format!("waves {} -> {}", before.waves, self.waves));
        }
        let [was, is] = [before, self].map(|row| row.step.instructions);
        if !before.step.looped && is > was {
            worse.push(format!("instructions {was} -> {is}"));
        }
        let [was, is] = [before, self].map(|row| row.step.share());
        if before.step.looped && is < was {
            worse.push(format!("multiply-adds {was:.1} % -> {is:.1} %"));
        }
        worse
    }
}

impl Table {
    /// The table as it was recorded.
    pub fn recorded() -> Result<Self, String> {
        let text =
            std::fs::read_to_string(path()).map_err(|e| format!("{}: {e}", path().display()))?;
        Self::parse(&text).ok_or_else(|| format!("{}: not a table", path().display()))
    }

    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let driver = lines.next()?.strip_prefix("# ")?.to_string();
        if lines.next()? != HEAD {
            return None;
        }
        let row = |line: &str| {
            let mut cells = line.split('\t');
            let key = (cells.next()?.to_string(), cells.next()?.to_string());
            let numbers: Option<Vec<u64>> = cells.map(|cell| cell.parse().ok()).collect();
            let numbers: [u64; 13] = numbers?.try_into().ok()?;
            let [
                vgprs,
                sgprs,
                spilled,
                scratch,
                shared,
                waves,
                looped,
                rest @ ..,
            ] = numbers;
            let [instructions, vector, multiply_adds, loads, words, lds] = rest.map(|n| n as usize);
            let step = Step {
                looped: looped == 1,
                instructions,
                vector,
                multiply_adds,
                loads,
                words,
                shared: lds,
            };
            let row = Row {
                vector_registers: vgprs,
                scalar_registers: sgprs,
                spilled,
                scratch,
                shared,
                waves,
                step,
            };
            Some((key, row))
        };
        let rows: Option<BTreeMap<Key, Row>> = lines.map(row).collect();
        Some(Table {
            driver,
            rows: rows?,
        })
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        writeln!(f, "# {}\n{HEAD}", self.driver)?;
        for ((chip, kernel), row) in &self.rows {
            let step = &row.step;
            let numbers = [
                row.vector_registers,
                row.scalar_registers,
                row.spilled,
                row.scratch,
                row.shared,
                row.waves,
                u64::from(step.looped),
                step.instructions as u64,
                step.vector as u64,
                step.multiply_adds as u64,
                step.loads as u64,
                step.words as u64,
                step.shared as u64,
            ];
            let numbers = numbers.map(|number| number.to_string()).join("\t");
            writeln!(f, "{chip}\t{kernel}\t{numbers}")?;
        }
        Ok(())
    }
}
