//! What the subcommands share of the terminal: the device on stderr, results on stdout, Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};

use goldfish::{Error, Gpu, GpuOptions, Precision, Result};
use serde::Serialize;

/// Opens the device for frozen weights in `precision` and says which it is on stderr.
pub fn open_device(device: Option<String>, precision: Precision) -> Result<Gpu> {
    let gpu = Gpu::open(&GpuOptions {
        device,
        half: precision == Precision::F16,
        ..GpuOptions::default()
    })?;
    let info = gpu.info();
    eprintln!("device   {} ({}, {})", info.name, info.kind, info.backend);
    Ok(gpu)
}

/// A flag that Ctrl-C (or SIGTERM) raises; the second time ends the program at once.
pub fn stop_on_ctrl_c() -> &'static AtomicBool {
    static STOP: AtomicBool = AtomicBool::new(false);
    // Where no handler can be set, Ctrl-C ends the program as it does any other.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step (once more to stop at once)");
    });
    &STOP
}

/// How a result lies as JSON.
#[derive(Clone, Copy)]
pub enum Lines {
    One,
    Many,
}

/// A result as JSON, ended by a newline.
pub fn json(result: &impl Serialize, lines: Lines) -> String {
    let text = match lines {
        Lines::One => serde_json::to_string(result),
        Lines::Many => serde_json::to_string_pretty(result),
    };
    text.expect("plain values become JSON") + "\n"
}

/// Writes a result to stdout; a reader that has gone away is no error.
pub fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io(std::path::Path::new("stdout"), "write")(e))
        }
        _ => Ok(()),
    }
}
