//! The writer of `plan.jsonl`.

use std::io::{BufWriter, Write};
use std::path::Path;

use sagellm_core::{PlanHeader, PlanLine, SCHEMA_VERSION};
use sagellm_model::Tokenizer;

use super::outline::Outliner;
use super::{Place, PlanFile, Section};
use crate::{PlanError, Planner};

/// What prompts and offsets are drawn with.
const GENERATOR: &str = "chacha8";

/// Writes the plan of some workloads to a scratch file in `folder`, which is gone again unless it is
/// [kept](PlanFile::keep).
///
/// # Errors
/// [`PlanError::File`] when the folder cannot be written, and what is wrong with a workload.
pub fn write(folder: &Path, planners: &[Planner<'_>], tokenizer: &Tokenizer) -> Result<PlanFile, PlanError> {
    let failed = |source| PlanError::File { path: folder.join("plan.jsonl"), action: "write", source };
    let header = PlanHeader {
        schema_version: SCHEMA_VERSION,
        generator: GENERATOR.into(),
        tokenizer: tokenizer.fingerprint(),
        data: planners.iter().filter_map(Planner::data).collect(),
    };
    let mut builder = tempfile::Builder::new();
    // It becomes a result like the others, for whoever may read those.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let scratch = builder.prefix("plan-").suffix(".jsonl").tempfile_in(folder).map_err(failed)?;
    let mut lines = Lines { out: BufWriter::new(scratch), line: Vec::new(), at: 0 };
    lines.write(&PlanLine::Header(header.clone())).map_err(failed)?;
    let mut sections = Vec::with_capacity(planners.len());
    for planner in planners {
        let at = lines.at;
        let mut outliner = Outliner::new(planner.workload().clone());
        outliner.line(lines.write(&PlanLine::Workload(planner.workload().clone())).map_err(failed)?);
        for request in planner.requests() {
            let request = request?;
            outliner.request(&request);
            outliner.line(lines.write(&PlanLine::Request(request)).map_err(failed)?);
        }
        sections.push(Section { at, outline: outliner.finish() });
    }
    let scratch = lines.out.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(PlanFile { place: Place::Scratch(scratch.into_temp_path()), header, sections })
}

/// Writes lines and counts bytes.
struct Lines<W: Write> {
    out: BufWriter<W>,
    line: Vec<u8>,
    at: u64,
}

impl<W: Write> Lines<W> {
    /// Writes a line and returns its bytes.
    fn write(&mut self, line: &PlanLine) -> std::io::Result<&[u8]> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        self.at += self.line.len() as u64;
        Ok(&self.line)
    }
}
