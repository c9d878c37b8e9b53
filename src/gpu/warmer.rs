//! Compiling beside other work: kernels take a driver longer than anything else that a run starts with.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::device::Gpu;
use super::kernel::Kernel;

/// Threads beside a GPU: a driver compiles several kernels at once, and the others have weights to load.
const THREADS: usize = 4;

/// Threads that have the driver compile kernels while the weights load.
pub(crate) struct Warmer {
    sent: Mutex<HashSet<String>>,
    kernels: Option<Sender<&'static Kernel>>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Warmer {
    pub(crate) fn new(gpu: &Gpu) -> Self {
        // A software driver compiles in its one queue, in the order that it is asked.
        let threads = match gpu.is_software() {
            true => 1,
            false => std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS)),
        };
        Self::of(gpu, threads)
    }

    fn of(gpu: &Gpu, threads: usize) -> Self {
        let (kernels, wanted) = channel::<&'static Kernel>();
        let stop = Arc::new(AtomicBool::new(false));
        let wanted = Arc::new(Mutex::new(wanted));
        let thread = |_| {
            let (gpu, stop, wanted) = (gpu.clone(), stop.clone(), wanted.clone());
            std::thread::spawn(move || work(&gpu, &wanted, &stop))
        };
        Warmer {
            sent: Mutex::default(),
            kernels: Some(kernels),
            threads: (0..threads).map(thread).collect(),
            stop,
        }
    }

    /// Has the driver compile `kernels`, each once, while the caller goes on.
    pub(crate) fn send(&self, kernels: &[&'static Kernel]) {
        let mut sent = self.sent.lock().expect("no panic holds the kernels");
        for kernel in kernels {
            if sent.insert(kernel.name.to_string())
                && let Some(warmer) = &self.kernels
            {
                // A thread that is gone has reported why.
                let _ = warmer.send(kernel);
            }
        }
    }
}

/// Compiles what is `wanted` until no more is to come.
fn work(gpu: &Gpu, wanted: &Mutex<Receiver<&'static Kernel>>, stop: &AtomicBool) {
    // One waits for the next kernel and the others for their turn.
    let next = || wanted.lock().ok()?.recv().ok();
    while let Some(kernel) = next() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // It may be another thread's error that this one met first.
        if let Err(error) = gpu.ahead(kernel) {
            return gpu.report(error);
        }
    }
}

impl Drop for Warmer {
    /// Waits for the kernels that are being compiled: a driver does not like to be left in the middle.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.kernels = None;
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

    #[test]
    fn several_threads_compile_each_kernel_once() {
        if devices().is_empty() {
            return eprintln!("skipped: this machine has no device");
        }
        let gpu = Gpu::new().expect("a device opens");
        let kernel = Kernel::new::<u32>("", "warm.wgsl", "forward", &[Access::Write]);
        let kernel = kernel.with_text(TEXT);
        let kernels: Vec<&'static Kernel> = (0..9)
            .map(|n| kernel.variant(format!("warm.{n}"), |kernel| kernel))
            .collect();
        let warmer = Warmer::of(&gpu, 3);
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
}
