//! `man`: manual pages.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use sagellm_core::{Exit, Failure};
use sagellm_report::write_atomic;

use crate::args::{Cli, ManArgs};
use crate::terminal::Printer;

pub(crate) fn man(args: &ManArgs, printer: &Printer) -> Result<Exit, Failure> {
    // `man sagellm-benchmark-run` shows what `help run` would.
    let mut command = Cli::command().disable_help_subcommand(true);
    // Gives each command its whole name.
    command.build();
    match &args.output {
        None => printer.bytes(&page(&Man::new(command))?)?,
        Some(folder) => {
            fs::create_dir_all(folder)
                .map_err(|error| Failure::new(Exit::Input, format!("cannot make `{}`: {error}", folder.display())))?;
            write(&command, folder)?;
        }
    }
    Ok(Exit::Ok)
}

/// Writes the page of a command and those of the commands below it.
fn write(command: &Command, folder: &Path) -> Result<(), Failure> {
    for below in command.get_subcommands() {
        write(below, folder)?;
    }
    let man = Man::new(command.clone());
    write_atomic(&folder.join(man.get_filename()), &page(&man)?)?;
    Ok(())
}

fn page(man: &Man) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    man.render(&mut page).map_err(|error| Failure::new(Exit::Bug, format!("a manual page cannot be made: {error}")))?;
    Ok(page)
}
