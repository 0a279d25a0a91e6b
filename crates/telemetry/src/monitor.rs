//! Watches this process while a window is open.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use sagellm_core::journal::Memory;
use sagellm_core::{Clock, Measured, Nanos, seconds};

use crate::process::{ThisProcess, measured};
use crate::thread_cpu_seconds;

/// Time between two samples of memory.
///
/// Resident size is sampled and not the proportional one (`smaps_rollup`), because the kernel walks every page for the
/// latter: 17 ms for 1.2 GB, on a core that the engine is using at that time, which would show in the very latencies that
/// are being measured. The resident size is a counter (about 0.05 ms, that is 0.1 % of a core at this interval). For this
/// program the two hardly differ: it is one static process, and only a model file that another process maps too is
/// counted in full by one and shared out by the other.
const INTERVAL: Duration = Duration::from_millis(50);

/// Samples the memory of this process and the processor time of its client side, window by window.
///
/// [`begin`](Monitor::begin) and [`end`](Monitor::end) are to be called on the thread that dispatches requests, because
/// its processor time is what the client costs.
#[derive(Debug)]
pub struct Monitor {
    clock: Clock,
    baseline: Measured<u64>,
    window: Option<Window>,
}

/// What a [`Monitor`] saw in a window.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Memory, sampled every 50 ms and at both ends.
    pub memory: Memory,
    /// Processor time of the dispatching thread and of the sampling itself, as a percentage of one core.
    pub client_cpu_percent: Measured<f64>,
}

#[derive(Debug)]
struct Window {
    begun_at: Nanos,
    cpu_before: Measured<f64>,
    /// Dropped to end the sampling.
    open: Sender<()>,
    sampling: JoinHandle<Tally>,
}

impl Monitor {
    /// Notes the memory of the process as it is now: make it before a model is loaded.
    pub fn new(clock: Clock) -> Self {
        let baseline = measured(ThisProcess::new().and_then(|mut process| process.resident_bytes()));
        Self { clock, baseline, window: None }
    }

    /// Opens a window. One that is still open is given up.
    pub fn begin(&mut self) {
        let (open, closed) = mpsc::channel();
        let sampling = std::thread::spawn(move || {
            let mut tally = Tally::default();
            let mut process = match ThisProcess::new() {
                Ok(process) => process,
                Err(reason) => return Tally { failed: Some(reason), ..tally },
            };
            loop {
                tally.add(process.resident_bytes());
                if closed.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            tally.add(process.resident_bytes());
            tally.cpu = thread_cpu_seconds().value;
            tally
        });
        let cpu_before = thread_cpu_seconds();
        self.window = Some(Window { begun_at: self.clock.now(), cpu_before, open, sampling });
    }

    /// Closes the window.
    pub fn end(&mut self) -> Observation {
        const UNOPENED: &str = "no window was open";
        let Some(window) = self.window.take() else {
            let memory = Tally { failed: Some(UNOPENED.into()), ..Tally::default() }.memory(self.baseline.clone());
            return Observation { memory, client_cpu_percent: Measured::unknown(UNOPENED) };
        };
        let (cpu_after, ended_at) = (thread_cpu_seconds(), self.clock.now());
        drop(window.open);
        let tally = window
            .sampling
            .join()
            .unwrap_or_else(|_| Tally { failed: Some("the sampling of memory failed".into()), ..Tally::default() });
        let client_cpu_percent = match (window.cpu_before.value, cpu_after.value, tally.cpu) {
            (Some(before), Some(after), Some(sampling)) if ended_at > window.begun_at => {
                Measured::known((after - before + sampling) / seconds(ended_at - window.begun_at) * 100.0)
            }
            _ => Measured::unknown(cpu_after.reason.unwrap_or_else(|| "processor time could not be read".into())),
        };
        Observation { memory: tally.memory(self.baseline.clone()), client_cpu_percent }
    }
}

/// The samples of one window, summed up.
#[derive(Debug, Default)]
struct Tally {
    samples: u64,
    sum: f64,
    peak: u64,
    /// The reason why a sample could not be had.
    failed: Option<String>,
    /// Processor seconds that the sampling took.
    cpu: Option<f64>,
}

impl Tally {
    fn add(&mut self, sample: Result<u64, String>) {
        match sample {
            Ok(bytes) => {
                self.samples += 1;
                self.sum += bytes as f64;
                self.peak = self.peak.max(bytes);
            }
            Err(reason) => self.failed = Some(reason),
        }
    }

    fn memory(self, baseline_bytes: Measured<u64>) -> Memory {
        let (peak_bytes, avg_bytes) = if self.samples > 0 {
            (Measured::known(self.peak), Measured::known(self.sum / self.samples as f64))
        } else {
            let reason = self.failed.unwrap_or_else(|| "no sample was taken".into());
            (Measured::unknown(reason.clone()), Measured::unknown(reason))
        };
        Memory { kind: "rss".into(), samples: self.samples, baseline_bytes, peak_bytes, avg_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_peak_of_a_window_is_seen_and_its_mean_lies_below() {
        let clock = Clock::start();
        let mut monitor = Monitor::new(clock);
        monitor.begin();
        std::thread::sleep(Duration::from_millis(200));
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        std::thread::sleep(Duration::from_millis(200));
        drop(block);
        std::thread::sleep(Duration::from_millis(200));
        let Memory { kind, samples, baseline_bytes, peak_bytes, avg_bytes } = monitor.end().memory;
        assert_eq!(kind, "rss");
        let most = clock.now() / INTERVAL.as_nanos() as u64 + 2;
        assert!((6..=most).contains(&samples), "{samples} samples, at most {most} have time");
        let (baseline, peak) = (baseline_bytes.value.unwrap(), peak_bytes.value.unwrap());
        assert!((60 * MIB..100 * MIB).contains(&(peak - baseline)), "{} bytes", peak - baseline);
        let avg = avg_bytes.value.unwrap();
        assert!(avg > baseline as f64 && avg < peak as f64 - 10.0 * MIB as f64, "mean {avg}, peak {peak}");
    }

    #[test]
    fn each_window_is_counted_by_itself() {
        let mut monitor = Monitor::new(Clock::start());
        monitor.begin();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let first = monitor.end().memory.peak_bytes.value.unwrap();
        drop(block);
        monitor.begin();
        let second = monitor.end().memory;
        assert!(second.samples >= 2, "at both ends at least");
        assert!(second.peak_bytes.value.unwrap() + 30 * MIB < first);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_idle_client_costs_next_to_nothing() {
        let mut monitor = Monitor::new(Clock::start());
        monitor.begin();
        std::thread::sleep(Duration::from_millis(500));
        let percent = monitor.end().client_cpu_percent.value.unwrap();
        assert!((0.0..5.0).contains(&percent), "{percent} % of a core");
    }

    #[test]
    fn without_a_window_there_is_a_reason_and_no_zero() {
        let seen = Monitor::new(Clock::start()).end();
        assert_eq!(seen.memory.peak_bytes, Measured::unknown("no window was open"));
        assert_eq!(seen.client_cpu_percent.value, None);
        assert!(seen.memory.baseline_bytes.value.is_some());
    }
}
