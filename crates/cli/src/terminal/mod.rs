//! The only place that writes to the terminal. Results go to standard output, all else to standard error.

mod bar;
mod printer;

pub(crate) use bar::{Progress, Unit};
pub(crate) use printer::Printer;
