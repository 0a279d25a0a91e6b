//! Errors that a person can act on: a message, a hint, and the exit code they end in.

use std::fmt;

/// The exit codes of the program. They are part of its interface: scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done and valid.
    Ok = 0,
    /// The program itself is at fault.
    Bug = 1,
    /// The command line is wrong or asks for what is not supported.
    Usage = 2,
    /// An input file, a model, or an output place cannot be used.
    Input = 3,
    /// The backend cannot be reached or refuses.
    Backend = 4,
    /// The run finished but is INVALID or over the error limit.
    Invalid = 5,
    /// A gate failed.
    Gate = 6,
    /// Inconclusive where a conclusion was required.
    Inconclusive = 7,
    /// Interrupted; results so far are saved and marked.
    Interrupted = 130,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// What every library error of the workspace can say beside its message.
pub trait UserError: std::error::Error {
    /// The exit code of a program that ends for this reason.
    fn exit(&self) -> Exit;
    /// What the person can do about it, as a phrase for a `hint:` line.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// An error made ready for the terminal: any [`UserError`] turns into one.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong and where: one line.
    pub message: String,
    /// What to do about it: one line.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl<E: UserError> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = inner.source();
        }
        Self { exit: error.exit(), message, hint: error.hint() }
    }
}
