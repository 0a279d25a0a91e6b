//! This process as the operating system sees it.

use sagellm_core::Measured;
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System};

/// Reads the figures of a process, usually this one; kept so that a reading costs no set-up.
pub(crate) struct ThisProcess {
    system: System,
    pid: Pid,
}

impl ThisProcess {
    pub(crate) fn new() -> Result<Self, String> {
        Self::of(sysinfo::get_current_pid().map_err(|error| error.to_string())?)
    }

    fn of(pid: Pid) -> Result<Self, String> {
        let system = System::new().map_err(|error| error.to_string())?;
        Ok(Self { system, pid })
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&mut self) -> Result<u64, String> {
        match self.refresh(ProcessRefreshKind::nothing().with_memory()).map(Process::memory) {
            Some(0) | None => Err("the system does not tell the memory of this process".into()),
            Some(bytes) => Ok(bytes),
        }
    }

    /// Seconds of processor time of all its threads, user and system.
    fn cpu_seconds(&mut self) -> Result<f64, String> {
        match self.refresh(ProcessRefreshKind::nothing().with_cpu()) {
            Some(process) => Ok(process.accumulated_cpu_time() as f64 / 1e3),
            None => Err("the system does not tell the processor time of the process".into()),
        }
    }

    fn refresh(&mut self, what: ProcessRefreshKind) -> Option<&Process> {
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), false, what.without_tasks());
        self.system.process(self.pid)
    }
}

/// A reading or the reason why there is none.
pub(crate) fn measured<T>(reading: Result<T, String>) -> Measured<T> {
    match reading {
        Ok(value) => Measured::known(value),
        Err(reason) => Measured::unknown(reason),
    }
}

/// Seconds of processor time, user and system, that all threads of this process have used; usually in steps of 10 ms.
pub fn process_cpu_seconds() -> Measured<f64> {
    measured(ThisProcess::new().and_then(|mut process| process.cpu_seconds()))
}

/// The same of another process, by its number, without its children.
pub fn process_cpu_seconds_of(pid: u32) -> Measured<f64> {
    measured(ThisProcess::of(Pid::from_u32(pid)).and_then(|mut process| process.cpu_seconds()))
}

/// Seconds of processor time that the calling thread has used. Linux only, to the nanosecond.
pub fn thread_cpu_seconds() -> Measured<f64> {
    const FILE: &str = "/proc/thread-self/schedstat";
    if !cfg!(target_os = "linux") {
        return Measured::unknown("this system does not tell the processor time of one thread");
    }
    let reading = std::fs::read_to_string(FILE).map_err(|error| format!("`{FILE}`: {error}"));
    measured(reading.and_then(|text| parse_schedstat(&text).ok_or_else(|| format!("`{FILE}` holds no time"))))
}

/// The first number is the time on a processor in nanoseconds (Documentation/scheduler/sched-stats.rst).
fn parse_schedstat(text: &str) -> Option<f64> {
    let nanos: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanos as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work that the optimiser cannot remove.
    fn burn() -> u64 {
        (0..50_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n.wrapping_mul(0x9e37_79b9)))
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        let mut process = ThisProcess::new().unwrap();
        let before = process.resident_bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = process.resident_bytes().unwrap();
        assert!(after > before + (60 << 20), "{before} → {after} bytes with {} more", block.len());
        assert!(after < before + (80 << 20));
    }

    #[test]
    fn work_takes_processor_time_of_its_thread_only() {
        let before = (process_cpu_seconds().value.unwrap(), thread_cpu_seconds());
        std::thread::spawn(burn).join().unwrap();
        let after = (process_cpu_seconds().value.unwrap(), thread_cpu_seconds());
        let process = after.0 - before.0;
        assert!(process > 0.05, "{process} s");
        if cfg!(target_os = "linux") {
            let thread = after.1.value.unwrap() - before.1.value.unwrap();
            assert!(thread < process / 2.0, "{thread} of {process} s");
        } else {
            assert!(after.1.reason.is_some());
        }
    }

    #[test]
    fn another_process_is_known_by_its_number() {
        let mine = process_cpu_seconds_of(std::process::id()).value.unwrap();
        assert!((mine - process_cpu_seconds().value.unwrap()).abs() < 1.0);
        assert!(process_cpu_seconds_of(u32::MAX).value.is_none());
    }

    #[test]
    fn schedstat_is_nanoseconds() {
        assert_eq!(parse_schedstat("2245311000 12 1\n"), Some(2.245_311));
        assert_eq!(parse_schedstat("\n"), None);
        assert_eq!(parse_schedstat("x 1 2"), None);
    }
}
