//! The program `sagellm-benchmark`.

mod args;
mod report;
mod run;
mod schema;
mod signals;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use sagellm_core::{Exit, Failure};

use args::{Cli, Command};
use terminal::Printer;

/// The commit that the program was built from, where there was one.
const GIT_COMMIT: Option<&str> = option_env!("SAGELLM_GIT_COMMIT");

fn main() -> ExitCode {
    // Clap prints help and usage errors itself, and exits with 0 or 2.
    let cli = Cli::parse();
    let printer = Printer::new();
    let result: Result<Exit, Failure> = match cli.command {
        Command::Run(args) => run::run(*args, &printer),
        Command::Report(args) => report::report(&args, &printer),
        Command::Schema(args) => schema::schema(&args, &printer),
    };
    let exit = result.unwrap_or_else(|failure| {
        printer.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit.code())
}
