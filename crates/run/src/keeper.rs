//! The thread that finishes records and writes them: neither the counting of tokens nor the disk may delay a request.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use sagellm_core::journal::Line;
use sagellm_core::{Backend, Clock, Nanos, OutputText, Record};
use sagellm_sys::Priority;

use crate::{Journal, RunError};

/// Bytes of lines that may wait to be written. Above it the sending thread waits, and the journal says for how long.
const MAX_WAITING: usize = 64 << 20;
/// Lines that are written at once, in bytes.
const BATCH: usize = 256 << 10;

/// Hands finished records over to the thread that keeps them.
pub(crate) struct Keeper<'scope> {
    queue: Arc<Queue>,
    clock: Clock,
    thread: ScopedJoinHandle<'scope, Result<Journal, RunError>>,
    /// Time spent waiting for the disk.
    waited: Nanos,
}

/// What is to be kept.
enum Item {
    Line(Box<Line>),
    /// A record whose text is still to be counted and hashed.
    Uncounted(Box<Record>, OutputText),
}

impl Item {
    /// About the bytes that it holds.
    fn weight(&self) -> usize {
        let chunks = |record: &Record| size_of_val(record.chunks.as_slice());
        let more = match self {
            Self::Line(line) => match &**line {
                Line::Request(record) => chunks(record),
                Line::Header(_) | Line::Close(_) => 0,
            },
            Self::Uncounted(record, text) => chunks(record) + text.choices.iter().map(String::len).sum::<usize>(),
        };
        size_of::<Record>() + more
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    weight: usize,
    /// Nothing more will come.
    closed: bool,
    /// Nothing more will be taken: the thread has ended.
    ended: bool,
    /// Whether the thread waits for something to come.
    idle: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that waits, in order; `None` after the last.
    fn take(&self) -> Option<VecDeque<Item>> {
        let mut state = self.lock();
        loop {
            if !state.items.is_empty() {
                state.weight = 0;
                let items = std::mem::take(&mut state.items);
                self.changed.notify_all();
                return Some(items);
            }
            if state.closed {
                return None;
            }
            state.idle = true;
            state = self.wait(state);
            state.idle = false;
        }
    }
}

/// Tells the queue that its reader is gone, also when that panics: the sender would wait for it forever.
struct EndGuard(Arc<Queue>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl<'scope> Keeper<'scope> {
    /// Starts the thread, which owns the journal from now on.
    ///
    /// # Errors
    /// [`RunError::Thread`] when the system gives no thread.
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        journal: Journal,
        backend: &'env dyn Backend,
    ) -> Result<Self, RunError> {
        let queue = Arc::new(Queue::default());
        let guard = EndGuard(Arc::clone(&queue));
        let work = move || {
            // It steps back behind the threads that send and read. Where that is refused it is one thread more among them.
            let _ = Priority::Background.apply_to_this_thread();
            keep_all(&guard.0, journal, backend)
        };
        let thread = std::thread::Builder::new().name("journal".into()).spawn_scoped(scope, work);
        let thread = thread.map_err(|source| RunError::Thread { source })?;
        Ok(Self { queue, clock: backend.clock(), thread, waited: 0 })
    }

    /// Keeps a line as it is.
    pub(crate) fn line(&mut self, line: Line) {
        self.push(Item::Line(Box::new(line)));
    }

    /// Keeps a finished request, and counts its text first where that is left to do. False when the thread has failed:
    /// [`Keeper::close`] says why.
    pub(crate) fn request(&mut self, record: Record, text: Option<OutputText>) -> bool {
        self.push(match text {
            Some(text) => Item::Uncounted(Box::new(record), text),
            None => Item::Line(Box::new(Line::Request(record))),
        })
    }

    fn push(&mut self, item: Item) -> bool {
        let mut state = self.queue.lock();
        if state.weight > MAX_WAITING && !state.ended {
            let before = self.clock.now();
            while state.weight > MAX_WAITING && !state.ended {
                state = self.queue.wait(state);
            }
            self.waited += self.clock.now() - before;
        }
        if state.ended {
            return false;
        }
        state.weight += item.weight();
        state.items.push_back(item);
        if state.idle {
            self.queue.changed.notify_all();
        }
        true
    }

    /// Nanoseconds that the caller has waited for the journal.
    pub(crate) fn waited(&self) -> Nanos {
        self.waited
    }

    /// Waits until everything is written and gives the journal back.
    ///
    /// # Errors
    /// The first failure to write.
    pub(crate) fn close(self) -> Result<Journal, RunError> {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
        match self.thread.join() {
            Ok(journal) => journal,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn keep_all(queue: &Queue, mut journal: Journal, backend: &dyn Backend) -> Result<Journal, RunError> {
    while let Some(items) = queue.take() {
        for item in items {
            let line = match item {
                Item::Line(line) => line,
                Item::Uncounted(mut record, text) => {
                    backend.complete(&mut record, text);
                    Box::new(Line::Request(*record))
                }
            };
            journal.push(&line)?;
            if journal.pending() >= BATCH {
                journal.flush()?;
            }
        }
        journal.flush()?;
    }
    Ok(journal)
}
