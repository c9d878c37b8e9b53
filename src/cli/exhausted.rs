//! The end of the system's memory: an error with its exit code like any other, and not the abort that Rust ends with.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;

use super::stop::end_at_once;

/// The exit code where memory is missing, on the device or off it.
const NO_MEMORY: u8 = 4;

/// The system's allocator, which ends the program where there is no more.
pub struct Exhausted;

#[global_allocator]
static ALLOCATOR: Exhausted = Exhausted;

// SAFETY: all is the system allocator's own work, on the caller's own arguments; where it gives nothing, nothing returns.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Exhausted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's word for `layout`.
        there(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's word for `layout`.
        there(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's word for all three.
        there(unsafe { System.realloc(memory, layout, size) }, size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's word for both.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// `memory`, unless there is none.
fn there(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() {
        let mut words = [0; 256];
        let said = say(&mut words, bytes);
        // It is advice, as every line on stderr is; nothing is allocated for it.
        let _ = std::io::stderr().lock().write_all(said);
        end_at_once(NO_MEMORY);
    }
    memory
}

fn say(words: &mut [u8], bytes: usize) -> &[u8] {
    let whole = words.len();
    let mut rest = &mut *words;
    // What does not fit is left out.
    let _ = writeln!(
        rest,
        "error: out of memory: {} MiB more were asked for, and the system has none left: lower the batch or image size, or \
         close other programs",
        bytes.div_ceil(1 << 20)
    );
    let left = rest.len();
    &words[..whole - left]
}

#[cfg(test)]
mod tests {
    use super::say;

    #[test]
    fn it_says_how_much_was_missing() {
        let mut words = [0; 256];
        let said = std::str::from_utf8(say(&mut words, usize::MAX)).expect("text");
        assert!(said.starts_with("error: out of memory: 17592186044416 MiB more"));
        assert!(said.ends_with("close other programs\n"), "{said}");
    }
}
