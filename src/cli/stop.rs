//! What ends the program early: Ctrl-C, SIGTERM, a terminal that hangs up. Where nothing would be lost they end it at once.
//! Where there is something to keep or to clear away they raise one flag, which every such phase looks at.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use goldfish::{Error, Result};

use super::terminal::note;

/// What a program exits with that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// Signals this soon after the first are the same one: a shell and the kernel both tell a program that its terminal hung
/// up, and `timeout` tells it twice.
const SAME: Duration = Duration::from_secs(1);

/// Whether the program should end.
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether somebody looks at it.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// Whether another process decides when this one ends.
static LED: AtomicBool = AtomicBool::new(false);
/// What is said where nobody does.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// Listens from here on; called before there is anything to lose.
pub fn listen() {
    let stays = hang_up_is_ignored();
    let mut first: Option<Instant> = None;
    // Where no handler can be set, Ctrl-C ends the program as it does any other.
    let set = ctrlc::set_handler(move || {
        if LED.load(Ordering::SeqCst) {
            return;
        }
        if !WATCHED.load(Ordering::SeqCst) {
            let words = LAST_WORDS.lock().ok().and_then(|mut words| words.take());
            say(words.unwrap_or_else(|| "interrupted".into()));
            end_at_once(INTERRUPTED);
        }
        match first {
            Some(first) if first.elapsed() >= SAME => end_at_once(INTERRUPTED),
            Some(_) => return,
            None => first = Some(Instant::now()),
        }
        STOP.store(true, Ordering::SeqCst);
        say("stopping after what is at hand (once more to stop at once)".into());
    });
    if set.is_ok() && stays {
        ignore_hang_up();
    }
}

/// Says it below a bar that may be there, and waits a moment for that: a stderr that nobody reads on (a pipe that is full)
/// must not keep the program from ending.
fn say(words: String) {
    let (said, heard) = sync_channel(1);
    let saying = std::thread::Builder::new().spawn(move || {
        note!("\n{words}");
        // Nobody may wait any more.
        let _ = said.send(());
    });
    if saying.is_ok() {
        // It is advice.
        let _ = heard.recv_timeout(Duration::from_millis(200));
    }
}

/// A flag that Ctrl-C (or SIGTERM, or a terminal that hangs up) raises from here on, for a phase with something to keep; the
/// second time ends the program at once.
pub fn stop_on_ctrl_c() -> &'static AtomicBool {
    WATCHED.store(true, Ordering::SeqCst);
    &STOP
}

/// Has this process go on until rank 0 ends the job: one that stopped by itself would end it for all.
pub fn led() {
    LED.store(true, Ordering::SeqCst);
}

/// An error where the flag is raised, with the steps that are done.
pub fn go_on(step: u64) -> Result<()> {
    match STOP.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted { step }),
        false => Ok(()),
    }
}

/// What an interrupted phase says that need not look at the flag: every moment is a good one to end it.
pub fn last_words(said: String) {
    if let Ok(mut words) = LAST_WORDS.lock() {
        *words = Some(said);
    }
}

/// Ends the program without the driver's own way out, which waits for work that may be the reason.
pub fn end_at_once(code: u8) -> ! {
    #[cfg(unix)]
    // SAFETY: it takes a number and does not return.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(i32::from(code))
    }
    #[cfg(not(unix))]
    std::process::exit(i32::from(code))
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
