//! Signals: what Ctrl-C and the others do at each stage of the program.

use std::fs;
use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sagellm_core::{Exit, Failure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::terminal::Printer;

/// Longest wait for the records of what was in flight, once the program was asked twice to end.
const HURRY: Duration = Duration::from_secs(3);

/// The signals that ask for an end.
///
/// There is nothing to save while nothing is measured or served: the first signal ends the program. While an [`Orderly`]
/// exists, the first one asks for an orderly end, the second for one without a summary, and the third does not wait.
pub(crate) struct Interrupt(Arc<State>);

#[derive(Default)]
struct State {
    wanted: Arc<AtomicBool>,
    hurried: AtomicBool,
    orderly: AtomicBool,
    hooks: Mutex<Hooks>,
}

/// What has to be done before the program ends at once.
#[derive(Default)]
struct Hooks {
    next: u64,
    all: Vec<(u64, Box<dyn Fn() + Send>)>,
}

impl Interrupt {
    /// Starts to listen.
    pub(crate) fn listen(printer: &Printer) -> Result<Self, Failure> {
        let line = "interrupted: waiting up to 1 s for requests in flight, then saving; press Ctrl-C again to skip the \
                    summary";
        Self::start(printer, Some(line))
    }

    /// The same for a program that says nothing about its orderly end and saves nothing.
    pub(crate) fn listen_quietly(printer: &Printer) -> Result<Self, Failure> {
        Self::start(printer, None)
    }

    fn start(printer: &Printer, asked: Option<&'static str>) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::new(Exit::Bug, format!("cannot listen for signals: {error}"));
        let state = Arc::new(State::default());
        // A write beyond the limit on file sizes then fails, and the error names the file.
        signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(failed)?;
        // A server that was launched is in its own process group and would outlive the terminal.
        let hangup = hangup_ends().then_some(SIGHUP);
        let listened = [SIGINT, SIGTERM, SIGQUIT, SIGXCPU].into_iter().chain(hangup);
        let mut signals = Signals::new(listened).map_err(failed)?;
        let (printer, listener) = (printer.clone(), Arc::clone(&state));
        let watch = move || {
            for signal in signals.forever() {
                listener.receive(signal, &printer, asked);
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(|error| {
            Failure::new(Exit::Input, format!("cannot start a thread: {error}"))
                .with_hint("raise the limits on memory and processes (`ulimit -v`, `ulimit -u`)")
        })?;
        Ok(Self(state))
    }

    /// Has `act` called when the program ends at once, until the program ends.
    pub(crate) fn before_exit(&self, act: impl Fn() + Send + 'static) {
        std::mem::forget(self.while_kept(act));
    }

    /// Has `act` called when the program ends at once, as long as the result is kept: what is dropped in an orderly end is
    /// not dropped then.
    pub(crate) fn while_kept(&self, act: impl Fn() + Send + 'static) -> ExitHook {
        let mut hooks = self.0.hooks();
        hooks.next += 1;
        let id = hooks.next;
        hooks.all.push((id, Box::new(act)));
        drop(hooks);
        ExitHook { state: Arc::clone(&self.0), id }
    }

    /// An error once the program was asked to end.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let wanted = self.0.wanted.load(Ordering::Relaxed);
        if wanted { Err(Failure::new(Exit::Interrupted, "interrupted")) } else { Ok(()) }
    }

    /// An error once the program was asked twice to end.
    pub(crate) fn check_hurried(&self) -> Result<(), Failure> {
        let hurried = self.0.hurried.load(Ordering::Relaxed);
        if hurried { Err(Failure::new(Exit::Interrupted, "interrupted: no summary was written")) } else { Ok(()) }
    }

    /// Makes an end orderly as long as the result is kept.
    pub(crate) fn orderly(&self) -> Orderly<'_> {
        self.0.orderly.store(true, Ordering::Relaxed);
        Orderly(&self.0)
    }
}

/// Calls its action when the program ends at once. Dropping it withdraws the action.
#[must_use = "dropping it withdraws the action"]
pub(crate) struct ExitHook {
    state: Arc<State>,
    id: u64,
}

impl Drop for ExitHook {
    fn drop(&mut self) {
        self.state.hooks().all.retain(|(id, _)| *id != self.id);
    }
}

/// An activity that ends in order when the program is asked to end. Dropping it restores the default: an end at once.
pub(crate) struct Orderly<'a>(&'a State);

impl Orderly<'_> {
    /// Becomes true when the program is asked to end.
    pub(crate) fn stop(&self) -> &Arc<AtomicBool> {
        &self.0.wanted
    }

    /// Becomes true when it is asked a second time.
    pub(crate) fn hurry(&self) -> &AtomicBool {
        &self.0.hurried
    }
}

impl Drop for Orderly<'_> {
    fn drop(&mut self) {
        self.0.orderly.store(false, Ordering::Relaxed);
    }
}

impl State {
    fn receive(self: &Arc<Self>, signal: i32, printer: &Printer, asked: Option<&'static str>) {
        match signal {
            SIGQUIT => self.end_by(signal, printer, "ended by SIGQUIT"),
            SIGXCPU => {
                self.end_by(signal, printer, "ended by SIGXCPU: the limit on processor time (`ulimit -t`) is used up")
            }
            _ => {}
        }
        let first = !self.wanted.swap(true, Ordering::Relaxed);
        if !self.orderly.load(Ordering::Relaxed) {
            self.end(printer);
        } else if first {
            asked.into_iter().for_each(|line| printer.note(line));
        } else if asked.is_none() || self.hurried.swap(true, Ordering::Relaxed) {
            self.end(printer);
        } else {
            printer.note("interrupted again: writing the records of requests in flight, then ending without a summary");
            let (state, printer) = (Arc::clone(self), printer.clone());
            std::thread::spawn(move || {
                std::thread::sleep(HURRY);
                state.end(&printer);
            });
        }
    }

    /// Ends the program at once.
    fn end(&self, printer: &Printer) -> ! {
        // Errors of what fails because its files are removed under it would only confuse.
        let _silence = printer.last("interrupted");
        self.run_hooks();
        process::exit(i32::from(Exit::Interrupted.code()));
    }

    /// The same as by the signal itself, which a shell then reports.
    fn end_by(&self, signal: i32, printer: &Printer, line: &str) {
        let _silence = printer.last(line);
        self.run_hooks();
        if emulate_default_handler(signal).is_err() {
            process::exit(128 + signal);
        }
    }

    fn run_hooks(&self) {
        self.hooks().all.iter().rev().for_each(|(_, act)| act());
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether closing the terminal ends the program: `nohup` sets this signal to be ignored. Where the system does not say,
/// the default is kept.
fn hangup_ends() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored & (1 << (SIGHUP - 1)) == 0)
}
