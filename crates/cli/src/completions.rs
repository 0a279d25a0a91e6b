//! `completions`: what a shell has to know to complete this program's options.

use clap::CommandFactory;
use sagellm_core::{Exit, Failure};

use crate::args::{Cli, CompletionsArgs};
use crate::terminal::Printer;

pub(crate) fn completions(args: &CompletionsArgs, printer: &Printer) -> Result<Exit, Failure> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    printer.bytes(&script)?;
    Ok(Exit::Ok)
}
