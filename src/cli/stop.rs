//! What ends the program early: Ctrl-C, SIGTERM, a terminal that hangs up. They raise one flag, which every phase looks at;
//! what is done by then is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::terminal::note;

/// What a program exits with that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// Signals this soon after the first are the same one: a shell and the kernel both tell a program that its terminal hung
/// up, and `timeout` tells it twice.
const SAME: Duration = Duration::from_secs(1);

/// A flag that Ctrl-C (or SIGTERM, or a terminal that hangs up) raises; the second time ends the program at once.
pub fn stop_on_ctrl_c() -> &'static AtomicBool {
    static STOP: AtomicBool = AtomicBool::new(false);
    let stays = hang_up_is_ignored();
    let mut first: Option<Instant> = None;
    // Where no handler can be set, Ctrl-C ends the program as it does any other.
    let set = ctrlc::set_handler(move || {
        match first {
            Some(first) if first.elapsed() >= SAME => end_at_once(),
            Some(_) => return,
            None => first = Some(Instant::now()),
        }
        STOP.store(true, Ordering::Relaxed);
        note!("\nstopping after what is at hand (once more to stop at once)");
    });
    if set.is_ok() && stays {
        ignore_hang_up();
    }
    &STOP
}

/// Ends the program without the driver's own way out, which waits for work that may be the reason.
fn end_at_once() -> ! {
    #[cfg(unix)]
    // SAFETY: it takes a number and does not return.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(i32::from(INTERRUPTED))
    }
    #[cfg(not(unix))]
    std::process::exit(i32::from(INTERRUPTED))
}

/// Lets a write past the limit of a file's size (`ulimit -f`) be an error like that of a full disk, and not the end of the
/// program.
pub fn no_file_too_large() {
    #[cfg(unix)]
    // SAFETY: ignoring a signal runs no code of ours.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Whether the program was started to outlive its terminal, as `nohup` does.
#[cfg(unix)]
fn hang_up_is_ignored() -> bool {
    // SAFETY: zeros are a valid sigaction, which the call fills in; no action is set.
    #[allow(unsafe_code)]
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut now) == 0
            && now.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(unix)]
fn ignore_hang_up() {
    // SAFETY: ignoring a signal runs no code of ours.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
}

#[cfg(not(unix))]
fn hang_up_is_ignored() -> bool {
    false
}

#[cfg(not(unix))]
fn ignore_hang_up() {}
