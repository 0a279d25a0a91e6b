//! A server that runs in threads of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ServerError;

/// How soon a thread that waits for something else notices that it should stop.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

/// Threads that serve one address until they are told to stop. Dropping it stops them and waits for their end.
#[derive(Debug)]
pub(crate) struct Running {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), ServerError>>>,
}

impl Running {
    pub(crate) fn new(
        address: SocketAddr,
        stop: Arc<AtomicBool>,
        threads: Vec<JoinHandle<Result<(), ServerError>>>,
    ) -> Self {
        Self { address, stop, threads }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `until` is set or a thread has to give up.
    pub(crate) fn wait(mut self, until: &AtomicBool) -> Result<(), ServerError> {
        while !until.load(Ordering::Relaxed) && !self.threads.iter().any(JoinHandle::is_finished) {
            std::thread::sleep(PATIENCE);
        }
        self.join()
    }

    fn join(&mut self) -> Result<(), ServerError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcome = Ok(());
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(ended) => outcome = outcome.and(ended),
                // A fault of the program goes on as one.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Why it ended is `wait`'s to tell.
            let _ = self.join();
        }
    }
}
