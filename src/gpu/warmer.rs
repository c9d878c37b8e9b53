//! Compiling beside other work: kernels take a driver longer than anything else that a run starts with.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::device::Gpu;
use super::kernel::Kernel;

/// A thread that has the driver compile kernels while the weights load.
pub(crate) struct Warmer {
    sent: Mutex<HashSet<String>>,
    kernels: Option<Sender<&'static Kernel>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Warmer {
    pub(crate) fn new(gpu: &Gpu) -> Self {
        let (kernels, wanted) = channel::<&'static Kernel>();
        let stop = Arc::new(AtomicBool::new(false));
        let (gpu, stopped) = (gpu.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for kernel in wanted {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // It may be another thread's error that this one met first.
                if let Err(error) = gpu.ahead(kernel) {
                    return gpu.report(error);
                }
            }
        });
        Warmer {
            sent: Mutex::default(),
            kernels: Some(kernels),
            thread: Some(thread),
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

impl Drop for Warmer {
    /// Waits for the kernel that is being compiled: a driver does not like to be left in the middle.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.kernels = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}
