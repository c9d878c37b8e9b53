//! What AMD's compiler makes of every kernel for GPUs, where there is no such GPU:
//!
//!     cargo bench --bench isa                    # a table, and what is worse than the recorded one
//!     cargo bench --bench isa -- conv3x3         # kernels with that in their name
//!     cargo bench --bench isa -- --record        # keep the table: table.tsv
//!     cargo bench --bench isa -- --model         # the tables of MODEL.md, from the recorded one
//!     cargo bench --bench isa -- --assembly DIR  # and the instructions, a file a chip and kernel
//!
//! It says registers, spills, waves a SIMD, workgroup memory, and how many of a depth step's instructions multiply and add.
//! What it cannot say: memory, caches, clocks, the cost of a launch. MODEL.md makes of it where each layer could stand.

// Vulkan through ash, whose calls are all unsafe, for a device that wgpu does not open.
#![allow(unsafe_code)]
// A program of its own: nobody sees its items.
#![allow(missing_docs, missing_debug_implementations)]

#[cfg(target_os = "linux")]
mod assembly;
#[cfg(target_os = "linux")]
mod model;
#[cfg(target_os = "linux")]
mod radv;
#[cfg(target_os = "linux")]
mod record;

#[cfg(target_os = "linux")]
fn main() -> Result<(), String> {
    use record::Table;
    use std::process::Command;

    let mut arguments = std::env::args().skip(1);
    let (mut filter, mut keep, mut folder) = (String::new(), false, None);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--bench" => {}
            "--record" => keep = true,
            "--model" => {
                print!("{}", model::tables(&Table::recorded()?)?);
                return Ok(());
            }
            "--assembly" => folder = Some(arguments.next().ok_or("--assembly DIR")?),
            "--chip" => {
                let chip = arguments.next().ok_or("--chip NAME")?;
                return one(&chip, &filter, folder.as_deref());
            }
            _ => filter = argument,
        }
    }
    let manifest = radv::manifest()
        .ok_or("Mesa's RADV is not installed: on Debian and Ubuntu it is in mesa-vulkan-drivers")?;
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let table = record::of_all(&manifest, |chip| {
        let mut command = Command::new(&program);
        command.arg(&filter);
        if let Some(folder) = &folder {
            command.args(["--assembly", folder]);
        }
        command.args(["--chip", chip]);
        command
    })?;
    show(&table);
    if keep {
        return std::fs::write(record::path(), table.to_string()).map_err(|e| e.to_string());
    }
    let before = Table::recorded()?;
    for (key, row) in &table.rows {
        let worse = before
            .rows
            .get(key)
            .map_or(Vec::new(), |before| row.worse(before));
        if !worse.is_empty() {
            println!("worse: {} on {}: {}", key.1, key.0, worse.join(", "));
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn one(chip: &str, filter: &str, folder: Option<&str>) -> Result<(), String> {
    let table = record::compile(chip, filter, |kernel, assembly| {
        if let Some(folder) = folder {
            let path = std::path::Path::new(folder).join(format!("{chip}.{kernel}.txt"));
            if let Err(error) = std::fs::write(&path, assembly) {
                eprintln!("{}: {error}", path.display());
            }
        }
    })?;
    print!("{table}");
    Ok(())
}

#[cfg(target_os = "linux")]
fn show(table: &record::Table) {
    println!(
        "{}\n{:8} {:48} {:>5} {:>5} {:>5} {:>6} {:>6} {:>13} {:>7} {:>11}",
        table.driver,
        "chip",
        "kernel",
        "VGPRs",
        "waves",
        "spill",
        "LDS",
        "step",
        "multiply-adds",
        "share",
        "words/load"
    );
    for ((chip, kernel), row) in &table.rows {
        let step = &row.step;
        println!(
            "{chip:8} {kernel:48} {:5} {:5} {:5} {:6} {:6} {:13} {:5.1} % {:11.1}",
            row.vector_registers,
            row.waves,
            row.spilled + row.scratch,
            row.shared,
            step.instructions,
            step.multiply_adds,
            step.share(),
            step.words as f64 / step.loads.max(1) as f64
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("Mesa's compiler for AMD is where Linux is");
}
