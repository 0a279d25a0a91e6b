//! What lies in the folder of a sweep: the earlier part of the same sweep, or something that is refused.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use sagellm_core::{Exit, Failure, Source};
use sagellm_plan::names_file;
use sagellm_report::sweep::{Axis, SWEEP_FILE, Sweep};
use sagellm_report::{Identity, MANIFEST_FILE, read_manifest};
use sha2::{Digest, Sha256};

use crate::args::{RunArgs, WorkloadArgs};
use crate::run::identity;
use crate::signals::Interrupt;
use crate::terminal::Printer;
use crate::workloads::specs;

/// Returns the sweep that the folder holds, or else `new`.
///
/// Refuses a sweep with other settings, runs without a `sweep.json` that says what they are, and a file that cannot be read.
pub(super) fn resume(folder: &Path, new: Sweep) -> Result<Sweep, Failure> {
    let refuse = |what: &str| {
        let message = format!("`{}` holds {what}", folder.display());
        Err(Failure::new(Exit::Input, message).with_hint("choose another folder with `--output`"))
    };
    let file = folder.join(SWEEP_FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return match runs(folder).is_empty() {
                true => Ok(new),
                false => refuse(&format!("runs of a sweep, but no `{SWEEP_FILE}`")),
            };
        }
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", file.display());
            return Err(Failure::new(Exit::Input, message).with_hint("choose another folder with `--output`"));
        }
    };
    match serde_json::from_str::<Sweep>(&text) {
        Ok(known) if known.settings != new.settings => refuse("a sweep with other settings"),
        Ok(known) if known.axis != new.axis => refuse("a sweep over the other kind of load"),
        Ok(known) => Ok(known),
        Err(_) => refuse("a sweep that cannot be read"),
    }
}

/// Checks that every finished run in the folder measured what a new run would measure. Returns what that is; `None` when
/// there is no finished run. Only then is the server asked.
pub(super) fn check_runs(
    folder: &Path,
    run: &RunArgs,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Result<Option<Identity>, Failure> {
    let mut finished = Vec::new();
    for run in runs(folder) {
        if let Some(manifest) = read_manifest(&run)?.filter(|manifest| manifest.finished && !manifest.interrupted) {
            finished.push((run, Identity::of(&manifest)));
        }
    }
    if finished.is_empty() {
        return Ok(None);
    }
    let now = identity(run, interrupt, printer)?;
    finished.iter().try_for_each(|(run, before)| check_same(run, before, &now))?;
    Ok(Some(now))
}

/// Refuses to continue a run of something else.
pub(super) fn check_same(run: &Path, before: &Identity, now: &Identity) -> Result<(), Failure> {
    let differences = before.differences(now);
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` measured something else: {}", run.display(), differences.join("; "));
    Err(Failure::new(Exit::Input, message).with_hint("choose another folder with `--output`"))
}

/// The folders of runs below the folder of a sweep, finished or not.
pub(super) fn runs(folder: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path, is_wanted: fn(&str) -> bool| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let wanted = entries.filter(move |entry| is_wanted(&entry.file_name().to_string_lossy()));
        wanted.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let loads = below(folder, |name| Axis::ALL.iter().any(|axis| name.starts_with(axis.prefix())));
    let runs = loads.iter().flat_map(|load| below(load, |name| name.starts_with("run-")));
    let mut runs: Vec<_> = runs.filter(|run| run.join(MANIFEST_FILE).exists()).collect();
    runs.sort();
    runs
}

/// A hash over the contents of the files that requests are made of: the workload file and the data sets. Empty when there
/// are none.
pub(super) fn inputs(args: &WorkloadArgs) -> Result<String, Failure> {
    let mut files = Vec::new();
    if args.dataset.dataset_name.is_none() && names_file(&args.workload) {
        files.push(PathBuf::from(&args.workload));
    }
    files.extend(specs(args)?.into_iter().filter_map(|spec| match spec.source {
        Source::Sharegpt { path, .. } | Source::Custom { path, .. } | Source::Trace { path, .. } => Some(path),
        _ => None,
    }));
    if files.is_empty() {
        return Ok(String::new());
    }
    let mut hash = Sha256::new();
    for file in files {
        let failed = |error: io::Error| {
            let failure = Failure::new(Exit::Input, format!("cannot read `{}`: {error}", file.display()));
            failure.with_hint("check that it is a readable file")
        };
        let mut reader = BufReader::with_capacity(1 << 20, fs::File::open(&file).map_err(failed)?);
        let mut one = Sha256::new();
        loop {
            let part = reader.fill_buf().map_err(failed)?;
            if part.is_empty() {
                break;
            }
            one.update(part);
            let length = part.len();
            reader.consume(length);
        }
        hash.update(one.finalize());
    }
    Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}
