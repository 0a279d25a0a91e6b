//! How long a thread was runnable without a processor.

use std::fs::File;

/// Reads the run-queue delay of the thread that opened it: the second number of Linux's `schedstat`
/// (<https://docs.kernel.org/scheduler/sched-stats.html>).
#[derive(Debug)]
pub struct RunDelay {
    file: File,
}

impl RunDelay {
    /// For the calling thread; `None` where the kernel does not account for it.
    pub fn of_this_thread() -> Option<Self> {
        let file = File::open("/proc/thread-self/schedstat").ok()?;
        let delay = Self { file };
        delay.nanos().map(|_| delay)
    }

    /// Nanoseconds that the thread has waited for a processor since it started. Costs about a microsecond.
    #[cfg(unix)]
    pub fn nanos(&self) -> Option<u64> {
        use std::os::unix::fs::FileExt;

        let mut text = [0; 64];
        let length = self.file.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    /// See above.
    #[cfg(not(unix))]
    pub fn nanos(&self) -> Option<u64> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_delay_of_a_thread_never_falls() {
        let Some(delay) = RunDelay::of_this_thread() else { return };
        let before = delay.nanos().unwrap();
        std::thread::yield_now();
        assert!(delay.nanos().unwrap() >= before);
    }
}
