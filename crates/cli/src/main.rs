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

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use sagellm_core::{Exit, Failure};

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
    // What a library panics over is turned into an error where it can be; only what nobody caught is told, below.
    panic::set_hook(Box::new(|_| ()));
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
    let exit = result.unwrap_or_else(|cause| Err(fault(&*cause))).unwrap_or_else(|failure| {
        printer.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit.code())
}

/// A panic that nobody caught: a fault of this program.
fn fault(cause: &(dyn Any + Send)) -> Failure {
    let what = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    Failure::new(Exit::Bug, format!("internal fault: {}", what.unwrap_or("unknown"))).with_hint(concat!(
        "please report it at ",
        env!("CARGO_PKG_REPOSITORY"),
        "/issues"
    ))
}
