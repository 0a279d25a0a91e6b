//! Panics of any thread, kept until they are reported.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};
use std::thread;

thread_local! {
    /// How many calls of [`caught`] the current thread is in.
    static CAUGHT: Cell<u32> = const { Cell::new(0) };
}

/// All panics of this process that were not caught by [`caught`], in their order.
static PANICS: Mutex<Vec<Panicked>> = Mutex::new(Vec::new());

/// A panic: an internal fault of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// Name of the thread, or its number.
    pub thread: String,
    /// File, line and column in the source.
    pub place: String,
    /// What the panic says.
    pub message: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "thread `{}` panicked at {}: {}", self.thread, self.place, self.message)
    }
}

/// Keeps every panic from now on and passes it to `report`, in place of Rust's own message on standard error.
pub fn report_panics(report: impl Fn(&Panicked) + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |info| {
        if CAUGHT.get() > 0 {
            return;
        }
        let current = thread::current();
        let panicked = Panicked {
            thread: current.name().map_or_else(|| format!("{:?}", current.id()), str::to_owned),
            place: info.location().map_or_else(|| "an unknown place".into(), ToString::to_string),
            message: message(info.payload()),
        };
        // The list is complete between any two changes of it.
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(panicked.clone());
        report(&panicked);
    }));
}

/// All panics since [`report_panics`] was called.
pub fn panics() -> Vec<Panicked> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Runs code of others that panics on bad input. Such a panic is not a fault of this program: it is not kept, and the
/// caller turns it into an error about the input.
///
/// # Errors
/// The message of the panic.
pub fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    CAUGHT.set(CAUGHT.get() + 1);
    let result = panic::catch_unwind(AssertUnwindSafe(act));
    CAUGHT.set(CAUGHT.get() - 1);
    result.map_err(|payload| message(&*payload))
}

/// The text of a panic.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn panics_of_any_thread_are_kept_with_their_place_unless_they_are_caught() {
        let reported: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&reported);
        report_panics(move |panicked| sink.lock().unwrap().push(panicked.to_string()));
        assert_eq!(caught(|| panic!("bad {}", "input")), Err::<(), _>("bad input".into()));
        assert_eq!(caught(|| 5), Ok(5));
        let named = thread::Builder::new().name("shard-3".into()).spawn(|| panic!("queue is {}", 7)).unwrap();
        assert!(named.join().is_err());
        drop(panic::take_hook());
        let kept = panics();
        // Other tests of this process may panic on purpose, too.
        let ours = kept.iter().find(|panicked| panicked.thread == "shard-3").unwrap();
        assert_eq!(ours.message, "queue is 7");
        assert!(ours.place.contains("panics.rs:"), "{}", ours.place);
        assert!(!kept.iter().any(|panicked| panicked.message == "bad input"), "{kept:?}");
        assert!(reported.lock().unwrap().contains(&ours.to_string()));
    }
}
