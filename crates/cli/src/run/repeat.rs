//! The same again and again: what differs from run to run is not to be seen in one.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sagellm_core::{Exit, Failure};
use sagellm_report::render::{Format, repeats};
use sagellm_report::{MANIFEST_FILE, Summary};

use super::{OwnedFolder, gates, once};
use crate::args::RunArgs;
use crate::signals::Interrupt;
use crate::terminal::Printer;

/// What the folder of a run is called, before its number.
const FOLDER: &str = "run-";

/// Runs as often as asked, and shows what the runs have in common. The exit code is the worst of theirs.
pub(super) fn run(mut args: RunArgs, interrupt: &Interrupt, printer: &Printer) -> Result<Exit, Failure> {
    if !matches!(args.format, Format::Table | Format::Markdown) {
        let message = "`--repeat` shows all runs together, as `--format table` or `markdown`";
        return Err(Failure::new(Exit::Usage, message).with_hint("use `report` for the folder of each run afterwards"));
    }
    let folder = args.output.clone();
    check_folder(&folder, args.repeat)?;
    let gates = gates(&args)?;
    let _owned = OwnedFolder::take(&folder, interrupt)?;
    let summaries: Arc<Mutex<Vec<Summary>>> = Arc::default();
    let (kept, markdown, out) = (Arc::clone(&summaries), args.format == Format::Markdown, printer.clone());
    let show = move || {
        let summaries = kept.lock().unwrap_or_else(PoisonError::into_inner);
        match (&summaries[..], markdown) {
            ([], _) => Ok(()),
            (done, true) => out.result(&repeats::markdown(done)),
            (done, false) => out.result(&repeats::table(done)),
        }
    };
    // A signal that ends a later run at once does not lose the table of those that are done.
    let at_exit = show.clone();
    let hook = interrupt.while_kept(move || drop(at_exit()));
    let mut worst = Exit::Ok;
    for nth in 0..args.repeat {
        (args.nth, args.runs_before) = (nth, nth);
        args.output = folder.join(format!("{FOLDER}{}", nth + 1));
        if !args.quiet {
            printer.note(&format!("Run {} of {}", nth + 1, args.repeat));
        }
        let exit = match once(&args, interrupt, printer) {
            Ok((summary, exit)) => {
                summaries.lock().unwrap_or_else(PoisonError::into_inner).push(summary);
                exit
            }
            Err(failure) if nth > 0 => {
                printer.failure(&failure);
                failure.exit
            }
            Err(failure) => return Err(failure),
        };
        worst = worse(worst, exit);
        // An INVALID run says nothing against the next one.
        if !matches!(exit, Exit::Ok | Exit::Invalid) || interrupt.check().is_err() {
            break;
        }
    }
    drop(hook);
    show()?;
    let done = summaries.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let worst = gates.finish(&done, worst, args.format, printer)?;
    if !args.quiet {
        printer.note(&format!("Results are in {}/{FOLDER}1 to {}", folder.display(), done.len()));
    }
    Ok(worst)
}

/// What ended the runs early says more than a run that is INVALID.
pub(crate) fn worse(one: Exit, other: Exit) -> Exit {
    match (one, other) {
        (Exit::Ok, other) => other,
        (one, Exit::Ok) => one,
        (Exit::Invalid, other) => other,
        (one, _) => one,
    }
}

/// Whoever reads the folder takes all runs in it for runs of the same.
fn check_folder(folder: &Path, runs: u32) -> Result<(), Failure> {
    let refuse = |what: String| {
        let message = format!("`{}` holds {what} already", folder.display());
        Err(Failure::new(Exit::Input, message).with_hint("choose another folder with `--output`, or remove this one"))
    };
    if folder.join(MANIFEST_FILE).exists() {
        return refuse("a single run".into());
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = (1..=runs).any(|nth| name == format!("{FOLDER}{nth}"));
        if !ours && entry.path().join(MANIFEST_FILE).exists() {
            return refuse(format!("the run `{name}`"));
        }
    }
    Ok(())
}
