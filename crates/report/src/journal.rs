//! Reads `<workload>.records.jsonl`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use sagellm_core::journal::{Close, Header, Line};
use sagellm_core::{Record, Slo, file};

use crate::damage::Guard;
use crate::lines::{BLOCK, LONGEST_LINE, for_each_line};
use crate::{Error, Sample, WorkloadSummary};

/// Header and figures of a journal, judged by `slo` in place of the workload's own objective. `None` when it ends before
/// its header does, as that of a run that crashed at the very beginning.
///
/// A last line that is torn, as a crash leaves it, is left out; the verdict then says that the run did not end.
///
/// # Errors
/// When the file cannot be read, was written by a later version, or is damaged anywhere but in its last line.
pub fn read_journal(path: &Path, slo: Option<&Slo>) -> Result<Option<(Header, WorkloadSummary)>, Error> {
    Ok(read_looking::<()>(path, slo)?.map(|(header, summary, ())| (header, summary)))
}

/// The header of a journal alone; `None` as of [`read_journal`].
pub(crate) fn read_header(path: &Path) -> Result<Option<Header>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut line = Vec::new();
    let file = file::open(path).map_err(failed)?;
    BufReader::new(file).take(LONGEST_LINE as u64).read_until(b'\n', &mut line).map_err(failed)?;
    let mut header = None;
    for_each_line(path, &line[..], BLOCK, &mut |line| {
        if let Line::Header(found) = line {
            header = Some(found);
        }
        Ok(())
    })?;
    match header {
        Some(header) => Ok(Some(header)),
        // Whether it is damaged or only torn shows when it is read in full.
        None => Ok(read_journal(path, None)?.map(|(header, _)| header)),
    }
}

/// Looks at the lines of a journal as they are read.
pub(crate) trait Look {
    /// Before the first record.
    fn begin(header: &Header) -> Self;
    /// A measured record.
    fn record(&mut self, record: &Record);
    /// The end of a run that came to its end.
    fn close(&mut self, close: &Close);
}

/// Sees nothing.
impl Look for () {
    fn begin(_header: &Header) -> Self {}
    fn record(&mut self, _record: &Record) {}
    fn close(&mut self, _close: &Close) {}
}

/// [`read_journal`], with what a `Look` made of it.
pub(crate) fn read_looking<L: Look>(
    path: &Path,
    slo: Option<&Slo>,
) -> Result<Option<(Header, WorkloadSummary, L)>, Error> {
    let mut begun: Option<(Header, Sample, L)> = None;
    let mut end: Option<Close> = None;
    each_line(path, &mut |line| {
        match (line, &mut begun) {
            (Line::Request(record), Some((_, sample, look))) => {
                sample.push(&record)?;
                if !record.warmup {
                    look.record(&record);
                }
            }
            (Line::Close(close), Some((_, _, look))) => {
                look.close(&close);
                end = Some(close);
            }
            (Line::Header(mut header), _) => {
                if let Some(slo) = slo {
                    header.workload.goodput = Some(slo.clone());
                }
                let look = L::begin(&header);
                begun = Some((header.clone(), Sample::new(header)?, look));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(begun.map(|(header, sample, look)| (header, sample.finish(end.as_ref()), look)))
}

/// Shows every measured record of a journal to `look`, and makes no figures of them. Returns its header; `None` as of
/// [`read_journal`].
///
/// # Errors
/// As [`read_journal`].
pub fn read_records(path: &Path, look: &mut dyn FnMut(&Record)) -> Result<Option<Header>, Error> {
    let mut begun: Option<(Header, Guard)> = None;
    each_line(path, &mut |line| {
        match (line, &mut begun) {
            (Line::Request(record), Some((_, guard))) => {
                guard.admit(&record)?;
                if !record.warmup {
                    look(&record);
                }
            }
            (Line::Header(header), _) => begun = Some((header.clone(), Guard::of(&header)?)),
            _ => {}
        }
        Ok(())
    })?;
    Ok(begun.map(|(header, _)| header))
}

/// Takes the lines of a journal: a header, requests, and a closing line at most.
fn each_line(path: &Path, take: &mut dyn FnMut(Line) -> Result<(), String>) -> Result<(), Error> {
    let file = file::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let (mut begun, mut closed) = (false, false);
    for_each_line(path, file, BLOCK, &mut |line| {
        match line {
            Line::Header(_) if begun => return Err("there is a second header".into()),
            Line::Header(_) => begun = true,
            _ if !begun => return Err("the first line is not a header".into()),
            _ if closed => return Err("there is a line after the closing one".into()),
            Line::Close(_) => closed = true,
            Line::Request(_) => {}
        }
        take(line)
    })
}
