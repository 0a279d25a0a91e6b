//! Reads `<workload>.records.jsonl`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use sagellm_core::journal::{Close, Header, Line};
use sagellm_core::{Record, Slo};

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
    let file = File::open(path).map_err(failed)?;
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
    let mut look: Option<L> = None;
    let read = read_seeing(path, slo, &mut |seen| match (&mut look, seen) {
        (None, Seen::Header(header)) => look = Some(L::begin(header)),
        (Some(look), Seen::Record(record)) => look.record(record),
        (Some(look), Seen::Close(close)) => look.close(close),
        _ => {}
    })?;
    Ok(read.zip(look).map(|((header, summary), look)| (header, summary, look)))
}

/// [`read_journal`], which also shows every measured record to `look`.
///
/// # Errors
/// As [`read_journal`].
pub fn read_records(
    path: &Path,
    slo: Option<&Slo>,
    look: &mut dyn FnMut(&Record),
) -> Result<Option<(Header, WorkloadSummary)>, Error> {
    read_seeing(path, slo, &mut |seen| {
        if let Seen::Record(record) = seen {
            look(record);
        }
    })
}

/// What is seen while a journal is read.
enum Seen<'a> {
    Header(&'a Header),
    Record(&'a Record),
    Close(&'a Close),
}

fn read_seeing(
    path: &Path,
    slo: Option<&Slo>,
    see: &mut dyn FnMut(Seen<'_>),
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
                see(Seen::Header(&header));
                begun = Some((header.clone(), Sample::new(header)?));
            }
            (_, None) => return Err("the first line is not a header".into()),
            _ if close.is_some() => return Err("there is a line after the closing one".into()),
            (Line::Header(_), Some(_)) => return Err("there is a second header".into()),
            (Line::Request(record), Some((_, sample))) => {
                sample.push(&record)?;
                if !record.warmup {
                    see(Seen::Record(&record));
                }
            }
            (Line::Close(line), Some(_)) => close = Some(line),
        }
        Ok(())
    })?;
    if let Some(close) = &close {
        see(Seen::Close(close));
    }
    Ok(begun.map(|(header, sample)| (header, sample.finish(close.as_ref()))))
}
