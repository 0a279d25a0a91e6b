//! Lines on standard output and standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use sagellm_core::{Exit, Failure, Panicked, plain, plain_json};
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

    /// What no text of a server may show.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Writes a result. A reader that has seen enough is not an error.
    pub(crate) fn result(&self, text: &str) -> Result<(), Failure> {
        self.bytes(shown(text, self.look.colour).as_bytes())
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
        let _ = writeln!(io::stderr().lock(), "{}", plain(line));
    }

    /// The last words of the program: whoever still wants to say something waits in vain while the answer is held.
    pub(crate) fn last(&self, line: &str) -> io::StderrLock<'static> {
        let mut silence = io::stderr().lock();
        let _ = writeln!(silence, "{line}");
        silence
    }

    /// Writes what a thread panicked of, and whom to report it to.
    pub(crate) fn panicked(&self, panicked: &Panicked) {
        self.note(&format!("error: internal fault: {}", self.secrets.redact(&panicked.to_string())));
        self.note(concat!("hint: please report it at ", env!("CARGO_PKG_REPOSITORY"), "/issues"));
    }

    /// Writes an error and its hint.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.note(&format!("error: {}", failure.message));
        if let Some(hint) = &failure.hint {
            self.note(&format!("hint: {hint}"));
        }
    }
}

/// The colors of tables.
const COLORS: [&str; 4] = ["\u{1b}[1m", "\u{1b}[1;32m", "\u{1b}[1;31m", "\u{1b}[0m"];

/// A result as it may reach a terminal: plain but for the colors of tables, where it has colors.
fn shown(text: &str, colored: bool) -> String {
    if text.starts_with(['{', '[']) {
        return plain_json(text).into_owned();
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\u{1b}').filter(|_| colored) {
        let color = COLORS.into_iter().find(|color| rest[at..].starts_with(color)).unwrap_or_default();
        out.push_str(&plain(&rest[..at]));
        out.push_str(color);
        let escape = if color.is_empty() { 1 } else { color.len() };
        if color.is_empty() {
            out.push_str(&plain(&rest[at..at + escape]));
        }
        rest = &rest[at + escape..];
    }
    out + &plain(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_colors_steers_the_terminal() {
        let text = "\u{1b}[1;32mVALID\u{1b}[0m m\u{1b}]0;x\u{7}\u{1b}[31mred\n";
        assert_eq!(shown(text, true), "\u{1b}[1;32mVALID\u{1b}[0m m\\u{1b}]0;x\\u{7}\\u{1b}[31mred\n");
        assert!(!shown(text, false).contains('\u{1b}'));
        assert_eq!(shown("{\"a\": \"\u{9b}\"}\n", true), "{\"a\": \"\\u009b\"}\n");
    }
}
