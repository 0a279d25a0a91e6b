//! Real-time priority, for which neither the standard library nor nix has a safe call.
#![allow(unsafe_code)]

/// Above all normal threads, below those that the system itself runs in real time.
const PRIORITY: i32 = 10;

/// Puts this thread above all normal ones (SCHED_FIFO); returns whether the system permits it.
pub fn enable() -> bool {
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: the pointer is to a live local of the right type, and 0 means the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) == 0 }
}
