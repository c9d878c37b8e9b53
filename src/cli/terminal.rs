//! What the subcommands share of the terminal: notes on stderr, results on stdout.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use goldfish::data::is_shown;
use goldfish::{Error, Gpu, GpuOptions, Precision, Result};
use serde::Serialize;

/// Says something on stderr, as `eprintln!` does: see [`advise`].
macro_rules! note {
    ($($said:tt)*) => {
        $crate::cli::terminal::advise(format_args!($($said)*))
    };
}
pub(crate) use note;

/// Whether another process speaks for this one.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Says nothing from here on, neither results nor progress: rank 0 does.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Whether nothing is said here.
pub fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// A line on stderr: progress, a notice, an error. It is advice: no work is lost because nobody reads it (a closed pipe, a
/// terminal that hung up) or because it has no room (a full disk, a limit of the file's size).
pub fn advise(said: fmt::Arguments) {
    if !is_silent() {
        say(said);
    }
}

/// [`advise`], even here.
pub fn say(said: fmt::Arguments) {
    // In one piece, so that what another thread or process says does not get between.
    let line = plain_lines(&format!("{said}\n"));
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Opens the device for frozen weights in `precision` and says which it is on stderr.
pub fn open_device(device: Option<String>, precision: Precision) -> Result<Gpu> {
    open_device_with(GpuOptions {
        device,
        half: precision == Precision::F16,
        ..GpuOptions::default()
    })
}

/// Opens the device that is asked for and says which it is on stderr.
pub fn open_device_with(options: GpuOptions) -> Result<Gpu> {
    let gpu = Gpu::open(&options)?;
    let info = gpu.info();
    note!("device   {} ({}, {})", info.name, info.kind, info.backend);
    Ok(gpu)
}

/// A result as JSON for a person too: one object, ended by a newline.
pub fn json(result: &impl Serialize) -> String {
    serde_json::to_string_pretty(result).expect("plain values become JSON") + "\n"
}

/// The same on one line.
pub fn json_line(result: &impl Serialize) -> String {
    serde_json::to_string(result).expect("plain values become JSON") + "\n"
}

/// Words out of a file, or its name, fit to be printed on one line: nothing in them steers a terminal or turns what is
/// beside them around.
pub fn plain(text: &str) -> String {
    let escaped = |c: char| match is_shown(c) {
        true => c.to_string(),
        false => c.escape_default().to_string(),
    };
    text.chars().map(escaped).collect()
}

/// The same of a path; what of it is not UTF-8 stands as U+FFFD.
pub fn plain_path(path: &Path) -> String {
    plain(&path.to_string_lossy())
}

/// The same of several lines.
pub fn plain_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

/// Stdout as errors call it.
const STDOUT: &str = "stdout";

/// Writes a result to stdout at once; a reader that has gone away is an error: see [`is_left`].
pub fn write(text: &str) -> Result<()> {
    if is_silent() {
        return Ok(());
    }
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(Error::io(Path::new(STDOUT), "write"))
}

/// Whether this is that nobody reads stdout any more: a program such as `head` has seen enough, and nothing is wrong.
pub fn is_left(error: &Error) -> bool {
    match error {
        Error::Io { path, source, .. } => {
            path == Path::new(STDOUT) && source.kind() == ErrorKind::BrokenPipe
        }
        _ => false,
    }
}

/// Writes a result to stdout; a reader that has gone away is no error.
pub fn print(text: &str) -> Result<()> {
    match write(text) {
        Err(error) if is_left(&error) => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::{plain, plain_lines};

    #[test]
    fn nothing_in_a_name_steers_a_terminal() {
        assert_eq!(plain("Gr\u{fc}n \u{1f600}"), "Gr\u{fc}n \u{1f600}");
        assert_eq!(plain("a\u{1b}[2J\n\u{9b}b"), "a\\u{1b}[2J\\n\\u{9b}b");
        assert_eq!(plain("gnp.\u{202e}exe"), "gnp.\\u{202e}exe");
        assert_eq!(plain("a\u{200f}b\u{200b}"), "a\\u{200f}b\\u{200b}");
        for hidden in [
            "\u{ad}",
            "\u{34f}",
            "\u{180e}",
            "\u{2060}",
            "\u{3164}",
            "\u{fffa}",
            "\u{e0041}",
        ] {
            assert!(plain(hidden).is_ascii(), "{hidden:?}");
        }
        assert_eq!(plain("\u{5d0}\u{5d1}"), "\u{5d0}\u{5d1}");
        assert_eq!(plain_lines("a\rb\nc"), "a\\rb\nc");
    }
}
