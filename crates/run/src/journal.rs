//! The writer of `<workload>.records.jsonl`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use sagellm_core::journal::Line;

use crate::RunError;

/// An open journal. Lines reach the operating system whole, with [`Journal::flush`] or [`Journal::write`]: what was flushed
/// survives a crash of this process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Whole lines that are not flushed yet.
    lines: Vec<u8>,
}

impl Journal {
    /// Where the journal of `workload` lies in the folder `output`.
    pub fn path(output: &Path, workload: &str) -> PathBuf {
        output.join(format!("{workload}.records.jsonl"))
    }

    /// Creates the file, or empties the one of an earlier run. Its folder must exist.
    ///
    /// # Errors
    /// [`RunError::Journal`] when the file cannot be created.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        match File::create(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file, lines: Vec::new() }),
            Err(source) => Err(RunError::Journal { path: path.to_owned(), action: "create", source }),
        }
    }

    /// Adds a line to those that wait for [`Journal::flush`].
    ///
    /// # Errors
    /// [`RunError::Journal`] when the line cannot be serialized.
    pub fn push(&mut self, line: &Line) -> Result<(), RunError> {
        let before = self.lines.len();
        match serde_json::to_writer(&mut self.lines, line) {
            Ok(()) => self.lines.push(b'\n'),
            Err(error) => {
                self.lines.truncate(before);
                return Err(self.failed(error.into()));
            }
        }
        Ok(())
    }

    /// Bytes that wait for [`Journal::flush`].
    pub fn pending(&self) -> usize {
        self.lines.len()
    }

    /// Hands the waiting lines to the operating system, in one call, so that a crash leaves whole lines.
    ///
    /// # Errors
    /// [`RunError::Journal`] when the disk is full or the file cannot be written; the last line may then be cut.
    pub fn flush(&mut self) -> Result<(), RunError> {
        let written = self.file.write_all(&self.lines);
        self.lines.clear();
        written.map_err(|source| self.failed(source))
    }

    /// Appends a line and flushes it.
    ///
    /// # Errors
    /// As [`Journal::push`] and [`Journal::flush`].
    pub fn write(&mut self, line: &Line) -> Result<(), RunError> {
        self.push(line)?;
        self.flush()
    }

    /// Ends the journal: its bytes are on the disk when this returns.
    ///
    /// # Errors
    /// [`RunError::Journal`] when the disk reports, only now, that it could not keep them.
    pub fn close(mut self) -> Result<PathBuf, RunError> {
        self.flush()?;
        match self.file.sync_all() {
            Ok(()) => Ok(self.path),
            // Pipes and special files cannot be synchronised and need not be.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(self.path),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn failed(&self, source: std::io::Error) -> RunError {
        RunError::Journal { path: self.path.clone(), action: "write", source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sagellm_core::journal::Header;
    use sagellm_core::{Arrival, Exit, Mode, Source, UserError, WallTime, Workload};

    fn header() -> Line {
        Line::Header(Header {
            schema_version: sagellm_core::SCHEMA_VERSION,
            workload: Workload {
                name: "short_input".into(),
                mode: Mode::Traffic,
                num_prompts: 1,
                source: Source::Text { input_tokens: 1, output_tokens: 1, shared_prefix_tokens: 0 },
                duration_s: None,
                max_concurrency: Some(1),
                arrival: Arrival::Immediate,
                num_warmups: Some(0),
                seed: 0,
                goodput: None,
            },
            clock_started: WallTime { unix_ns: 0 },
            start_ns: 0,
            warmup: None,
            max_error_rate: 0.05,
            calibration: None,
        })
    }

    #[test]
    fn a_line_is_on_file_before_the_journal_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = Journal::path(folder.path(), "short_input");
        let mut journal = Journal::create(&path).unwrap();
        journal.write(&header()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), header());
        assert_eq!(journal.close().unwrap(), folder.path().join("short_input.records.jsonl"));
    }

    #[test]
    fn a_journal_without_a_folder_is_an_error_that_names_it() {
        let error = Journal::create(Path::new("no/such/folder/x.records.jsonl")).unwrap_err();
        assert_eq!(error.to_string(), "cannot create `no/such/folder/x.records.jsonl`");
        assert_eq!(error.exit(), Exit::Input);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let mut journal = Journal::create(Path::new("/dev/full")).unwrap();
        let error = journal.write(&header()).unwrap_err();
        assert_eq!(error.to_string(), "cannot write `/dev/full`");
        assert!(error.hint().unwrap().starts_with("free some space"));
    }
}
