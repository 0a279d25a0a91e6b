//! The requests of a plan, read ahead of their time by a thread of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use sagellm_core::{Exit, Failure, Prepared, Request, Requests};

/// Prompts that are held ready at most, in bytes: seconds of any load, and little beside what a backend needs.
const MOST_BYTES: usize = 8 << 20;
/// Requests that are held ready at most: a few milliseconds' worth at the rates that a client can reach, often enough for
/// all of a burst.
const MOST_REQUESTS: usize = 8192;

/// A request and the turns that follow it, in their order. Most have none.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) first: Prepared,
    pub(crate) later: VecDeque<Request>,
}

/// Gives conversations in the order of the plan.
#[derive(Debug)]
pub(crate) struct Supply {
    /// Taken from the reader, and next in turn.
    near: VecDeque<Conversation>,
    reader: Arc<Reader>,
}

#[derive(Debug, Default)]
struct Reader {
    shelf: Mutex<Shelf>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    ready: VecDeque<Conversation>,
    requests: usize,
    bytes: usize,
    /// Why there will be no more, once there will be no more.
    over: Option<Result<(), Failure>>,
    /// Whether nobody takes from it any longer.
    left: bool,
}

impl Reader {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Nothing is done under the lock that could leave the shelf half-changed.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supply {
    /// Requests that are at hand.
    pub(crate) fn of(requests: Vec<Request>) -> Self {
        let one = |request| Conversation { first: Arc::new(request), later: VecDeque::new() };
        let reader =
            Reader { shelf: Mutex::new(Shelf { over: Some(Ok(())), ..Shelf::default() }), ..Reader::default() };
        Self { near: requests.into_iter().map(one).collect(), reader: Arc::new(reader) }
    }

    /// Begins to read, and waits until as much is ready as is ever held ready.
    pub(crate) fn read(requests: Requests) -> Self {
        let reader = Arc::new(Reader::default());
        let shared = Arc::clone(&reader);
        let thread = thread::Builder::new().name("plan".into()).spawn(move || read(requests, &shared));
        let mut shelf = reader.lock();
        if let Err(error) = thread {
            shelf.over =
                Some(Err(Failure::new(Exit::Bug, format!("no thread can be started to read the plan: {error}"))));
        }
        while shelf.over.is_none() && !shelf.is_full() {
            shelf = reader.changed.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
        drop(shelf);
        Self { near: VecDeque::new(), reader }
    }

    /// What is next, if it has been read.
    pub(crate) fn peek(&mut self) -> Option<&Conversation> {
        if self.near.is_empty() {
            let mut shelf = self.reader.lock();
            std::mem::swap(&mut self.near, &mut shelf.ready);
            (shelf.requests, shelf.bytes) = (0, 0);
            drop(shelf);
            self.reader.changed.notify_all();
        }
        self.near.front()
    }

    /// Takes what [`Supply::peek`] showed.
    pub(crate) fn next(&mut self) -> Option<Conversation> {
        self.peek()?;
        self.near.pop_front()
    }

    /// How the plan ended, when nothing of it is left.
    pub(crate) fn over(&mut self) -> Option<Result<(), Failure>> {
        // In this order: what is put on the shelf before its end must not be overlooked.
        let over = self.reader.lock().over.clone();
        if self.peek().is_some() { None } else { over }
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.reader.lock().left = true;
        self.reader.changed.notify_all();
    }
}

impl Shelf {
    fn is_full(&self) -> bool {
        self.requests >= MOST_REQUESTS || self.bytes >= MOST_BYTES
    }
}

fn read(requests: Requests, reader: &Reader) {
    let mut open: Option<Conversation> = None;
    let mut last = None;
    let mut end = Ok(());
    for request in requests {
        let request = match request {
            Ok(request) if last < Some(request.id) => request,
            Ok(request) => {
                let message = format!("the plan is out of order: request {} follows a later one", request.id);
                end = Err(Failure::new(Exit::Input, message));
                break;
            }
            Err(failure) => {
                end = Err(failure);
                break;
            }
        };
        last = Some(request.id);
        match &mut open {
            Some(open) if open.first.session.is_some() && open.first.session == request.session => {
                open.later.push_back(request);
                continue;
            }
            _ => {}
        }
        let next = Conversation { first: Arc::new(request), later: VecDeque::new() };
        if let Some(whole) = open.replace(next)
            && !put(whole, reader)
        {
            return;
        }
    }
    if let Some(whole) = open {
        put(whole, reader);
    }
    reader.lock().over = Some(end);
    reader.changed.notify_all();
}

/// Puts a conversation on the shelf when there is room. `false` when nobody wants it any longer.
fn put(conversation: Conversation, reader: &Reader) -> bool {
    let bytes = conversation.later.iter().chain([&*conversation.first]).map(size).sum::<usize>();
    let mut shelf = reader.lock();
    while shelf.is_full() && !shelf.left {
        shelf = reader.changed.wait(shelf).unwrap_or_else(PoisonError::into_inner);
    }
    if shelf.left {
        return false;
    }
    shelf.requests += 1 + conversation.later.len();
    shelf.bytes += bytes;
    shelf.ready.push_back(conversation);
    let full = shelf.is_full();
    drop(shelf);
    if full {
        reader.changed.notify_all();
    }
    true
}

fn size(request: &Request) -> usize {
    let prompt = &request.prompt;
    let messages: usize = prompt.messages.iter().map(|message| message.content.len()).sum();
    size_of::<Request>() + prompt.text.len() + 4 * prompt.token_ids.as_ref().map_or(0, Vec::len) + messages
}
