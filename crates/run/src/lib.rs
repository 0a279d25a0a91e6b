//! Paces a plan onto a backend and keeps its journal.
//!
//! [`execute`] sends the warm-up, opens the window, and offers the measured requests when they are
//! due. Every request ends as one line of the [`Journal`], whatever happened to it; nothing here computes a figure.

mod conversation;
mod dispatch;
mod error;
mod execute;
mod flights;
mod journal;
mod keeper;
mod observer;
mod stalls;
mod supply;
mod warmup;

pub use error::RunError;
pub use execute::{RunOptions, WorkloadRun, execute};
pub use journal::Journal;
pub use observer::{Observed, Observer, Silent, Watch};
