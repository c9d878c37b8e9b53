//! Compiling beside other work: kernels take a driver longer than anything else that a run starts with.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::device::Gpu;
use super::kernel::Kernel;
use crate::error::Result;

/// Threads beside a GPU: a driver compiles several kernels at once, and the others have weights to load.
const THREADS: usize = 4;
/// What a software driver takes at most for a kernel that it finds in its cache.
const FOUND: Duration = Duration::from_millis(100);
/// What it takes at most to put one there that it has compiled, beside other work.
const KEPT: Duration = Duration::from_millis(20);

/// Threads that have the driver compile kernels while the weights load.
pub(crate) struct Warmer {
    sent: Mutex<HashSet<String>>,
    /// Until no more is to come.
    kernels: Mutex<Option<Sender<&'static Kernel>>>,
    threads: Vec<JoinHandle<()>>,
    work: Arc<Work>,
}

/// What the threads share.
struct Work {
    wanted: Mutex<Receiver<&'static Kernel>>,
    stop: AtomicBool,
    left: Mutex<Left>,
    fewer: Condvar,
}

#[derive(Default)]
struct Left {
    /// Kernels that were sent and are not compiled yet.
    kernels: usize,
    /// Whether a second device compiles too.
    twin: bool,
}

impl Warmer {
    pub(crate) fn new(gpu: &Gpu) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        match gpu.is_software() {
            true => Self::in_turn(gpu, cores > 1 && gpu.keeps_kernels(), FOUND),
            false => Self::at_once(gpu, cores.min(THREADS)),
        }
    }

    /// Beside a GPU.
    fn at_once(gpu: &Gpu, threads: usize) -> Self {
        let mut warmer = Self::idle();
        for _ in 0..threads {
            let gpu = gpu.clone();
            warmer.spawn(move |work| work.compile(&gpu, |kernel| gpu.ahead(kernel)));
        }
        warmer
    }

    /// For a software driver, which compiles in a device's one queue, one kernel after another. Where it does not find them
    /// in its cache, which is where one takes longer than `found`, a `twin` of the device compiles too, in a queue of its own,
    /// and the device finds those in the cache.
    fn in_turn(gpu: &Gpu, twin: bool, found: Duration) -> Self {
        let mut warmer = Self::idle();
        let (slow, is_slow) = channel::<()>();
        let first = gpu.clone();
        warmer.spawn(move |work| {
            work.compile(&first, |kernel| {
                first.ahead(kernel)?;
                let start = Instant::now();
                first.catch_up();
                if start.elapsed() > found {
                    // Where nobody listens there is no twin, or it compiles already.
                    let _ = slow.send(());
                }
                Ok(())
            });
        });
        if twin {
            let gpu = gpu.clone();
            warmer.spawn(move |work| {
                if is_slow.recv().is_ok() {
                    drop(is_slow);
                    work.compile_beside(&gpu);
                }
            });
        }
        warmer
    }

    /// One that compiles nothing: for those who measure, and would measure that too.
    pub(crate) fn idle() -> Self {
        let (kernels, wanted) = channel();
        Warmer {
            sent: Mutex::default(),
            kernels: Mutex::new(Some(kernels)),
            threads: Vec::new(),
            work: Arc::new(Work {
                wanted: Mutex::new(wanted),
                stop: AtomicBool::new(false),
                left: Mutex::default(),
                fewer: Condvar::new(),
            }),
        }
    }

    fn spawn(&mut self, job: impl FnOnce(&Work) + Send + 'static) {
        let work = self.work.clone();
        self.threads.push(thread::spawn(move || job(&work)));
    }

    /// Has the driver compile `kernels`, each once, while the caller goes on.
    pub(crate) fn send(&self, kernels: &[&'static Kernel]) {
        let mut sent = self.sent.lock().expect("no panic holds the kernels");
        let warmer = self.kernels.lock().expect("no panic holds the kernels");
        let Some(warmer) = &*warmer else {
            return;
        };
        for kernel in kernels {
            if sent.insert(kernel.name.to_string()) {
                self.work.left().kernels += 1;
                // It is received as long as this lives.
                let _ = warmer.send(kernel);
            }
        }
    }

    /// Says that no more is to come. Waits, where two devices compile, until all that was sent is compiled: what the device
    /// would meet in its queue it would compile alone.
    pub(crate) fn settle(&self) {
        self.close();
        let mut left = self.work.left();
        while left.twin && left.kernels > 0 && !self.work.stop.load(Ordering::Relaxed) {
            left = self
                .work
                .fewer
                .wait(left)
                .expect("no panic holds the count");
        }
    }

    fn close(&self) {
        self.kernels
            .lock()
            .expect("no panic holds the kernels")
            .take();
    }
}

impl Work {
    /// The next kernel; none where no more is to come.
    fn next(&self) -> Option<&'static Kernel> {
        // One waits for it and the others for their turn.
        let next = self.wanted.lock().ok()?.recv().ok()?;
        (!self.stop.load(Ordering::Relaxed)).then_some(next)
    }

    /// Has `one` compile what is wanted for `gpu`, until no more is to come.
    fn compile(&self, gpu: &Gpu, mut one: impl FnMut(&'static Kernel) -> Result<()>) {
        while let Some(kernel) = self.next() {
            let _counted = Counted(self);
            // It may be another thread's error that this one met first.
            if let Err(error) = one(kernel) {
                gpu.report(error);
                return self.end();
            }
        }
    }

    /// Compiles on a twin of `gpu` what is wanted there.
    fn compile_beside(&self, gpu: &Gpu) {
        let _beside = Beside::new(self);
        match gpu.twin() {
            Ok(twin) => self.compile(gpu, |kernel| {
                if let Err(error) = twin.ahead(kernel) {
                    // Then it is compiled once more, and what is wrong with it said.
                    tracing::debug!("{}: on a second device: {error}", kernel.name);
                }
                twin.catch_up();
                thread::sleep(KEPT);
                gpu.ahead(kernel)
            }),
            Err(error) => tracing::debug!("there is no second device to compile: {error}"),
        }
    }

    fn end(&self) {
        // With the count in hand, so that nobody begins to wait meanwhile.
        let _left = self.left();
        self.stop.store(true, Ordering::Relaxed);
        self.fewer.notify_all();
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().expect("no panic holds the count")
    }
}

/// A kernel that is one less to compile when this goes, whatever came of it.
struct Counted<'w>(&'w Work);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
        self.0.left().kernels -= 1;
        self.0.fewer.notify_all();
    }
}

/// A second device that compiles, as long as this lives.
struct Beside<'w>(&'w Work);

impl<'w> Beside<'w> {
    fn new(work: &'w Work) -> Self {
        work.left().twin = true;
        Beside(work)
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        self.0.left().twin = false;
        self.0.fewer.notify_all();
    }
}

impl Drop for Warmer {
    /// Waits for the kernels that are being compiled: a driver does not like to be left in the middle.
    fn drop(&mut self) {
        self.work.end();
        self.close();
        for thread in self.threads.drain(..) {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Warmer;
    use crate::gpu::{Access, Gpu, Kernel, devices};

    const TEXT: &str = "
@group(0) @binding(0) var<uniform> n: u32;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    if id.x < n {
        y[id.x] = 1.0;
    }
}";

    /// Some kernels that no cache has: their text is new.
    fn kernels(name: &str) -> Vec<&'static Kernel> {
        let kernel = Kernel::new::<u32>("", "warm.wgsl", "forward", &[Access::Write]);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let new = now.expect("it is after 1970").as_nanos() as u32;
        let text = TEXT.replace("1.0", &format!("f32({new}u)"));
        let kernel = kernel.with_text(Box::leak(text.into_boxed_str()));
        (0..9)
            .map(|n| kernel.variant(format!("{name}.{n}"), |kernel| kernel))
            .collect()
    }

    #[test]
    fn several_threads_compile_each_kernel_once() {
        if devices().is_empty() {
            return eprintln!("skipped: this machine has no device");
        }
        let gpu = Gpu::new().expect("a device opens");
        let kernels = kernels("warm");
        let warmer = Warmer::at_once(&gpu, 3);
        for _ in 0..2 {
            warmer.send(&kernels);
        }
        let since = Instant::now();
        while gpu.compiled().kernels < kernels.len() {
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "they are not compiled"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(warmer);
        assert_eq!(gpu.compiled().kernels, kernels.len());
    }

    #[test]
    fn a_twin_compiles_what_a_software_device_would_after_one_another() {
        let Some(gpu) = Gpu::new().ok().filter(Gpu::is_software) else {
            return eprintln!("skipped: this machine's device is not a software one");
        };
        let kernels = kernels("twin");
        let warmer = Warmer::in_turn(&gpu, true, Duration::ZERO);
        warmer.send(&kernels[..1]);
        let since = Instant::now();
        while !warmer.work.left().twin {
            assert!(since.elapsed() < Duration::from_secs(60), "there is none");
            std::thread::sleep(Duration::from_millis(1));
        }
        warmer.send(&kernels[1..]);
        warmer.settle();
        assert_eq!(warmer.work.left().kernels, 0);
        assert_eq!(gpu.compiled().kernels, kernels.len());
        drop(warmer);
    }

    #[test]
    fn a_panic_ends_the_waiting() {
        let Ok(gpu) = Gpu::new() else {
            return eprintln!("skipped: this machine has no device");
        };
        let mut warmer = Warmer::idle();
        warmer.spawn(move |work| {
            let _beside = super::Beside::new(work);
            work.compile(&gpu, |kernel| panic!("{}", kernel.name));
        });
        while !warmer.work.left().twin {
            std::thread::sleep(Duration::from_millis(1));
        }
        warmer.send(&kernels("panics"));
        warmer.settle();
    }

    #[test]
    fn an_error_ends_the_waiting() {
        let Some(gpu) = Gpu::new().ok().filter(Gpu::is_software) else {
            return eprintln!("skipped: this machine's device is not a software one");
        };
        let wrong = Kernel::new::<u32>("", "warm.wgsl", "forward", &[Access::Write]);
        let wrong = wrong.with_text("fn forward() { nothing(); }");
        let warmer = Warmer::in_turn(&gpu, true, Duration::ZERO);
        warmer.work.left().twin = true;
        warmer.send(&[wrong.variant("wrong".into(), |kernel| kernel)]);
        warmer.settle();
        assert!(gpu.wait().is_err(), "the error is the next call's");
    }
}
