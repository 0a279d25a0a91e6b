//! A plan as input for other benchmark clients, so that they send the same requests.

mod sglang;
mod vllm;

use std::io::{BufWriter, Write};
use std::path::Path;

use sagellm_core::{Request, Workload};
use serde::Serialize;

use crate::artefact::Read;
use crate::{PlanError, PlanFile};

/// The files that other clients read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// vLLM's `custom` data set: `{"prompt", "output_tokens"}` per line. Offsets are not in it.
    VllmCustom,
    /// vLLM's `timed_trace`: `{"timestamp", "input_length", "output_length", "hash_ids"}` per line. It holds offsets,
    /// lengths and what prompts share, in blocks of 16 tokens, but not the prompts, which vLLM makes up.
    VllmTimedTrace,
    /// SGLang's `openai` data set: `{"messages", "max_tokens", ...}` per line. Offsets are not in it.
    SglangOpenai,
}

impl Format {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::VllmCustom, Self::VllmTimedTrace, Self::SglangOpenai];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::VllmCustom => "vllm-custom",
            Self::VllmTimedTrace => "vllm-timed-trace",
            Self::SglangOpenai => "sglang",
        }
    }
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Lines that were written: the measured requests.
    pub requests: u64,
    /// What the other client has to be told to send these requests as they are: options of its command line.
    pub arguments: Vec<String>,
}

/// Writes the measured requests of the `nth` workload of a plan to `path`, one after the other. The file is there when all
/// of it is.
///
/// # Errors
/// [`PlanError::Contradiction`] for conversations of several turns, whose later prompts hold answers that nobody knows
/// yet, and for prompts without tokens where the format consists of these; [`PlanError::File`] and what is wrong with the
/// plan.
pub fn export(file: &PlanFile, nth: usize, format: Format, path: &Path) -> Result<Exported, PlanError> {
    let failed = |source| PlanError::File { path: path.to_owned(), action: "write", source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = tempfile::Builder::new().prefix("export-").tempfile_in(folder).map_err(failed)?;
    let mut lines = Lines { out: BufWriter::new(scratch), path };
    let Read { workload, requests, .. } = file.section(nth)?;
    let mut summary = Summary::default();
    for request in requests {
        let request = request?;
        if request.session.is_some() && request.session == summary.session {
            return Err(PlanError::Contradiction {
                option: "export",
                circumstance: "for conversations of several turns, whose later prompts hold answers that nobody knows yet",
                hint: "export a workload of single requests",
            });
        }
        summary.take(&request);
        match format {
            Format::VllmCustom => lines.write(&vllm::custom(&request))?,
            Format::VllmTimedTrace => lines.write(&vllm::timed_trace(&request)?)?,
            Format::SglangOpenai => lines.write(&sglang::openai(&request))?,
        }
    }
    let scratch = lines.out.into_inner().map_err(|error| failed(error.into_error()))?;
    scratch.persist(path).map_err(|error| failed(error.error))?;
    let arguments = match format {
        Format::VllmCustom => vllm::custom_arguments(path, &workload, &summary),
        Format::VllmTimedTrace => vllm::timed_trace_arguments(path, &summary),
        Format::SglangOpenai => sglang::arguments(path, &workload, &summary),
    };
    Ok(Exported { requests: summary.requests, arguments })
}

/// What the options of another client are made from.
#[derive(Debug, Default)]
struct Summary {
    requests: u64,
    /// Whether all of them go on past an end of sequence.
    ignore_eos: bool,
    session: Option<u64>,
    /// Of the last one; all of a plan have the same.
    temperature: f32,
}

impl Summary {
    fn take(&mut self, request: &Request) {
        self.ignore_eos = request.ignore_eos && (self.ignore_eos || self.requests == 0);
        self.requests += 1;
        self.session = request.session;
        self.temperature = request.sampling.temperature;
    }
}

/// The rate at which another client sends, and its cap.
fn load(workload: &Workload) -> Vec<String> {
    use sagellm_core::Arrival;
    let mut options = Vec::new();
    let mut add = |name: &str, value: String| options.extend([format!("--{name}"), value]);
    match workload.arrival {
        Arrival::Poisson { rate } => add("request-rate", rate.to_string()),
        Arrival::Gamma { rate, .. } => add("request-rate", rate.to_string()),
        _ => {}
    }
    if let Some(cap) = workload.max_concurrency {
        add("max-concurrency", cap.to_string());
    }
    options
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

struct Lines<'a, W: Write> {
    out: BufWriter<W>,
    path: &'a Path,
}

impl<W: Write> Lines<'_, W> {
    fn write(&mut self, line: &impl Serialize) -> Result<(), PlanError> {
        let failed = |source| PlanError::File { path: self.path.to_owned(), action: "write", source };
        serde_json::to_writer(&mut self.out, line).map_err(|error| failed(error.into()))?;
        self.out.write_all(b"\n").map_err(failed)
    }
}
