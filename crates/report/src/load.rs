//! From a path to a summary.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sagellm_core::journal::Header;
use sagellm_core::{SCHEMA_VERSION, Slo, file};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::journal::{Look, read_header, read_looking};
use crate::lines::plain_message;
use crate::validity::{Code, Finding, Validity};
use crate::{Error, Manifest, Summary};

/// Name of the summary in the folder of a run.
pub const SUMMARY_FILE: &str = "benchmark_summary.json";

/// Name of the manifest in the folder of a run.
pub const MANIFEST_FILE: &str = "manifest.json";

pub(crate) const JOURNAL_END: &str = ".records.jsonl";

/// Largest summary or manifest that is read.
const LARGEST: u64 = 64 << 20;

/// Name of the journal of a workload.
pub fn journal_file(workload: &str) -> String {
    format!("{workload}{JOURNAL_END}")
}

/// Name of the file with the figures of a workload.
pub fn metrics_file(workload: &str) -> String {
    format!("{workload}_metrics.json")
}

/// The summary at `path`: a summary file, or the folder of a run. A folder is summarized anew from its journals; only
/// without any is its summary file read.
///
/// # Errors
/// When there is nothing, or what is there is damaged, of a later version, or another kind of file.
pub fn load(path: &Path) -> Result<Summary, Error> {
    if path.is_dir() {
        let summary = path.join(SUMMARY_FILE);
        return if has_journals(path) || !summary.exists() { summarize_folder(path) } else { read_json(&summary) };
    }
    load_file(path)
}

/// The summary at `path` as [`load`] gives it, and what a `Look` made of each journal that it is about, in the order of
/// the workloads. There is none for a summary file that lies without its journals.
pub(crate) fn load_looking<L: Look>(path: &Path, slo: Option<&Slo>) -> Result<(Summary, Vec<L>), Error> {
    if let Some(slo) = slo {
        return looking_with_slo(path, slo);
    }
    if path.is_dir() && has_journals(path) {
        return summarize(path, None);
    }
    let summary = load(path)?;
    let Some(folder) = path.parent().filter(|_| path.is_file()) else { return Ok((summary, Vec::new())) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut seen = Vec::new();
    for workload in summary.workloads.iter() {
        // A journal of another run, or a damaged one, is not what the summary tells of.
        let journal = folder.join(journal_file(workload.name()));
        if let Ok(Some((header, _, look))) = read_looking::<L>(&journal, None)
            && header.clock_started.rfc3339() == workload.details.started_at
        {
            seen.push(look);
        }
    }
    Ok((summary, seen))
}

fn load_file(path: &Path) -> Result<Summary, Error> {
    if !path.exists() {
        let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let journals = folder.filter(|folder| has_journals(folder)).map(Path::to_owned);
        return Err(Error::NotFound { path: path.to_owned(), journals });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(JOURNAL_END) {
        return Err(Error::OtherFile { path: path.to_owned(), what: "the journal of one workload" });
    }
    read_json(path)
}

/// The same, with every request judged by `slo` in place of the objectives of the workloads. This needs the journals: those
/// beside a summary file will do.
///
/// # Errors
/// As [`load`], and when there are no journals.
pub fn load_with_slo(path: &Path, slo: &Slo) -> Result<Summary, Error> {
    Ok(looking_with_slo::<()>(path, slo)?.0)
}

fn looking_with_slo<L: Look>(path: &Path, slo: &Slo) -> Result<(Summary, Vec<L>), Error> {
    let folder = folder_of(path);
    if has_journals(folder) {
        return summarize(folder, Some(slo));
    }
    load(path)?;
    Err(Error::NoRecords { path: path.to_owned() })
}

/// The summary of the run whose journals and manifest lie in `folder`.
///
/// A folder can hold journals of former runs. Those of the run that the manifest describes count (without a manifest:
/// of the latest run); the others are named in a warning.
///
/// # Errors
/// As [`load`].
pub fn summarize_folder(folder: &Path) -> Result<Summary, Error> {
    Ok(summarize::<()>(folder, None)?.0)
}

fn summarize<L: Look>(folder: &Path, slo: Option<&Slo>) -> Result<(Summary, Vec<L>), Error> {
    let (ours, others, manifest) = sorted_out(folder)?;
    let mut findings = Validity::default();
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|(_, header)| header.workload.name.as_str()).collect();
        findings.warn(Finding::new(
            Code::OtherRun,
            format!("results of another run lie in the same folder and are left out: {}", names.join(", ")),
            "give every run an `--output` of its own",
        ));
    }
    let (mut workloads, mut looks) = (Vec::new(), Vec::new());
    for (path, _) in &ours {
        if let Some((_, workload, look)) = read_looking(path, slo)? {
            workloads.push(workload);
            looks.push(look);
        }
    }
    Ok((Summary::assemble(workloads, manifest, findings), looks))
}

/// Reads the manifest of the run in `folder`; `None` where there is none.
///
/// # Errors
/// When it cannot be read, is damaged, or of a later version.
pub fn read_manifest(folder: &Path) -> Result<Option<Manifest>, Error> {
    let path = folder.join(MANIFEST_FILE);
    path.exists().then(|| read_json(&path)).transpose()
}

/// The journals of the run that [`summarize_folder`] tells of, in the order of its workloads.
pub(crate) fn journals_of_run(path: &Path) -> Result<Vec<(PathBuf, Header)>, Error> {
    let folder = folder_of(path);
    if !has_journals(folder) {
        load(path)?;
        return Err(Error::NoRecords { path: path.to_owned() });
    }
    Ok(sorted_out(folder)?.0)
}

/// The summary that lies beside the journals, if one does that can be read.
pub(crate) fn summary_beside(path: &Path) -> Option<Summary> {
    read_json(&folder_of(path).join(SUMMARY_FILE)).ok()
}

type Journals = Vec<(PathBuf, Header)>;

/// The journals in a folder: those of its run, in the order of the workloads, those of other runs, and the manifest.
fn sorted_out(folder: &Path) -> Result<(Journals, Journals, Option<Manifest>), Error> {
    let manifest = read_manifest(folder)?;
    let mut found: Journals = Vec::new();
    for path in journals(folder)? {
        if let Some(header) = read_header(&path)? {
            found.push((path, header));
        }
    }
    let latest = found.iter().map(|(_, header)| header.clock_started).max_by_key(|clock| clock.unix_ns);
    let run = match (&manifest, latest) {
        (Some(manifest), _) => manifest.started_at.clone(),
        (None, Some(latest)) => latest.rfc3339(),
        (None, None) => return Err(Error::Nothing { path: folder.to_owned() }),
    };
    let (mut ours, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, header)| header.clock_started.rfc3339() == run);
    ours.sort_by_key(|(_, header)| header.start_ns);
    for (place, (path, header)) in ours.iter().enumerate() {
        let name = &header.workload.name;
        if let Some((first, _)) = ours[..place].iter().find(|(_, earlier)| earlier.workload.name == *name) {
            return Err(Error::Twice { name: name.clone(), first: first.clone(), second: path.clone() });
        }
    }
    Ok((ours, others, manifest))
}

/// The folder that `path` is, or in which it is the summary.
fn folder_of(path: &Path) -> &Path {
    let beside = path.file_name().is_some_and(|name| name == SUMMARY_FILE).then(|| path.parent()).flatten();
    let folder = if path.is_dir() { path } else { beside.unwrap_or(path) };
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

fn has_journals(folder: &Path) -> bool {
    journals(folder).is_ok_and(|paths| !paths.is_empty())
}

/// The folders of repeated runs in a folder that holds no run itself, in the order of their numbers.
pub(crate) fn repeats(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    if !folder.exists() {
        return Err(Error::NotFound { path: folder.to_owned(), journals: None });
    }
    let is_run = |path: &Path| path.join(MANIFEST_FILE).exists() || has_journals(path);
    if is_run(folder) {
        return Ok(Vec::new());
    }
    let read = |source| Error::Read { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let (path, is_hidden) = (entry.path(), entry.file_name().to_string_lossy().starts_with('.'));
        // Journals alone may be what a program left behind; a run that is to be reported writes a manifest.
        if !is_hidden && path.is_dir() && path.join(MANIFEST_FILE).exists() {
            found.push(path);
        }
    }
    // `run-10` comes after `run-9`.
    found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(found)
}

/// [`repeats`] of the folder that `path` is, or in which a summary would lie that is not there.
pub(crate) fn repeats_at(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = folder_of(path);
    if !folder.is_dir() || folder.join(SUMMARY_FILE).exists() { Ok(Vec::new()) } else { repeats(folder) }
}

/// The journals in a folder by name.
pub(crate) fn journals(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().ends_with(JOURNAL_END) && entry.path().is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads a persisted type, and says what is wrong where.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let malformed = |error: &serde_json::Error| Error::Malformed {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        message: plain_message(error),
    };
    let file = file::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > LARGEST {
        return Err(Error::TooLarge { path: path.to_owned(), bytes, limit: LARGEST });
    }
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text).map_err(failed)?;
    let shape: Shape = serde_json::from_slice(&text).map_err(|error| malformed(&error))?;
    if let Some(version) = shape.schema_version.filter(|version| *version > SCHEMA_VERSION) {
        return Err(Error::Newer { path: path.to_owned(), version });
    }
    if shape.schema_version.is_none() && shape.avg_ttft_ms.is_some() {
        return Err(Error::OtherFile { path: path.to_owned(), what: "the figures of one workload" });
    }
    serde_json::from_slice(&text).map_err(|error| malformed(&error))
}

/// As much of a file as tells which one it is.
#[derive(Deserialize)]
struct Shape {
    schema_version: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    avg_ttft_ms: Option<()>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<()>, D::Error> {
    Value::deserialize(deserializer).map(|_| Some(()))
}
