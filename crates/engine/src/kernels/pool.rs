//! The threads of the engine.
//!
//! A decode step enters the pool several hundred times, so entering has to cost about a microsecond: workers spin a
//! while before they sleep, tasks are claimed by one atomic addition, and the caller works along and never waits for a
//! worker that has claimed nothing.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

/// Turns of the spin loop before a worker sleeps: some 200 µs, longer than what lies between two products of a step.
const SPINS: u32 = 20_000;
/// The state packs the number of tasks (high half) and the next one to claim (low half).
const HALF: u32 = 32;

type Task = dyn Fn(usize) + Sync;

struct Shared {
    /// Tasks of the current job and how many were claimed.
    state: AtomicU64,
    /// Tasks of the current job that are finished.
    done: AtomicUsize,
    /// The current job. Written only while no task is claimed, read only by who has claimed one.
    job: UnsafeCell<*const Task>,
    sleeping: Vec<AtomicBool>,
    panicked: AtomicBool,
    stop: AtomicBool,
}

// SAFETY: `job` is the only field that is not shareable by itself; the claims on `state` order its writes and reads.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is used only while `run` keeps its target alive.
unsafe impl Send for Shared {}

/// A set of threads that run one job at a time, the caller among them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    threads: Vec<Thread>,
}

impl Pool {
    /// A pool of `threads` threads in all, the calling one included.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let others = threads.saturating_sub(1);
        let idle: &'static Task = &|_| ();
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            job: UnsafeCell::new(std::ptr::from_ref(idle)),
            sleeping: (0..others).map(|_| AtomicBool::new(false)).collect(),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut pool = Self { shared, workers: Vec::new(), threads: Vec::new() };
        for id in 0..others {
            let shared = Arc::clone(&pool.shared);
            let worker =
                std::thread::Builder::new().name(format!("engine-{}", id + 1)).spawn(move || shared.work(id))?;
            pool.threads.push(worker.thread().clone());
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Threads, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(0)` … `task(tasks − 1)`, each once, on any thread, and returns when all are finished.
    ///
    /// # Panics
    /// When a task panicked on another thread.
    pub(crate) fn run(&mut self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if tasks <= 1 || self.workers.is_empty() {
            (0..tasks).for_each(task);
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime is erased; this function returns after the last task, so the reference stays good
        // as long as anyone can use it.
        let erased: *const Task = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static Task>(task) };
        // SAFETY: the former job is over (`run` takes `&mut self` and waits for all its tasks), so nobody holds a claim.
        unsafe { *shared.job.get() = erased };
        shared.done.store(0, Ordering::Relaxed);
        shared.state.store((tasks as u64) << HALF, Ordering::SeqCst);
        for (sleeping, thread) in shared.sleeping.iter().zip(&self.threads) {
            if sleeping.load(Ordering::SeqCst) {
                thread.unpark();
            }
        }
        while shared.claim_and_run() {}
        while shared.done.load(Ordering::Acquire) < tasks {
            std::hint::spin_loop();
        }
        assert!(!shared.panicked.load(Ordering::Relaxed), "a task of the engine's pool panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker that panicked has been reported by `run`.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn has_work(&self) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        (state as u32) < (state >> HALF) as u32
    }

    /// Runs one task of the current job, if any is left.
    fn claim_and_run(&self) -> bool {
        if !self.has_work() {
            return false;
        }
        let state = self.state.fetch_add(1, Ordering::AcqRel);
        let (index, tasks) = (state as u32, (state >> HALF) as u32);
        if index >= tasks {
            return false;
        }
        let _finish = Finish(self);
        // SAFETY: this task is claimed and not finished, so `run` has not returned: the job is the current one and alive.
        let task = unsafe { &**self.job.get() };
        task(index as usize);
        true
    }

    fn work(&self, id: usize) {
        let mut idle = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.claim_and_run() {
                idle = 0;
            } else if idle < SPINS {
                idle += 1;
                std::hint::spin_loop();
            } else {
                self.sleeping[id].store(true, Ordering::SeqCst);
                if !self.has_work() && !self.stop.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                self.sleeping[id].store(false, Ordering::SeqCst);
                idle = 0;
            }
        }
    }
}

/// Counts a task as finished, also when it panicked: the caller must not wait for ever.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::Relaxed);
        }
        self.0.done.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        let mut pool = Pool::new(3).unwrap();
        for round in 0..2000 {
            let tasks = round % 17;
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            pool.run(tasks, &|i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "round {round}");
        }
    }

    #[test]
    fn sleeping_workers_wake() {
        let mut pool = Pool::new(2).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let sum = AtomicUsize::new(0);
            pool.run(100, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }
}
