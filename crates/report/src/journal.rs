//! Reads `<workload>.records.jsonl`.

use std::fs::File;
use std::path::Path;

use sagellm_core::journal::{Close, Header, Line};
use sagellm_core::{Record, Slo};

use crate::lines::{BLOCK, for_each_line};
use crate::{Error, Sample, WorkloadSummary};

/// Header and figures of a journal, judged by `slo` in place of the workload's own objective. `None` when it ends before
/// its header does, as that of a run that crashed at the very beginning.
///
/// A last line that is torn, as a crash leaves it, is left out; the verdict then says that the run did not end.
///
/// # Errors
/// When the file cannot be read, was written by a later version, or is damaged anywhere but in its last line.
pub fn read_journal(path: &Path, slo: Option<&Slo>) -> Result<Option<(Header, WorkloadSummary)>, Error> {
    read_records(path, slo, &mut |_| {})
}

/// The same, and shows every measured record to `look`.
///
/// # Errors
/// As [`read_journal`].
pub fn read_records(
    path: &Path,
    slo: Option<&Slo>,
    look: &mut dyn FnMut(&Record),
) -> Result<Option<(Header, WorkloadSummary)>, Error> {
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let mut begun: Option<(Header, Sample)> = None;
    let mut close: Option<Close> = None;
    for_each_line(path, file, BLOCK, &mut |line| {
        match (line, &mut begun) {
            (Line::Header(mut header), None) => {
                if let Some(slo) = slo {
                    header.workload.goodput = Some(slo.clone());
                }
                begun = Some((header.clone(), Sample::new(header)?));
            }
            (_, None) => return Err("the first line is not a header".into()),
            _ if close.is_some() => return Err("there is a line after the closing one".into()),
            (Line::Header(_), Some(_)) => return Err("there is a second header".into()),
            (Line::Request(record), Some((_, sample))) => {
                sample.push(&record)?;
                if !record.warmup {
                    look(&record);
                }
            }
            (Line::Close(line), Some(_)) => close = Some(line),
        }
        Ok(())
    })?;
    Ok(begun.map(|(header, sample)| (header, sample.finish(close.as_ref()))))
}
