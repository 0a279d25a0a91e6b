//! One result of a comparison, from its place on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sagellm_core::Workload;
use serde_json::Value;

use super::disturbance::{self, SideWarning};
use super::import;
use super::observe::{Observations, Records};
use super::semantics::Semantics;
use crate::journal::read_looking;
use crate::load::{journals, repeats};
use crate::{Error, Summary, Verdict, load};

/// One result: a run, or several of the same.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// As it is called: the path that was given.
    pub name: String,
    /// Whether its verdict is INVALID, and why.
    pub invalid: Option<String>,
    /// Warnings about its runs.
    pub(super) warnings: Vec<SideWarning>,
    /// Fingerprints of the machines that measured, where they are known.
    hosts: BTreeSet<String>,
    /// When the runs began, where it is known.
    started: BTreeSet<String>,
    /// Hashes of the plans by workload, where they are known: repeats have seeds of their own, and so other plans.
    plans: BTreeMap<String, BTreeSet<String>>,
    /// The workloads of the first run, which say in what two plans differ.
    workloads: BTreeMap<String, Workload>,
    /// What its requests meant, where it is known.
    semantics: Semantics,
    /// How its definitions differ from ours, where it is another tool's.
    difference: Option<&'static str>,
    /// Run by run, its workloads.
    pub(super) runs: Vec<Run>,
}

/// One run: its workloads by name.
pub(super) type Run = BTreeMap<String, Observations>;

impl Side {
    /// Reads what is at `path`: the folder of a run, a folder of such folders, our summary, or a file that vLLM's or
    /// SGLang's benchmark, AIPerf or llama-bench wrote.
    ///
    /// # Errors
    /// When there is nothing, or nothing that can be read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        if path.is_file() {
            if let Some(imported) = import::rival(path)? {
                let workload = |(name, figures)| (name, Observations::of_figures(figures));
                let runs = imported.runs.into_iter().map(|run| run.into_iter().map(workload).collect()).collect();
                let (difference, invalid) = (Some(imported.difference), imported.invalid);
                return Ok(Self { name, invalid, difference, runs, ..Self::default() });
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

    /// Whether the requests were the same; `None` where that is not known. Where one side was repeated more often, all
    /// plans of the other have to be among its own.
    pub fn same_plans(&self, other: &Self) -> Option<bool> {
        let common: Vec<bool> = self
            .plans
            .iter()
            .filter_map(|(workload, own)| {
                let others = other.plans.get(workload)?;
                Some(own.is_subset(others) || others.is_subset(own))
            })
            .collect();
        (!common.is_empty()).then(|| common.iter().all(|same| *same))
    }

    /// In what the requests of two sides differ, in words: settings of the workloads of the first runs, as far as they are
    /// known.
    pub fn different_plans(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, own) in &self.workloads {
            let Some(others) = other.workloads.get(name) else { continue };
            let [own, others] = [own, others].map(|workload| settings(&json(workload)));
            let keys: BTreeSet<&String> = own.keys().chain(others.keys()).collect();
            for key in keys {
                let [one, other] = [&own, &others].map(|settings| settings.get(key).map_or("none", String::as_str));
                if one != other {
                    differences.push(format!("{key} of {name} is {one} against {other}"));
                }
            }
        }
        differences
    }

    /// Whether the same machines measured; `None` where that is not known.
    pub fn same_hosts(&self, other: &Self) -> Option<bool> {
        (!self.hosts.is_empty() && !other.hosts.is_empty()).then(|| self.hosts == other.hosts)
    }

    /// In which ways the requests of two sides meant something else, in words.
    pub fn different_semantics(&self, other: &Self) -> Vec<String> {
        self.semantics.differences(&other.semantics)
    }

    /// Whether one of its runs began at this moment.
    pub fn began_at(&self, started: &str) -> bool {
        self.started.contains(started)
    }

    /// Whether it has a workload in common with another.
    pub fn shares_a_workload(&self, other: &Self) -> bool {
        !self.workloads().is_disjoint(&other.workloads())
    }

    /// Names of its workloads.
    pub(super) fn workloads(&self) -> BTreeSet<&str> {
        self.runs.iter().flat_map(Run::keys).map(String::as_str).collect()
    }

    /// Gives the workload of a file that names none the name of the only one of another.
    pub fn name_after(&mut self, other: &Self) {
        let names = other.workloads();
        let (1, Some(name)) = (names.len(), names.first()) else { return };
        for run in &mut self.runs {
            if let Some(observations) = run.remove(import::WORKLOAD) {
                run.insert((*name).to_owned(), observations);
            }
        }
    }

    /// What one run observed of a workload, run by run.
    pub(super) fn observed(&self, workload: &str) -> impl Iterator<Item = Option<&Observations>> {
        self.runs.iter().map(move |run| run.get(workload))
    }

    /// A figure of a workload, run by run.
    pub(super) fn values(&self, workload: &str, key: &str) -> Vec<Option<f64>> {
        self.observed(workload).map(|run| run?.figures.get(key).copied()).collect()
    }

    pub(super) fn notes_against(&self, first: &Self) -> Vec<String> {
        let mut notes = Vec::new();
        for side in [first, self] {
            notes.extend(side.difference.map(|difference| format!("{}: {difference}", side.name)));
        }
        let (one, other) = (&first.name, &self.name);
        match self.same_plans(first) {
            None => notes.push(format!("whether {one} and {other} had the same requests is not known")),
            Some(false) => {
                let differences = first.different_plans(self);
                let differences =
                    if differences.is_empty() { String::new() } else { format!(": {}", differences.join("; ")) };
                notes.push(format!("{one} and {other} had different requests{differences}"));
            }
            Some(true) => {}
        }
        match self.same_hosts(first) {
            None => notes.push(format!("whether the same machine measured {one} and {other} is not known")),
            Some(false) => notes.push(format!("{one} and {other} were measured on different machines")),
            Some(true) => {}
        }
        for difference in first.different_semantics(self) {
            notes.push(format!("requests of {one} and {other} meant different things: {difference}"));
        }
        notes
    }

    /// A run of which only the summary is at hand: its figures and their intervals.
    pub fn of_summary(name: String, summary: &Summary) -> Self {
        let workloads = summary.workloads.iter();
        let run = workloads.map(|workload| (workload.name().to_owned(), Observations::of_summary(workload))).collect();
        let invalid = (summary.validity.verdict == Verdict::Invalid)
            .then(|| summary.validity.reasons.first().map_or_else(String::new, |finding| finding.message.clone()));
        let warnings = disturbance::warnings(&summary.validity.warnings);
        let mut side = Self { name, invalid, warnings, runs: vec![run], ..Self::default() };
        side.workloads =
            summary.workloads.iter().map(|it| (it.name().to_owned(), it.details.workload.clone())).collect();
        if let Some(manifest) = &summary.environment {
            let plans = manifest.hashes.plans.iter();
            side.plans = plans.map(|(workload, hash)| (workload.clone(), BTreeSet::from([hash.clone()]))).collect();
            side.hosts = BTreeSet::from([manifest.host.fingerprint.clone()]);
            side.started = BTreeSet::from([manifest.started_at.clone()]);
            side.semantics = Semantics::of(&manifest.backend.settings);
        }
        side
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
                let name = header.workload.name;
                side.semantics.heed(&name, &records.ignore_eos);
                side.runs.iter_mut().for_each(|run| {
                    run.insert(name.clone(), Observations::of_summary(&workload));
                });
            }
        }
        Ok(side)
    }

    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Other runs of the same.
    pub fn add(&mut self, other: Self) {
        self.invalid = self.invalid.take().or(other.invalid);
        self.hosts.extend(other.hosts);
        self.started.extend(other.started);
        for (workload, hashes) in other.plans {
            self.plans.entry(workload).or_default().extend(hashes);
        }
        other.warnings.into_iter().for_each(|warning| disturbance::add(&mut self.warnings, warning, true));
        self.semantics.add(other.semantics);
        self.runs.extend(other.runs);
    }
}

/// A workload as JSON, without what changes none of its requests.
fn json(workload: &Workload) -> Value {
    let mut value = serde_json::to_value(workload).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        ["name", "goodput"].iter().for_each(|name| drop(fields.remove(*name)));
    }
    value
}

/// The leaves of a JSON value by their path, such as `source.text.input_tokens`.
fn settings(value: &Value) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(fields) => {
                open.extend(fields.iter().map(|(name, value)| {
                    (if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value)
                }))
            }
            Value::Null => {}
            Value::String(text) => drop(leaves.insert(path, text.clone())),
            other => drop(leaves.insert(path, other.to_string())),
        }
    }
    leaves
}
