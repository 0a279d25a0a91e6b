//! What can go wrong between a folder of results and a report.

use std::io;
use std::path::{Path, PathBuf};

use sagellm_core::file::FileError;
use sagellm_core::{Exit, SCHEMA_VERSION, UserError};

use crate::sweep::SWEEP_FILE;

/// Where `run` writes by default: its absence means that there was no run yet.
const DEFAULT_FOLDER: &str = "benchmark_results";

fn is_default(path: &Path) -> bool {
    path.strip_prefix(".").unwrap_or(path).starts_with(DEFAULT_FOLDER)
}

/// An error that names the file and, where there is one, the place in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or folder is not there.
    #[error("File not found: {path}", path = path.display())]
    NotFound {
        /// What was asked for.
        path: PathBuf,
        /// A folder with journals from which a summary can be made, when there is one at the place.
        journals: Option<PathBuf>,
    },
    /// A folder without anything to report.
    #[error("no results in `{path}`: it holds neither journals nor a summary", path = path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
    /// A folder of several runs, in a format of one.
    #[error("`{path}` holds {count} runs, which are shown together as `table` or `markdown` only", path = path.display())]
    Repeats {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// One of them.
        first: PathBuf,
    },
    /// The operating system refused to read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system refused to write; nothing half-written was left.
    #[error("cannot write `{path}`: {cause}", path = path.display(), cause = describe(cause))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why. Not the error's source, since the message says it already.
        cause: io::Error,
    },
    /// The file is larger than any that this program writes.
    #[error("`{path}` is too large: {bytes} bytes, the limit is {limit}", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// Not what it should be.
    #[error("{path}:{line}:{column}: {message}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1; 0 when the line as a whole is meant.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The file was written by a later version.
    #[error("`{path}` has schema version {version}; this program reads up to {SCHEMA_VERSION}", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Another of the files that this program writes.
    #[error("`{path}` is {what}, not a summary", path = path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file of `llama-bench` of which nobody could say which test is meant.
    #[error("`{path}` holds several tests of one kind", path = path.display())]
    SeveralTests {
        /// The file.
        path: PathBuf,
    },
    /// A file of another tool whose lines would be taken for repeats of one run, and are none.
    #[error("`{path}` holds runs of different settings: `{field}` is {first} in one and {other} in another",
        path = path.display())]
    SeveralSettings {
        /// The file.
        path: PathBuf,
        /// What differs, by their name.
        field: &'static str,
        /// Its value in the first line, as JSON.
        first: String,
        /// Its value in another.
        other: String,
    },
    /// A summary alone was to be written as records.
    #[error("a summary holds no records")]
    SummaryOnly,
    /// There are figures but no requests to judge or to write.
    #[error("there are no journals at `{path}`, and so no requests", path = path.display())]
    NoRecords {
        /// What was given.
        path: PathBuf,
    },
    /// There is no workload of this name.
    #[error("there is no workload `{name}`: the run has {}", names.join(", "))]
    NoWorkload {
        /// The name.
        name: String,
        /// Those that there are.
        names: Vec<String>,
    },
    /// The format holds one workload.
    #[error("a file of vLLM's holds one workload, and the run has {}: {}", names.len(), names.join(", "))]
    SeveralWorkloads {
        /// Those of the run.
        names: Vec<String>,
    },
    /// Two journals of one run claim the same workload.
    #[error("`{first}` and `{second}` are both journals of workload `{name}`", first = first.display(), second = second.display())]
    Twice {
        /// The workload.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A gate on a figure that no workload of the results has.
    #[error("`{gate}` has nothing to judge: no workload has `{key}` on both sides{reason}")]
    NothingToGate {
        /// The gate, as it was given.
        gate: String,
        /// Its figure.
        key: String,
        /// Why there is none, where that is known, after a colon.
        reason: String,
    },
    /// A gate on a change was to judge a single run.
    #[error("`{gate}` limits a change, and a single run has none")]
    ChangeOfOneRun {
        /// The gate, as it was given.
        gate: String,
    },
    /// A value could not be written as JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    /// A page could not be filled in.
    #[error("cannot write HTML")]
    Page(#[from] minijinja::Error),
}

/// Says the frequent causes in words that do not depend on the operating system.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "no space left on the device".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        io::ErrorKind::NotFound => "the folder does not exist".into(),
        _ => error.to_string(),
    }
}

impl UserError for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Json(_) | Self::Page(_) => Exit::Bug,
            Self::Repeats { .. }
            | Self::NoWorkload { .. }
            | Self::SeveralWorkloads { .. }
            | Self::ChangeOfOneRun { .. } => Exit::Usage,
            _ => Exit::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { journals: Some(folder), .. } => {
                format!("the folder holds journals: `sagellm-benchmark report --input {}` reads them", folder.display())
            }
            Self::NotFound { journals: None, path } if !is_default(path) => {
                "give the folder of a run, or its `benchmark_summary.json`".into()
            }
            Self::Nothing { path } if path.join(SWEEP_FILE).exists() => {
                "it holds a sweep: give the folder of one of its runs, such as `rate-4/run-1`".into()
            }
            Self::Nothing { path } if !is_default(path) => {
                "give a folder that `run` wrote: it holds a `manifest.json`, or a folder for each of repeated runs"
                    .into()
            }
            Self::NotFound { journals: None, .. } | Self::Nothing { .. } => {
                "run `sagellm-benchmark run --workload m1 --backend cpu` first".into()
            }
            Self::Repeats { first, .. } => format!("give the folder of one: `--input {}`", first.display()),
            Self::Read { source, .. } => match FileError::of(source) {
                Some(error) => error.hint().into(),
                None => "check that it is a readable file".into(),
            },
            Self::Write { .. } => "free some space, or choose another place with `--output`".into(),
            Self::TooLarge { .. } => "give the `benchmark_summary.json` of a run, or its folder".into(),
            Self::Malformed { path, .. } if path.extension().is_some_and(|ext| ext == "jsonl") => {
                "the journal was changed after the run: restore it, or move it out of the folder".into()
            }
            Self::Malformed { .. } => {
                "the file is damaged: give the folder instead and it is rebuilt from the journals".into()
            }
            Self::Newer { .. } => "install the version of sagellm-benchmark that wrote it, or a later one".into(),
            Self::OtherFile { .. } => "give the `benchmark_summary.json` beside it, or the folder".into(),
            Self::SeveralTests { .. } => {
                "let `llama-bench` measure one length of prompt (`-p`) and one of output (`-n`)".into()
            }
            Self::SeveralSettings { .. } => {
                "give a file whose lines repeat one setting: move those of each setting to a file of their own".into()
            }
            Self::SummaryOnly | Self::NoRecords { .. } => "give the folder of the run".into(),
            Self::NoWorkload { .. } => "give one of these to `--workload`, or leave it out".into(),
            Self::SeveralWorkloads { names } => {
                let name = names.first().map_or("NAME", String::as_str);
                format!("name it, file by file: `report --format vllm --workload {name}`")
            }
            Self::Twice { .. } => "move one of them out of the folder".into(),
            Self::NothingToGate { .. } => {
                "gate a figure that the results have, or measure again so that they have it; docs/metrics.md says when \
                 there is none"
                    .into()
            }
            Self::ChangeOfOneRun { .. } => {
                "give a limit on the value, such as `p99_ttft_ms>500`, or use `compare` for changes".into()
            }
            Self::Json(_) | Self::Page(_) => return None,
        })
    }
}
