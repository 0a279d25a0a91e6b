//! Files of prompts: read once, from beginning to end, with their fingerprint taken on the way.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sagellm_core::DataFile;
use sha2::{Digest, Sha256};

use crate::PlanError;

/// A file that is being read.
pub(super) struct DataReader {
    path: PathBuf,
    file: BufReader<Hashing>,
}

struct Hashing {
    file: File,
    hash: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.hash.update(&into[..read]);
        Ok(read)
    }
}

impl DataReader {
    pub(super) fn open(path: &Path) -> Result<Self, PlanError> {
        let file = File::open(path).map_err(|source| failed(path, source))?;
        let hashing = Hashing { file, hash: Sha256::new() };
        Ok(Self { path: path.to_owned(), file: BufReader::with_capacity(1 << 18, hashing) })
    }

    /// The text as it is read.
    pub(super) fn text(&mut self) -> &mut impl Read {
        &mut self.file
    }

    /// Hands over the lines that are not empty, with their numbers.
    pub(super) fn lines(&mut self, mut take: impl FnMut(u64, &[u8]) -> Result<(), PlanError>) -> Result<(), PlanError> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = self.file.read_until(b'\n', &mut line).map_err(|source| failed(&self.path, source))?;
            if read == 0 {
                break;
            }
            let text = line.trim_ascii();
            if !text.is_empty() {
                take(number, text)?;
            }
        }
        Ok(())
    }

    /// Reads what is left.
    pub(super) fn finish(mut self) -> Result<DataFile, PlanError> {
        io::copy(&mut self.file, &mut io::sink()).map_err(|source| failed(&self.path, source))?;
        let mut sha256 = String::with_capacity(64);
        for byte in self.file.into_inner().hash.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        let name = self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(DataFile { name, sha256 })
    }
}

fn failed(path: &Path, source: io::Error) -> PlanError {
    PlanError::File { path: path.to_owned(), action: "read", source }
}

/// What is wrong with a line of a data set.
pub(super) fn wrong(path: &Path, line: u64, reason: impl Into<String>) -> PlanError {
    PlanError::Data { path: path.to_owned(), line: line.max(1), reason: reason.into() }
}

/// The same for JSON, whose parser knows the line when it read the whole file.
pub(super) fn wrong_json(path: &Path, line: Option<u64>, error: &serde_json::Error) -> PlanError {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
    let reason = format!("{what}, column {}", error.column());
    wrong(path, line.unwrap_or(error.line() as u64), reason)
}
