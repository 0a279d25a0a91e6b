//! Reads `<workload>.records.jsonl`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use sagellm_core::journal::{Close, Header, Line};
use sagellm_core::{Record, SCHEMA_VERSION, Slo};
use serde::Deserialize;

use crate::{Error, Sample, WorkloadSummary};

/// Longest line that is read. A record of 65 536 single-token chunks takes 3 MB.
const LONGEST_LINE: u64 = 64 << 20;

/// Header and figures of a journal, judged by `slo` in place of the workload's own objective. `None` when it ends before its header
/// does, as that of a run that crashed at the very beginning.
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
    let mut lines = Lines { path, reader: BufReader::with_capacity(1 << 16, file), number: 0 };
    let mut header = match lines.next()? {
        None => return Ok(None),
        Some(Line::Header(header)) => header,
        Some(_) => return Err(lines.wrong("the first line is not a header")),
    };
    if let Some(slo) = slo {
        header.workload.goodput = Some(slo.clone());
    }
    let mut sample = Sample::new(header.clone()).map_err(|message| lines.wrong(&message))?;
    let mut close: Option<Close> = None;
    while let Some(line) = lines.next()? {
        match line {
            _ if close.is_some() => return Err(lines.wrong("there is a line after the closing one")),
            Line::Header(_) => return Err(lines.wrong("there is a second header")),
            Line::Request(record) => {
                sample.push(&record).map_err(|message| lines.wrong(&message))?;
                if !record.warmup {
                    look(&record);
                }
            }
            Line::Close(line) => close = Some(line),
        }
    }
    Ok(Some((header, sample.finish(close.as_ref()))))
}

struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    number: usize,
}

impl Lines<'_> {
    /// The next complete line; `None` at the end of the file or at a torn last line.
    fn next(&mut self) -> Result<Option<Line>, Error> {
        let mut text = Vec::new();
        let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut text);
        let read = read.map_err(|source| Error::Read { path: self.path.to_owned(), source })?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if text.last() != Some(&b'\n') {
            return if read as u64 == LONGEST_LINE { Err(self.wrong("the line is too long")) } else { Ok(None) };
        }
        if self.number == 1 {
            self.check_version(&text)?;
        }
        match serde_json::from_slice(&text) {
            Ok(line) => Ok(Some(line)),
            // A crash of the machine can leave a last line whose content never reached the disk.
            Err(_) if self.at_end()? => Ok(None),
            Err(error) => Err(Error::Malformed {
                path: self.path.to_owned(),
                line: self.number,
                column: error.column(),
                message: plain_message(&error),
            }),
        }
    }

    fn check_version(&self, header: &[u8]) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Probe {
            schema_version: u32,
        }
        match serde_json::from_slice::<Probe>(header) {
            Ok(probe) if probe.schema_version > SCHEMA_VERSION => {
                Err(Error::Newer { path: self.path.to_owned(), version: probe.schema_version })
            }
            // Anything else wrong with it is found when it is read in full.
            _ => Ok(()),
        }
    }

    fn at_end(&mut self) -> Result<bool, Error> {
        let rest = self.reader.fill_buf().map_err(|source| Error::Read { path: self.path.to_owned(), source })?;
        Ok(rest.is_empty())
    }

    fn wrong(&self, message: &str) -> Error {
        Error::Malformed { path: self.path.to_owned(), line: self.number, column: 0, message: message.to_owned() }
    }
}

/// The message of a JSON error without the place, which is said separately.
pub(crate) fn plain_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(place) => text[..place].to_owned(),
        None => text,
    }
}
