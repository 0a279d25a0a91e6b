//! Ctrl-C and its kin.

use std::fs;
use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sagellm_core::{Exit, Failure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::terminal::Printer;

/// Whether somebody wants the program to end.
///
/// Before measuring or serving starts there is nothing to save: the first signal ends the program. From then on the
/// first one asks for an orderly end and the second does not wait for it.
pub(crate) struct Interrupt {
    wanted: Arc<AtomicBool>,
    orderly: Arc<AtomicBool>,
    last_words: Arc<Mutex<Vec<LastWord>>>,
}

/// What has to be done before the program ends at once.
type LastWord = Box<dyn Fn() + Send>;

impl Interrupt {
    /// Starts to listen.
    pub(crate) fn listen(printer: &Printer) -> Result<Self, Failure> {
        let line = "interrupted: finishing what runs for a second, then saving (again to stop at once)";
        Self::start(printer, Some(line))
    }

    /// The same for a program that says nothing about its orderly end.
    pub(crate) fn listen_quietly(printer: &Printer) -> Result<Self, Failure> {
        Self::start(printer, None)
    }

    fn start(printer: &Printer, asked: Option<&'static str>) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::new(Exit::Bug, format!("cannot listen for signals: {error}"));
        let interrupt = Self { wanted: Arc::default(), orderly: Arc::default(), last_words: Arc::default() };
        let (wanted, orderly) = (Arc::clone(&interrupt.wanted), Arc::clone(&interrupt.orderly));
        let last_words = Arc::clone(&interrupt.last_words);
        // A server that was launched is in a group of its own and would outlive the terminal.
        let hangup = hangup_ends().then_some(SIGHUP);
        let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup)).map_err(failed)?;
        let printer = printer.clone();
        let watch = move || {
            for _ in signals.forever() {
                if wanted.swap(true, Ordering::Relaxed) || !orderly.load(Ordering::Relaxed) {
                    // What fails because its files are removed under it has nothing to tell.
                    let _silence = printer.last("interrupted");
                    last_words.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|act| act());
                    process::exit(i32::from(Exit::Interrupted.code()));
                }
                asked.into_iter().for_each(|line| printer.note(line));
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(failed)?;
        Ok(interrupt)
    }

    /// Has `act` called when the program ends at once: what is dropped in an orderly end is not dropped then.
    pub(crate) fn before_exit(&self, act: impl Fn() + Send + 'static) {
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(act));
    }

    /// An error once somebody wants the program to end.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.wanted.load(Ordering::Relaxed) { Err(Failure::new(Exit::Interrupted, "interrupted")) } else { Ok(()) }
    }

    /// From here on an end has to be orderly.
    pub(crate) fn orderly(&self) -> &Arc<AtomicBool> {
        self.orderly.store(true, Ordering::Relaxed);
        &self.wanted
    }
}

/// Whether a terminal that is closed is to end the program: `nohup` has this signal ignored from the start. Where the
/// system does not tell, it stays as it is.
fn hangup_ends() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored & (1 << (SIGHUP - 1)) == 0)
}
