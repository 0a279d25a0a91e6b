//! The priority of the calling thread.

/// How the scheduler treats a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// After everything else that wants to run: nice value 19.
    Background,
    /// As the process was started.
    Normal,
    /// Before other ordinary threads: nice value -20. Needs `CAP_SYS_NICE` or a raised `RLIMIT_NICE`.
    High,
    /// Before all ordinary threads: `SCHED_FIFO` at the lowest real-time priority. Needs `CAP_SYS_NICE` or a raised
    /// `RLIMIT_RTPRIO`.
    RealTime,
}

impl Priority {
    /// The name used on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::Normal => "normal",
            Self::High => "high",
            Self::RealTime => "realtime",
        }
    }

    /// Gives the calling thread this priority; false where the system refuses.
    #[cfg(target_os = "linux")]
    pub fn apply_to_this_thread(self) -> bool {
        match self {
            Self::Normal => true,
            Self::Background => linux::set_nice(19),
            Self::High => linux::set_nice(-20),
            Self::RealTime => linux::set_fifo(1),
        }
    }

    /// See above.
    #[cfg(not(target_os = "linux"))]
    pub fn apply_to_this_thread(self) -> bool {
        self == Self::Normal
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library has no thread priorities")]
mod linux {
    /// On Linux the nice value is a thread's own, under its thread id.
    pub(super) fn set_nice(nice: i32) -> bool {
        // SAFETY: takes numbers only; 0 names the calling thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) == 0 }
    }

    pub(super) fn set_fifo(priority: i32) -> bool {
        let parameters = libc::sched_param { sched_priority: priority };
        // SAFETY: the pointer is to a local that outlives the call; 0 names the calling thread.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) == 0 }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn every_thread_may_step_back() {
        let nice = |_| {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields = stat.rsplit_once(')').unwrap().1;
            fields.split_ascii_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let there = std::thread::spawn(move || {
            assert!(Priority::Background.apply_to_this_thread());
            nice(())
        });
        assert_eq!(there.join().unwrap(), 19);
        assert_ne!(nice(()), 19, "only that thread");
    }
}
