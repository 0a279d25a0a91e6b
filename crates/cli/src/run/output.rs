//! The folder of a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sagellm_core::{BackendInfo, Clock, Exit, Failure, WallTime};
use sagellm_plan::{PlanError, PlanFile};
use sagellm_report::{Hashes, Host, MANIFEST_FILE, Manifest, Summary, summarize_folder, write_json, write_results};
use sagellm_run::Journal;
use sagellm_telemetry::host;

use super::config;
use crate::args::RunArgs;
use crate::secrets::Secrets;
use crate::signals::Interrupt;

/// Name of the plan in the folder of a run.
pub(crate) const PLAN_FILE: &str = "plan.jsonl";

/// Where results go, known to be writable, with nothing written yet.
pub(super) struct Output {
    folder: PathBuf,
    json: Option<PathBuf>,
}

/// The folder once measuring begins.
pub(super) struct OpenOutput {
    output: Output,
    manifest: Manifest,
}

impl Output {
    /// Checks that results can be written, before time is spent on making them.
    pub(super) fn check(args: &RunArgs) -> Result<Self, Failure> {
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
        Ok(Self { folder: args.output.clone(), json: args.output_json.clone() })
    }

    /// A place for what may not be kept, on the same disk as the results where that can be.
    pub(super) fn scratch(&self, interrupt: &Interrupt) -> Result<Scratch, Failure> {
        // In containers all programs may have the same number.
        let now = WallTime::now().unix_ns;
        let folder = nearest(&self.folder).join(format!(".sagellm-benchmark-{}-{now:x}", std::process::id()));
        let doomed = folder.clone();
        // Told first, so that a signal finds nothing that it does not know of.
        interrupt.before_exit(move || drop(fs::remove_dir_all(&doomed)));
        match fs::create_dir(&folder) {
            Ok(()) => Ok(Scratch { folder, plan: self.folder.join(PLAN_FILE) }),
            Err(error) => {
                let message = format!("cannot make the folder `{}`: {error}", folder.display());
                Err(Failure::new(Exit::Input, message).with_hint("choose another place with `--output`"))
            }
        }
    }

    /// Makes the folder, and notes in it what is about to be run.
    pub(super) fn open(
        self,
        args: &RunArgs,
        plan: &mut PlanFile,
        hashes: Hashes,
        backend: BackendInfo,
        secrets: &Secrets,
        clock: Clock,
    ) -> Result<OpenOutput, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::new(Exit::Input, format!("cannot make the folder `{}`: {error}", self.folder.display()))
        };
        fs::create_dir_all(&self.folder).map_err(cannot)?;
        let mut manifest = Manifest::new(env!("CARGO_PKG_VERSION"), clock.started_at(), backend, describe_host());
        manifest.git_commit = crate::GIT_COMMIT.map(str::to_owned);
        manifest.command_line = config::command_line();
        manifest.config = config::of(args);
        manifest.config.insert("model".into(), manifest.backend.model.name.clone());
        manifest.metadata = args.metadata.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
        manifest.seeds = seeds(plan);
        manifest.hashes = hashes;
        manifest.command_line.iter_mut().for_each(|word| *word = secrets.redact(word));
        let said = [&mut manifest.config, &mut manifest.metadata, &mut manifest.backend.settings];
        said.into_iter().flat_map(BTreeMap::values_mut).for_each(|value| *value = secrets.redact(value));
        let open = OpenOutput { output: self, manifest };
        open.write_manifest()?;
        plan.keep(&open.output.folder.join(PLAN_FILE))?;
        Ok(open)
    }
}

/// A folder that goes when it is dropped, and when a signal ends the program at once.
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

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is empty, and hidden.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl OpenOutput {
    /// The journal of a workload.
    pub(super) fn journal(&self, workload: &str) -> PathBuf {
        Journal::path(&self.output.folder, workload)
    }

    /// Writes the results of what has been run so far, so that a crash later loses none of them.
    pub(super) fn save(&self) -> Result<Summary, Failure> {
        let summary = summarize_folder(&self.output.folder)?;
        write_results(&self.output.folder, &summary)?;
        if let Some(file) = &self.output.json {
            let folder = file.parent().unwrap_or(Path::new(""));
            fs::create_dir_all(folder).map_err(|error| {
                Failure::new(Exit::Input, format!("cannot make the folder `{}`: {error}", folder.display()))
            })?;
            write_json(file, &summary.workloads)?;
        }
        Ok(summary)
    }

    /// Marks the run as over and writes everything for the last time.
    pub(super) fn finish(&mut self, interrupted: bool) -> Result<Summary, Failure> {
        self.manifest.finished = true;
        self.manifest.interrupted = interrupted;
        self.write_manifest()?;
        self.save()
    }

    fn write_manifest(&self) -> Result<(), Failure> {
        Ok(write_json(&self.output.folder.join(MANIFEST_FILE), &self.manifest)?)
    }
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
