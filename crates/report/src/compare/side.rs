//! One result of a comparison, from its place on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::observe::{Observations, Records};
use super::{Runs, import};
use crate::journal::read_looking;
use crate::load::{JOURNAL_END, journals};
use crate::{Error, MANIFEST_FILE, Summary, Verdict, WorkloadSummary, load, registry};

/// One result: a run, or several of the same.
#[derive(Clone, Debug)]
pub struct Side {
    /// As it is called: the path that was given.
    pub name: String,
    /// Whether its verdict is INVALID, and why.
    pub invalid: Option<String>,
    /// Fingerprint of the machine that measured, where it is known.
    pub host: Option<String>,
    /// Hashes of the plans by workload, where they are known.
    plans: BTreeMap<String, String>,
    /// How its definitions differ from ours, where it is another tool's.
    difference: Option<&'static str>,
    pub(super) workloads: Runs,
}

impl Side {
    /// Reads what is at `path`: the folder of a run, a folder of such folders, our summary, or a file that vLLM's or
    /// SGLang's benchmark, AIPerf or llama-bench wrote.
    ///
    /// # Errors
    /// When there is nothing, or nothing that can be read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        if path.is_file() {
            if let Some((figures, difference)) = import::rival(path)? {
                let runs = figures.into_iter().map(Observations::of_figures).collect();
                let workloads = Runs::from([(import::WORKLOAD.to_owned(), runs)]);
                return Ok(Self {
                    name,
                    invalid: None,
                    host: None,
                    plans: BTreeMap::new(),
                    difference: Some(difference),
                    workloads,
                });
            }
            return Ok(Self::of_summary(name, &load(path)?));
        }
        let repeats = repeats(path)?;
        let folders = if repeats.is_empty() { vec![path.to_owned()] } else { repeats };
        let mut side: Option<Self> = None;
        for folder in folders {
            let run = Self::of_folder(&name, &folder)?;
            match &mut side {
                None => side = Some(run),
                Some(side) => side.add(run),
            }
        }
        side.ok_or_else(|| Error::Nothing { path: path.to_owned() })
    }

    /// Whether the requests were the same; `None` where that is not known.
    pub fn same_plans(&self, other: &Self) -> Option<bool> {
        let common: Vec<bool> =
            self.plans.iter().filter_map(|(workload, hash)| Some(other.plans.get(workload)? == hash)).collect();
        (!common.is_empty()).then(|| common.iter().all(|same| *same))
    }

    /// Whether it has a workload in common with another.
    pub fn shares_a_workload(&self, other: &Self) -> bool {
        self.workloads.keys().any(|name| other.workloads.contains_key(name))
    }

    /// Gives the workload of a file that names none the name of the only one of another.
    pub fn name_after(&mut self, other: &Self) {
        if let (1, Some(name)) = (other.workloads.len(), other.workloads.keys().next())
            && let Some(runs) = self.workloads.remove(import::WORKLOAD)
        {
            self.workloads.insert(name.clone(), runs);
        }
    }

    pub(super) fn notes_against(&self, first: &Self) -> Vec<String> {
        let mut notes = Vec::new();
        for side in [first, self] {
            notes.extend(side.difference.map(|difference| format!("{}: {difference}", side.name)));
            notes.extend(side.invalid.as_ref().map(|reason| format!("{} is INVALID: {reason}", side.name)));
        }
        match self.same_plans(first) {
            None => notes.push(format!("whether {} and {} had the same requests is not known", first.name, self.name)),
            Some(false) => notes.push(format!("{} and {} had different requests", first.name, self.name)),
            Some(true) => {}
        }
        notes
    }

    /// A run of which only the summary is at hand: its figures and their intervals.
    pub fn of_summary(name: String, summary: &Summary) -> Self {
        let workloads = summary
            .workloads
            .iter()
            .map(|workload| {
                let run = Observations::of_summary(figures(workload), &workload.details.intervals);
                (workload.name().to_owned(), vec![run])
            })
            .collect();
        let plans = summary.environment.as_ref().map(|manifest| manifest.hashes.plans.clone()).unwrap_or_default();
        let invalid = (summary.validity.verdict == Verdict::Invalid)
            .then(|| summary.validity.reasons.first().map_or_else(String::new, |finding| finding.message.clone()));
        let host = summary.environment.as_ref().map(|manifest| manifest.host.fingerprint.clone());
        Self { name, invalid, host, plans, difference: None, workloads }
    }

    fn of_folder(name: &str, folder: &Path) -> Result<Self, Error> {
        let summary = load(folder)?;
        let mut side = Self::of_summary(name.to_owned(), &summary);
        for path in journals(folder)? {
            let Some((header, workload, records)) = read_looking::<Records>(&path, None)? else { continue };
            // Journals of former runs may lie in the same folder; the summary knows which count.
            let counts = summary
                .workloads
                .get(&header.workload.name)
                .is_some_and(|known| known.details.started_at == workload.details.started_at);
            if counts {
                let run = Observations::of_run(figures(&workload), records);
                side.workloads.insert(header.workload.name, vec![run]);
            }
        }
        Ok(side)
    }

    /// How many runs there are of the workload that was run most often.
    pub fn runs(&self) -> usize {
        self.workloads.values().map(Vec::len).max().unwrap_or(0)
    }

    /// Another run of the same.
    pub fn add(&mut self, run: Self) {
        self.invalid = self.invalid.take().or(run.invalid);
        for (workload, runs) in run.workloads {
            self.workloads.entry(workload).or_default().extend(runs);
        }
        // Repeats have seeds of their own, and so other plans: only what all of them share identifies the side.
        self.plans.retain(|workload, hash| run.plans.get(workload) == Some(hash));
    }
}

fn figures(workload: &WorkloadSummary) -> BTreeMap<String, f64> {
    registry::all().iter().filter_map(|metric| Some((metric.key.clone(), workload.get(&metric.key)?))).collect()
}

/// The folders of repeated runs in a folder that holds no run itself, by name.
fn repeats(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |source| Error::Read { path: folder.to_owned(), source };
    if !folder.exists() {
        return Err(Error::NotFound { path: folder.to_owned(), journals: None });
    }
    let is_run = |path: &Path| {
        path.join(MANIFEST_FILE).exists()
            || fs::read_dir(path).is_ok_and(|mut entries| {
                entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(JOURNAL_END)))
            })
    };
    if is_run(folder) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_dir() && is_run(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
