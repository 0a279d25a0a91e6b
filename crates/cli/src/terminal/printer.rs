//! Lines on standard output and standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use sagellm_core::{Exit, Failure};
use sagellm_report::render::{Look, WIDE};
use terminal_size::{Width, terminal_size_of};

use crate::secrets::Secrets;

/// Writes to the terminal, or to whatever stands in for it.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    look: Look,
    interactive: bool,
    secrets: Secrets,
}

impl Printer {
    /// Colours are for terminals only, and not where `NO_COLOR` is set or the terminal is `dumb`.
    pub(crate) fn new() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            look: Look {
                colour: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
                wide: terminal_size_of(io::stdout()).is_some_and(|(Width(columns), _)| columns >= WIDE),
            },
            interactive: io::stderr().is_terminal() && !dumb,
            secrets: Secrets::default(),
        }
    }

    /// How a table is to look on standard output.
    pub(crate) fn look(&self) -> Look {
        self.look
    }

    /// Whether something that moves may be drawn on standard error.
    pub(crate) fn interactive(&self) -> bool {
        self.interactive
    }

    /// What it leaves out of everything that it writes.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Writes a result, byte for byte but for secrets. A reader that has seen enough is no error.
    pub(crate) fn result(&self, text: &str) -> Result<(), Failure> {
        self.bytes(self.secrets.redact(text).as_bytes())
    }

    /// The same of a result that may be no text.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Input, format!("cannot write to standard output: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Writes one line about what is going on.
    pub(crate) fn note(&self, line: &str) {
        // There is nowhere left to say that standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{}", self.secrets.redact(line));
    }

    /// The last words of the program: whoever still wants to say something waits in vain while the answer is held.
    pub(crate) fn last(&self, line: &str) -> io::StderrLock<'static> {
        let mut silence = io::stderr().lock();
        let _ = writeln!(silence, "{line}");
        silence
    }

    /// Writes an error and its hint.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.note(&format!("error: {}", failure.message));
        if let Some(hint) = &failure.hint {
            self.note(&format!("hint: {hint}"));
        }
    }
}
