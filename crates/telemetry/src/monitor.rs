//! Watches a process while a window is open.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use sagellm_core::journal::{HostWindow, Memory};
use sagellm_core::{Clock, Measured, Nanos, seconds};

use crate::energy::{Meter, POWERCAP};
use crate::process::{ThisProcess, measured, process_cpu_seconds, thread_cpu_seconds};
use crate::processors::Processors;
use crate::tree::Tree;

/// Time between two samples of memory, at least.
///
/// Resident size is sampled and not the proportional one (`smaps_rollup`), because the kernel walks every page for the
/// latter: 17 ms for 1.2 GB, on a core that the engine is using at that time, which would show in the very latencies that
/// are being measured. The resident size is a counter (about 0.05 ms, that is 0.1 % of a core at this interval). For this
/// program the two hardly differ: it is one static process, and only a model file that another process maps too is
/// counted in full by one and shared out by the other. The processes of a server do share much, so there the proportional
/// size is taken, as often as it costs no more than the share below.
const INTERVAL: Duration = Duration::from_millis(50);
/// Share of one core that the sampling of another process may take.
const SHARE: f64 = 0.01;

/// Samples the memory of what is measured, and the processor time of its client side, window by window.
///
/// [`begin`](Monitor::begin) and [`end`](Monitor::end) are to be called on the thread that dispatches requests, because
/// its processor time is what the client costs where the engine runs in the same process.
#[derive(Debug)]
pub struct Monitor {
    clock: Clock,
    subject: Subject,
    baseline: Measured<u64>,
    window: Option<Window>,
}

/// What is measured.
#[derive(Clone, Debug)]
enum Subject {
    /// This process: engine and client in one.
    ThisProcess,
    /// A server on this machine, by the number of its process.
    Tree(u32),
    /// A server that cannot be seen from here, and why.
    Unseen(String),
}

/// What a [`Monitor`] saw in a window.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Memory, sampled at both ends and every 50 ms (of a server: or as often as that takes 1 % of a core).
    pub memory: Memory,
    /// Processor time of the client as a percentage of one core. With the engine in this process: of the dispatching
    /// thread and the sampling. With a server: of this whole process.
    pub client_cpu_percent: Measured<f64>,
    /// Processor time of the server and its children as a percentage of one core.
    pub server_cpu_percent: Measured<f64>,
    /// What the machine as a whole did, where the server runs on it.
    pub host: HostWindow,
}

#[derive(Debug)]
struct Window {
    begun_at: Nanos,
    cpu_before: Measured<f64>,
    /// What the processors and this process had done before.
    before: Result<(Processors, f64), String>,
    /// Dropped to end the sampling.
    open: Sender<()>,
    sampling: JoinHandle<Tally>,
}

impl Monitor {
    /// Watches this process, in which the engine runs, and notes its memory as it is now: make it before a model is
    /// loaded.
    pub fn new(clock: Clock) -> Self {
        let baseline = measured(ThisProcess::new().and_then(|mut process| process.resident_bytes()));
        Self { clock, subject: Subject::ThisProcess, baseline, window: None }
    }

    /// Watches a server on this machine with all that descends from its process. It is counted whole: the baseline is 0.
    pub fn of_tree(pid: u32, clock: Clock) -> Self {
        Self { clock, subject: Subject::Tree(pid), baseline: Measured::known(0), window: None }
    }

    /// Watches the client only, since the server's process cannot be seen for this reason.
    pub fn of_client(reason: impl Into<String>, clock: Clock) -> Self {
        let reason = reason.into();
        let baseline = Measured::unknown(reason.clone());
        Self { clock, subject: Subject::Unseen(reason), baseline, window: None }
    }

    /// Opens a window. One that is still open is given up.
    pub fn begin(&mut self) {
        let (open, closed) = mpsc::channel();
        let (clock, subject) = (self.clock, self.subject.clone());
        // The first look at a server is done before the window opens, since it may take a while.
        let sampler = Sampler::new(&subject);
        let meter = Meter::new(Path::new(POWERCAP), clock.now());
        let sampling = std::thread::spawn(move || match sampler {
            Ok(sampler) => sample(sampler, meter, clock, &closed),
            Err(reason) => Tally { energy: Err(reason.clone()), failed: Some(reason), ..Tally::default() },
        });
        let (cpu_before, before) = (self.client_cpu_seconds(), host_and_own());
        self.window = Some(Window { begun_at: self.clock.now(), cpu_before, before, open, sampling });
    }

    /// Closes the window.
    pub fn end(&mut self) -> Observation {
        const UNOPENED: &str = "no window was open";
        let Some(window) = self.window.take() else {
            let memory = Tally { failed: Some(UNOPENED.into()), ..Tally::default() }.memory(self.baseline.clone());
            let unopened = || Measured::unknown(UNOPENED);
            let host = HostWindow::unknown(UNOPENED);
            return Observation { memory, client_cpu_percent: unopened(), server_cpu_percent: unopened(), host };
        };
        let (cpu_after, after, ended_at) = (self.client_cpu_seconds(), host_and_own(), self.clock.now());
        drop(window.open);
        let tally = window
            .sampling
            .join()
            .unwrap_or_else(|_| Tally { failed: Some("the sampling of memory failed".into()), ..Tally::default() });
        let percent = |used: f64| used / seconds(ended_at - window.begun_at) * 100.0;
        // With a server, the sampling is part of this process's time already.
        let sampling = if matches!(self.subject, Subject::ThisProcess) { tally.own_cpu } else { Some(0.0) };
        let client_cpu_percent = match (window.cpu_before.value, cpu_after.value, sampling) {
            (Some(before), Some(after), Some(sampling)) if ended_at > window.begun_at => {
                Measured::known(percent(after - before + sampling))
            }
            _ => Measured::unknown(cpu_after.reason.unwrap_or_else(|| "processor time could not be read".into())),
        };
        let server_cpu_percent = match (&self.subject, tally.server_cpu) {
            (Subject::ThisProcess, _) => Measured::unknown("the engine runs in this process"),
            (_, Some(used)) if ended_at > window.begun_at => Measured::known(percent(used)),
            _ => Measured::unknown(tally.failed.clone().unwrap_or_else(|| "processor time could not be read".into())),
        };
        let host = HostWindow {
            other_cpu_share: measured(self.others(window.before, after, &tally)),
            energy_joules: measured(tally.energy.clone()),
        };
        Observation { memory: tally.memory(self.baseline.clone()), client_cpu_percent, server_cpu_percent, host }
    }

    /// The share of the machine's processor time that neither this process nor the server had.
    fn others(
        &self,
        before: Result<(Processors, f64), String>,
        after: Result<(Processors, f64), String>,
        tally: &Tally,
    ) -> Result<f64, String> {
        let of_server = match (&self.subject, tally.server_cpu) {
            (Subject::ThisProcess, _) => 0.0,
            (Subject::Tree(_), Some(used)) => used,
            // A server that cannot be seen may run here, and would be taken for others.
            _ => return Err(tally.failed.clone().unwrap_or_else(|| "processor time could not be read".into())),
        };
        let ((before, own_before), (after, own_after)) = (before?, after?);
        after.share_of_others(&before, own_after - own_before + of_server)
    }

    fn client_cpu_seconds(&self) -> Measured<f64> {
        match self.subject {
            Subject::ThisProcess => thread_cpu_seconds(),
            Subject::Tree(_) | Subject::Unseen(_) => process_cpu_seconds(),
        }
    }
}

/// What all processors have done, and how many seconds of it this process had.
fn host_and_own() -> Result<(Processors, f64), String> {
    let own = process_cpu_seconds();
    let own = own.value.ok_or_else(|| own.reason.unwrap_or_default())?;
    Ok((Processors::now()?, own))
}

/// Reads one subject, again and again.
enum Sampler {
    ThisProcess(ThisProcess),
    Tree(Tree),
}

impl Sampler {
    fn new(subject: &Subject) -> Result<Self, String> {
        match subject {
            Subject::ThisProcess => ThisProcess::new().map(Self::ThisProcess),
            Subject::Tree(pid) => Tree::new(*pid).map(Self::Tree),
            Subject::Unseen(reason) => Err(reason.clone()),
        }
    }

    fn memory_bytes(&mut self) -> Result<u64, String> {
        match self {
            Self::ThisProcess(process) => process.resident_bytes(),
            Self::Tree(tree) => tree.memory_bytes(),
        }
    }
}

/// Samples until the window closes, and once more then.
fn sample(mut sampler: Sampler, mut meter: Result<Meter, String>, clock: Clock, closed: &Receiver<()>) -> Tally {
    let mut tally = Tally::default();
    if let Sampler::Tree(tree) = &sampler {
        tally.kind = tree.kind();
    }
    loop {
        let before = clock.now();
        tally.add(sampler.memory_bytes());
        if let Ok(meter) = &mut meter
            && meter.is_due(before)
        {
            meter.read(before);
        }
        let pause = match sampler {
            Sampler::ThisProcess(_) => INTERVAL,
            Sampler::Tree(_) => INTERVAL.max(Duration::from_nanos(clock.now() - before).div_f64(SHARE)),
        };
        if closed.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    if let Ok(meter) = &mut meter {
        meter.read(clock.now());
    }
    let energy = meter.and_then(|meter| meter.joules());
    let last = sampler.memory_bytes();
    match &sampler {
        Sampler::ThisProcess(_) => tally.add(last),
        // Of a server that ended within the window there is no figure: its peak may be that of its fall.
        Sampler::Tree(_) if last.is_err() => tally = Tally { failed: last.err(), kind: tally.kind, ..Tally::default() },
        Sampler::Tree(tree) => {
            tally.add(last);
            tally.server_cpu = Some(tree.cpu_seconds());
        }
    }
    tally.own_cpu = thread_cpu_seconds().value;
    tally.energy = energy;
    tally
}

/// The samples of one window, summed up.
#[derive(Debug)]
struct Tally {
    /// How memory was read.
    kind: &'static str,
    samples: u64,
    sum: f64,
    peak: u64,
    /// The reason why a sample could not be had.
    failed: Option<String>,
    /// Processor seconds that the sampling took.
    own_cpu: Option<f64>,
    /// Processor seconds that a server took.
    server_cpu: Option<f64>,
    /// Joules that the processors took.
    energy: Result<f64, String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            kind: "rss",
            samples: 0,
            sum: 0.0,
            peak: 0,
            failed: None,
            own_cpu: None,
            server_cpu: None,
            energy: Err("the sampling failed".into()),
        }
    }
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
        Memory { kind: self.kind.into(), samples: self.samples, baseline_bytes, peak_bytes, avg_bytes }
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

    #[cfg(target_os = "linux")]
    #[test]
    fn others_are_seen_and_this_process_is_none_of_them() {
        let burn = || {
            let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(1500));
            child.kill().unwrap();
            child.wait().unwrap();
        };
        let mut monitor = Monitor::new(Clock::start());
        monitor.begin();
        burn();
        let seen = monitor.end().host.other_cpu_share.value.unwrap();
        // A whole core, or as much of one as other tests leave it.
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        assert!(seen > 0.2 / cores && seen <= 1.0, "{seen} of {cores} cores");
        // Too short for ticks.
        monitor.begin();
        let short = monitor.end().host;
        assert!(short.other_cpu_share.reason.unwrap().contains("too short"));
        assert_ne!(short.energy_joules.value.is_some(), short.energy_joules.reason.is_some());
    }

    #[test]
    fn without_a_window_there_is_a_reason_and_no_zero() {
        let seen = Monitor::new(Clock::start()).end();
        assert_eq!(seen.memory.peak_bytes, Measured::unknown("no window was open"));
        assert_eq!(seen.client_cpu_percent.value, None);
        assert!(seen.memory.baseline_bytes.value.is_some());
    }

    /// A shell that runs a script until it is told to go on.
    fn shell(script: &str) -> std::process::Child {
        use std::process::{Command, Stdio};
        let mut child =
            Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line).unwrap();
        child
    }

    #[test]
    fn a_server_is_watched_with_its_children() {
        let mut child = shell("sh -c 'echo; while kill -0 $PPID 2>/dev/null; do :; done'; :");
        let mut monitor = Monitor::of_tree(child.id(), Clock::start());
        monitor.begin();
        std::thread::sleep(Duration::from_millis(400));
        let seen = monitor.end();
        assert_eq!(seen.memory.kind, if cfg!(target_os = "linux") { "pss" } else { "rss" });
        assert!(seen.memory.samples >= 2);
        assert_eq!(seen.memory.baseline_bytes.value, Some(0));
        let peak = seen.memory.peak_bytes.value.unwrap();
        assert!((1 << 10..64 << 20).contains(&peak), "{peak} bytes");
        let busy = seen.server_cpu_percent.value.unwrap();
        assert!((10.0..=130.0).contains(&busy), "its child looks after it all the time: {busy} %");
        let client = seen.client_cpu_percent.value.unwrap();
        assert!(client < busy, "{client} % of a core for watching");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_server_that_ended_has_no_figure() {
        let mut child = shell("echo; read x");
        let mut monitor = Monitor::of_tree(child.id(), Clock::start());
        monitor.begin();
        drop(child.stdin.take());
        child.wait().unwrap();
        let seen = monitor.end();
        assert_eq!(seen.memory.peak_bytes, Measured::unknown("the server process ended"));
        assert_eq!(seen.server_cpu_percent, Measured::unknown("the server process ended"));
        assert!(seen.client_cpu_percent.value.is_some());
        monitor.begin();
        assert_eq!(monitor.end().memory.avg_bytes, Measured::unknown("the server process ended"));
    }

    #[test]
    fn a_server_elsewhere_is_unknown_and_the_client_is_not() {
        let mut monitor = Monitor::of_client("the server runs on another machine", Clock::start());
        monitor.begin();
        std::thread::sleep(Duration::from_millis(50));
        let seen = monitor.end();
        assert_eq!(seen.memory.peak_bytes, Measured::unknown("the server runs on another machine"));
        assert_eq!(seen.memory.samples, 0);
        assert_eq!(seen.host, HostWindow::unknown("the server runs on another machine"));
        assert!(seen.client_cpu_percent.value.is_some());
    }
}
