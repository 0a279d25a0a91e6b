//! A summary as text.
//!
//! `sections` decides what is shown, once; the table and the Markdown lay the same sections out.

pub(crate) mod environment;
mod footnotes;
pub(crate) mod markdown;
pub(crate) mod number;
pub mod repeats;
mod sections;
mod table;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::export::html::Course;
use crate::load::{load, load_looking, load_with_slo, repeats_at};
use sagellm_core::{Slo, plain, plain_json};

use crate::validity::{Code, Finding};
use crate::write::write_atomic_with;
use crate::{Error, Summary, export};

/// Columns of a terminal from which on the table adds what there is room for.
pub const WIDE: u16 = 120;

/// How the table looks; every other format looks always the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// With colours.
    pub colour: bool,
    /// Not held to 80 columns, but to [`WIDE`].
    pub wide: bool,
}

/// The forms in which a summary can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For the terminal: at most 80 columns wide, or [`WIDE`].
    Table,
    /// For programs: the summary itself.
    Json,
    /// For people elsewhere: reads well as a comment on GitHub.
    Markdown,
    /// For spreadsheets: a line per workload, a column per figure.
    Csv,
    /// What vLLM's `bench serve` writes: one object, of one workload.
    Vllm,
    /// What SGLang's `bench_serving` writes: an object per workload and line.
    Sglang,
    /// For test reports: a test per workload, which fails when the verdict is INVALID.
    Junit,
    /// For Prometheus: a gauge per figure.
    Openmetrics,
    /// For a browser: one page with charts, which needs nothing beside it.
    Html,
    /// For data frames: the requests themselves, a row each.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Table,
        Self::Json,
        Self::Markdown,
        Self::Csv,
        Self::Vllm,
        Self::Sglang,
        Self::Junit,
        Self::Openmetrics,
        Self::Html,
        Self::Parquet,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Markdown => "markdown",
            Self::Csv => "csv",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Junit => "junit",
            Self::Openmetrics => "openmetrics",
            Self::Html => "html",
            Self::Parquet => "parquet",
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// A name that is no format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFormat(String);

impl fmt::Display for UnknownFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Format::ALL.map(Format::name).join(", ");
        write!(out, "unknown format `{}`: the formats are {names}", self.0)
    }
}

impl std::error::Error for UnknownFormat {}

/// What of a run is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Judges the requests in place of the run's own objective (see [`load_with_slo`]).
    pub slo: Option<&'a Slo>,
    /// This workload alone.
    pub workload: Option<&'a str>,
}

impl Wanted<'_> {
    fn of(self, path: &Path) -> Result<Summary, Error> {
        match self.slo {
            Some(slo) => load_with_slo(path, slo)?,
            None => load(path)?,
        }
        .only(self.workload)
    }
}

/// What is wanted of the run at `path` (see [`load`]) in a format, with exactly one newline at its end. Repeated runs, each
/// in a folder of its own there, are shown side by side.
///
/// # Errors
/// As [`load`], when there is no such workload, and when the format holds one run and there are several.
pub fn render_path(path: &Path, wanted: Wanted<'_>, format: Format, look: Look) -> Result<Vec<u8>, Error> {
    let runs = repeats_at(path)?;
    if !runs.is_empty() {
        return side_by_side(path, &runs, wanted, format);
    }
    if format == Format::Parquet {
        let mut bytes = Vec::new();
        export::records::write(path, wanted, path, &mut bytes)?;
        return Ok(bytes);
    }
    if format == Format::Html {
        let (summary, mut courses) = load_looking::<Course>(path, wanted.slo)?;
        let summary = summary.only(wanted.workload)?;
        courses.retain(|course| summary.workloads.get(&course.name).is_some());
        return Ok(ended(export::html::report(&summary, courses)?).into_bytes());
    }
    Ok(render(&wanted.of(path)?, format, look)?.into_bytes())
}

/// The summaries of the run at `path`, or of the repeated runs there, in their order.
///
/// # Errors
/// As [`load`], and when there is no such workload.
pub fn summaries(path: &Path, wanted: Wanted<'_>) -> Result<Vec<Summary>, Error> {
    let runs = repeats_at(path)?;
    let runs = if runs.is_empty() { vec![path.to_owned()] } else { runs };
    runs.iter().map(|run| wanted.of(run)).collect()
}

fn side_by_side(path: &Path, runs: &[PathBuf], wanted: Wanted<'_>, format: Format) -> Result<Vec<u8>, Error> {
    let show = match format {
        Format::Table => repeats::table,
        Format::Markdown => repeats::markdown,
        _ => return Err(several(path, runs)),
    };
    let summaries = runs.iter().map(|run| wanted.of(run)).collect::<Result<Vec<_>, _>>()?;
    Ok(plain(&ended(show(&summaries))).into_owned().into_bytes())
}

fn several(path: &Path, runs: &[PathBuf]) -> Error {
    let first = runs.first().cloned().unwrap_or_default();
    Error::Repeats { path: path.to_owned(), count: runs.len(), first }
}

/// The requests of the run at `path` as [`Format::Parquet`], written to a file group by group: memory does not grow with
/// their number.
///
/// # Errors
/// As [`render_path`], when there are no journals, and when the file cannot be written.
pub fn write_records(path: &Path, wanted: Wanted<'_>, file: &Path) -> Result<(), Error> {
    let runs = repeats_at(path)?;
    if !runs.is_empty() {
        return Err(several(path, &runs));
    }
    write_atomic_with(file, |out| export::records::write(path, wanted, file, out))
}

/// A summary in a format, as [`render_path`], without what only the records behind it know.
///
/// # Errors
/// When the format is [`Format::Parquet`], which takes the records themselves, and when it is [`Format::Vllm`] and there
/// are several workloads.
pub fn render(summary: &Summary, format: Format, look: Look) -> Result<String, Error> {
    let text = match format {
        // Its colors are control sequences, too, so it makes its texts plain itself.
        Format::Table => return Ok(ended(table::table(summary, look))),
        Format::Json => serde_json::to_string_pretty(summary)?,
        Format::Markdown => markdown::markdown(summary),
        Format::Csv => export::csv::csv(summary),
        Format::Vllm => export::rivals::vllm(summary)?,
        Format::Sglang => export::rivals::sglang(summary),
        Format::Junit => export::junit::junit(summary),
        Format::Openmetrics => export::openmetrics::openmetrics(summary),
        Format::Html => export::html::report(summary, Vec::new())?,
        Format::Parquet => return Err(Error::SummaryOnly),
    };
    let is_json = matches!(format, Format::Json | Format::Vllm | Format::Sglang);
    Ok(ended(if is_json { plain_json(&text) } else { plain(&text) }.into_owned()))
}

/// Text in pieces, and whether each is code: what stands between backticks. One without its fellow opens none, or all
/// that follows would be code; nor do several in a row, which Markdown pairs by their number.
pub(crate) fn code_and_text(text: &str) -> Vec<(bool, &str)> {
    let pieces: Vec<&str> = text.split('`').collect();
    if pieces.len().is_multiple_of(2) || text.contains("``") {
        return vec![(false, text)];
    }
    pieces.into_iter().enumerate().map(|(nth, piece)| (nth % 2 == 1, piece)).collect()
}

/// With exactly one newline at the end.
fn ended(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// What was measured, in one line: model, size, backend.
pub(crate) fn subject(summary: &Summary) -> Option<(String, String, String)> {
    let backend = &summary.environment.as_ref()?.backend;
    let size = backend.model.parameters.map(|count| format!("{} parameters", number::short(count as f64)));
    let facts: Vec<String> = [size, backend.model.dtype.clone()].into_iter().flatten().collect();
    Some((backend.model.name.clone(), backend.name.clone(), facts.join(", ")))
}

/// That the weights are synthetic, when they are: it is said first, not among the notes.
pub(crate) fn synthetic_note(summary: &Summary) -> Option<&'static str> {
    let synthetic = summary.environment.as_ref().is_some_and(|manifest| manifest.backend.model.synthetic);
    synthetic.then_some("The weights are synthetic (random numbers): the speed is real, the text is not.")
}

/// Findings that say the same of several workloads, said once: who, and what. Those that stand elsewhere are left out:
/// synthetic weights at the head, and few samples at the marks.
pub(crate) fn grouped<'a>(summary: &Summary, findings: &'a [Finding]) -> Vec<(String, &'a Finding)> {
    let elsewhere = [Code::SyntheticWeights, Code::FewSamples];
    let mut groups: Vec<(Vec<&str>, &Finding)> = Vec::new();
    for finding in findings.iter().filter(|finding| !elsewhere.contains(&finding.code)) {
        let name = finding.workload.as_deref();
        match groups.iter_mut().find(|(_, first)| first.message == finding.message && first.remedy == finding.remedy) {
            Some((names, _)) => names.extend(name),
            None => groups.push((name.into_iter().collect(), finding)),
        }
    }
    let all = summary.workloads.len();
    groups
        .into_iter()
        .map(|(names, finding)| (if names.len() == all && all > 1 { String::new() } else { names.join(", ") }, finding))
        .collect()
}
