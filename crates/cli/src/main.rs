//! The program `sagellm-benchmark`.

mod args;
mod calibrate;
mod compare;
mod completions;
mod gates;
mod history;
mod man;
mod plan;
mod report;
mod run;
mod schema;
mod secrets;
mod serve;
mod signals;
mod sweep;
mod terminal;
mod vllm_flags;
mod workloads;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use sagellm_core::{Exit, panics, report_panics};

use args::{Cli, Command};
use terminal::Printer;

/// The commit that the program was built from, where there was one.
const GIT_COMMIT: Option<&str> = option_env!("SAGELLM_GIT_COMMIT");

fn main() -> ExitCode {
    let printer = Printer::new();
    let cli = match Cli::parse_or_explain() {
        Ok(cli) => cli,
        Err(failure) => {
            printer.failure(&failure);
            return ExitCode::from(failure.exit.code());
        }
    };
    let reporter = printer.clone();
    report_panics(move |panicked| reporter.panicked(panicked));
    let result = panic::catch_unwind(AssertUnwindSafe(|| match cli.command {
        Command::Run(args) => run::run(*args, &printer),
        Command::Plan(args) => plan::plan(&args, &printer),
        Command::Report(args) => report::report(&args, &printer),
        Command::Compare(args) => compare::run(&args, &printer),
        Command::History(args) => history::run(&args, &printer),
        Command::Sweep(args) => sweep::sweep(*args, &printer),
        Command::Calibrate(args) => calibrate::calibrate(&args, &printer),
        Command::Serve(args) => serve::serve(&args, &printer),
        Command::Schema(args) => schema::schema(&args, &printer),
        Command::Completions(args) => completions::completions(&args, &printer),
        Command::Man(args) => man::man(&args, &printer),
    }));
    // A panic of this thread has been reported, as that of any other.
    let exit = result.unwrap_or(Ok(Exit::Bug)).unwrap_or_else(|failure| {
        printer.failure(&failure);
        failure.exit
    });
    let exit = if panics().is_empty() { exit } else { Exit::Bug };
    ExitCode::from(exit.code())
}
