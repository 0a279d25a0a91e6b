//! The folder of a run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use sagellm_core::{BackendInfo, Clock, Exit, Failure, Panicked};
use sagellm_plan::{PlanError, PlanFile};
use sagellm_report::{Hashes, Host, MANIFEST_FILE, Manifest, Summary, summarize_folder, write_json, write_results};
use sagellm_run::Journal;
use sagellm_telemetry::host;

use super::config;
use super::folder::{Earlier, OwnedFolder, inside};
use super::server::SERVER_LOG;
use super::vanished::FolderWatch;
use crate::args::{Pair, RunArgs};
use crate::secrets::{hide_in_note, hide_in_word};
use crate::signals::Interrupt;
use crate::terminal::Progress;

/// Name of the plan in the folder of a run.
pub(crate) const PLAN_FILE: &str = "plan.jsonl";

/// Where results go, known to be writable, with nothing written yet.
pub(super) struct Output {
    folder: OwnedFolder,
    earlier: Option<Earlier>,
    overwrite: bool,
    /// Whether a server is launched, whose log is the first file that is written.
    launches: bool,
    json: Option<PathBuf>,
}

/// The folder once measuring begins.
pub(super) struct OpenOutput {
    owned: OwnedFolder,
    /// The owned folder, or where its content is saved when it cannot be restored.
    folder: PathBuf,
    json: Option<PathBuf>,
    manifest: Manifest,
    /// Open files of the folder, from which it is restored if it disappears.
    kept: Vec<(PathBuf, File)>,
    _watch: FolderWatch,
}

impl Output {
    /// Checks that results can be written, before time is spent on making them.
    pub(super) fn check(args: &RunArgs, interrupt: &Interrupt) -> Result<Self, Failure> {
        let twice = |nth: usize| args.metadata[..nth].iter().any(|before| before.key == args.metadata[nth].key);
        if let Some(nth) = (0..args.metadata.len()).find(|nth| twice(*nth)) {
            let message = format!("`--metadata {}` is given twice", args.metadata[nth].key);
            return Err(Failure::new(Exit::Usage, message).with_hint("give every note a name of its own"));
        }
        check_folder(&args.output)?;
        if let Some(file) = &args.output_json {
            // Files are put in place by renaming, which would replace a device or a pipe instead of writing to it.
            if file.exists() && !file.is_file() {
                let what = if file.is_dir() { "a folder" } else { "no regular file" };
                let message = format!("cannot write `{}`: it is {what}", file.display());
                return Err(Failure::new(Exit::Input, message).with_hint("give `--output-json` the name of a file"));
            }
            check_folder(file.parent().unwrap_or(Path::new("")))?;
        }
        Ok(Self {
            folder: OwnedFolder::take(&args.output, interrupt)?,
            earlier: Earlier::find(&args.output),
            overwrite: args.overwrite,
            launches: args.server.launch.is_some(),
            json: args.output_json.clone(),
        })
    }

    /// Where the log of a server goes; that of an earlier run is moved away.
    pub(super) fn log(&self) -> Result<PathBuf, Failure> {
        if let Some(earlier) = self.earlier.as_ref().filter(|_| !self.overwrite) {
            earlier.keep_log()?;
        }
        Ok(self.folder.path().join(SERVER_LOG))
    }

    /// A place for what is not kept, on the same file system as the results.
    pub(super) fn scratch(&self) -> Result<Scratch, Failure> {
        Ok(Scratch { folder: self.folder.scratch()?, plan: self.folder.path().join(PLAN_FILE) })
    }

    /// Moves results of an earlier run out of the way, and notes in the folder what is about to be run.
    pub(super) fn open(
        self,
        args: &RunArgs,
        plan: &mut PlanFile,
        hashes: Hashes,
        backend: BackendInfo,
        clock: Clock,
        progress: &Progress,
    ) -> Result<OpenOutput, Failure> {
        self.make_room(progress)?;
        let folder = self.folder.path().to_owned();
        let mut manifest = Manifest::new(env!("CARGO_PKG_VERSION"), clock.started_at(), backend, describe_host());
        manifest.git_commit = crate::GIT_COMMIT.map(str::to_owned);
        manifest.command_line = config::command_line();
        manifest.config = config::of(args);
        manifest.config.insert("model".into(), hide_in_word(&manifest.backend.model.name));
        let note = |pair: &Pair| (pair.key.clone(), hide_in_note(&pair.key, &pair.value));
        manifest.metadata = args.metadata.iter().map(note).collect();
        manifest.seeds = seeds(plan);
        manifest.hashes = hashes;
        let watch = FolderWatch::start(&folder, progress.printer());
        let mut open =
            OpenOutput { owned: self.folder, folder, json: self.json, manifest, kept: Vec::new(), _watch: watch };
        open.write_manifest()?;
        plan.keep(&open.folder.join(PLAN_FILE))?;
        open.keep(PLAN_FILE.into());
        open.owned.drop_scratch();
        Ok(open)
    }

    fn make_room(&self, progress: &Progress) -> Result<(), Failure> {
        let is_outside = |file: &&PathBuf| file.is_file() && inside(self.folder.path(), file).is_none();
        if let Some(file) = self.json.as_ref().filter(is_outside) {
            progress.line_unless_quiet(&format!("note: `{}` exists and will be replaced", file.display()));
        }
        let Some(earlier) = &self.earlier else { return Ok(()) };
        let folder = self.folder.path().display();
        if self.overwrite {
            return earlier.delete(self.launches);
        }
        earlier.keep(self.json.as_deref(), self.launches)?;
        progress.line_unless_quiet(&format!(
            "note: `{folder}` contained the results of the run of {}; they are in `{}` now (`--overwrite` deletes them)",
            earlier.started_at,
            earlier.place.display()
        ));
        Ok(())
    }
}

/// A folder for what is not kept.
pub(super) struct Scratch {
    folder: PathBuf,
    /// Where the plan in it is to go.
    plan: PathBuf,
}

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// An error about the plan, by the name that the plan will have.
    pub(super) fn name(&self, error: PlanError) -> PlanError {
        match error {
            PlanError::File { action, source, .. } => PlanError::File { path: self.plan.clone(), action, source },
            other => other,
        }
    }
}

impl OpenOutput {
    /// The journal of a workload.
    pub(super) fn journal(&self, workload: &str) -> PathBuf {
        Journal::path(&self.folder, workload)
    }

    /// Keeps a file of the folder open, so that its content is not lost if the folder disappears.
    pub(super) fn keep(&mut self, name: PathBuf) {
        // Without it the folder is just not restored in full.
        self.kept.extend(File::open(self.folder.join(&name)).ok().map(|file| (name, file)));
    }

    /// The same of a file that is open.
    pub(super) fn keep_open(&mut self, path: &Path, file: File) {
        self.kept.extend(path.file_name().map(|name| (PathBuf::from(name), file)));
    }

    /// Writes the results of what has been run so far, so that a crash later loses none of them.
    pub(super) fn save(&mut self) -> Result<Summary, Failure> {
        self.restore()?;
        let summary = summarize_folder(&self.folder)?;
        write_results(&self.folder, &summary)?;
        if let Some(file) = &self.json {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::create_dir_all(folder).map_err(|error| {
                Failure::new(Exit::Input, format!("cannot create directory `{}`: {error}", folder.display()))
            })?;
            write_json(file, &summary.workloads)?;
        }
        Ok(summary)
    }

    /// Marks the run as over and writes everything for the last time. `faults` are the panics during the run.
    pub(super) fn finish(&mut self, interrupted: bool, faults: &[Panicked]) -> Result<Summary, Failure> {
        self.end(interrupted, faults)?;
        self.save()
    }

    /// Marks the run as over.
    pub(super) fn end(&mut self, interrupted: bool, faults: &[Panicked]) -> Result<(), Failure> {
        self.restore()?;
        self.manifest.finished = true;
        self.manifest.interrupted = interrupted;
        self.manifest.faults = faults.iter().map(ToString::to_string).collect();
        self.write_manifest()
    }

    fn write_manifest(&self) -> Result<(), Failure> {
        Ok(write_json(&self.folder.join(MANIFEST_FILE), &self.manifest)?)
    }

    /// Writes the folder again if it disappeared: where it was, or else to a temporary place.
    fn restore(&mut self) -> Result<(), Failure> {
        if self.folder.join(MANIFEST_FILE).exists() {
            return Ok(());
        }
        if let Err(error) = write_again(&self.folder, &mut self.kept) {
            let lost = |error: io::Error| {
                Failure::new(Exit::Input, format!("cannot restore `{}`: {error}", self.folder.display()))
            };
            let spare = tempfile::Builder::new().prefix("sagellm-benchmark-").disable_cleanup(true).tempdir();
            let spare = spare.map_err(|_| lost(error))?.path().to_owned();
            write_again(&spare, &mut self.kept).map_err(lost)?;
            self.folder = spare;
        }
        self.write_manifest()
    }

    /// Where the results are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn write_again(folder: &Path, kept: &mut [(PathBuf, File)]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, file) in kept {
        file.rewind()?;
        io::copy(file, &mut File::create(folder.join(name))?)?;
    }
    Ok(())
}

/// The folder, or when it does not exist yet, the nearest one above it that does.
fn nearest(folder: &Path) -> &Path {
    let exists = |path: &&Path| path.exists() || path.as_os_str().is_empty();
    match folder.ancestors().find(exists).unwrap_or(folder) {
        path if path.as_os_str().is_empty() => Path::new("."),
        path => path,
    }
}

/// Whether files can be made in `folder`, or, when it does not exist yet, in the nearest folder above it. Leaves nothing.
fn check_folder(folder: &Path) -> Result<(), Failure> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let nearest = nearest(here);
    let failure = |why: String| {
        Failure::new(Exit::Input, format!("cannot write to `{}`: {why}", here.display()))
            .with_hint("choose another place with `--output` or `--output-json`")
    };
    if !nearest.is_dir() {
        return Err(failure(format!("`{}` is not a folder", nearest.display())));
    }
    tempfile::tempfile_in(nearest).map(drop).map_err(|error| failure(error.to_string()))
}

/// The seed of all workloads, or of each where they differ.
fn seeds(plan: &PlanFile) -> BTreeMap<String, u64> {
    let seeds: BTreeMap<_, _> =
        plan.outlines().map(|outline| (outline.workload.name.clone(), outline.workload.seed)).collect();
    match seeds.values().next() {
        Some(first) if seeds.values().all(|seed| seed == first) => BTreeMap::from([("workload".into(), *first)]),
        _ => seeds,
    }
}

fn describe_host() -> Host {
    let host = host();
    Host {
        os: host.os.value.unwrap_or_else(|| std::env::consts::OS.into()),
        kernel: host.kernel.value,
        cpu_model: host.cpu_model.value,
        logical_cpus: host.logical_cpus.value.unwrap_or(0),
        memory_bytes: host.memory_bytes.value,
        governor: host.cpu_governor.value,
        fingerprint: host.fingerprint,
    }
}
