//! Progress: a bar on a terminal, plain lines elsewhere.

use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

use sagellm_core::NoProgress;

use super::Printer;

/// Progress of one thing after another.
pub(crate) struct Progress {
    printer: Printer,
    quiet: bool,
    bar: Mutex<Option<ProgressBar>>,
}

/// How an amount is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Bytes,
    Tokens,
}

impl Progress {
    pub(crate) fn new(printer: &Printer, quiet: bool) -> Self {
        Self { printer: printer.clone(), quiet, bar: Mutex::new(None) }
    }

    /// What it writes with.
    pub(crate) fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Begins something of a known or unknown size.
    pub(crate) fn start(&self, what: &str, total: Option<u64>, unit: Unit) {
        if self.quiet {
            return;
        }
        if !self.printer.interactive() {
            self.printer.note(what);
            return;
        }
        let template = match (unit, total) {
            (_, None) => "{spinner} {prefix} {msg}",
            (Unit::Bytes, _) => "{prefix} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}",
            (Unit::Tokens, _) => "{prefix:12} [{bar:24}] {percent:>3}% {msg} ETA {eta}",
        };
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        // The templates above are fixed and valid; the default style would still show the essentials.
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what.to_owned());
        bar.tick();
        self.replace(Some(bar));
    }

    /// For what is over so soon that a line about it would tell nothing: a bar on a terminal, nothing elsewhere.
    pub(crate) fn bar_only(&self) -> &dyn sagellm_core::Progress {
        if self.printer.interactive() { self } else { &NoProgress }
    }

    /// Moves on by an amount.
    pub(crate) fn forward(&self, amount: u64) {
        self.with(|bar| bar.inc(amount));
    }

    /// Says more about what is going on; only on a terminal.
    pub(crate) fn message(&self, text: impl FnOnce() -> String) {
        self.with(|bar| bar.set_message(text()));
    }

    /// Takes the bar away and, unless quiet, leaves a line.
    pub(crate) fn stop(&self, line: Option<&str>) {
        self.replace(None);
        if let Some(line) = line
            && !self.quiet
        {
            self.printer.note(line);
        }
    }

    /// Writes a line unless nothing but results is wanted.
    pub(crate) fn line_unless_quiet(&self, line: &str) {
        if !self.quiet {
            self.line(line);
        }
    }

    /// Writes a line without disturbing the bar.
    pub(crate) fn line(&self, line: &str) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match &*bar {
            Some(bar) => bar.suspend(|| self.printer.note(line)),
            None => self.printer.note(line),
        }
    }

    fn replace(&self, bar: Option<ProgressBar>) {
        let old = std::mem::replace(&mut *self.bar.lock().unwrap_or_else(PoisonError::into_inner), bar);
        if let Some(old) = old {
            old.finish_and_clear();
        }
    }

    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            act(bar);
        }
    }
}

impl sagellm_core::Progress for Progress {
    fn begin(&self, what: &str, total: Option<u64>) {
        self.start(what, total, Unit::Bytes);
    }

    fn advance(&self, amount: u64) {
        self.forward(amount);
    }

    fn finish(&self) {
        self.stop(None);
    }
}
