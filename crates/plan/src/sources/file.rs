//! Files of prompts: read once, from beginning to end, by a thread that takes their fingerprint on the way while what it read
//! is parsed.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sagellm_core::DataFile;
use sagellm_core::file::{self, FileError};
use sha2::{Digest, Sha256};

use crate::PlanError;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 18;
/// Pieces that are read before anyone wants them.
const AHEAD: usize = 4;

/// Largest data set, in bytes. The largest public traces have some 1.5 GB.
const MAX_FILE: u64 = 4 << 30;
/// Most requests that are taken from a data set.
const MAX_REQUESTS: usize = 50_000_000;

/// A file that is being read.
pub(super) struct DataReader {
    path: PathBuf,
    pieces: Pieces,
    reader: JoinHandle<Sha256>,
}

/// What was read, in order.
struct Pieces {
    coming: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    taken: usize,
    begun: bool,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.piece.len() {
            match self.coming.recv() {
                Ok(piece) => {
                    (self.piece, self.taken) = (piece?, 0);
                    if !std::mem::replace(&mut self.begun, true) {
                        self.taken = self.piece.len() - file::without_mark(&self.piece)?.len();
                    }
                }
                // The reader is at the end.
                Err(_) => return Ok(0),
            }
        }
        let read = into.len().min(self.piece.len() - self.taken);
        into[..read].copy_from_slice(&self.piece[self.taken..self.taken + read]);
        self.taken += read;
        Ok(read)
    }
}

/// Reads to the end, or until nobody wants more.
fn read(file: &mut File, pieces: &SyncSender<io::Result<Vec<u8>>>) -> Sha256 {
    let mut hash = Sha256::new();
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = file.take(PIECE as u64).read_to_end(&mut piece).map(|_| piece);
        if let Ok(piece) = &read {
            hash.update(piece);
        }
        let last = read.as_ref().map_or(true, Vec::is_empty);
        if pieces.send(read).is_err() || last {
            return hash;
        }
    }
}

impl DataReader {
    pub(super) fn open(path: &Path) -> Result<Self, PlanError> {
        let mut file = file::open(path).map_err(|source| failed(path, source))?;
        let length = file.metadata().map_err(|source| failed(path, source))?.len();
        if length > MAX_FILE {
            return Err(failed(path, FileError::TooLarge { limit: MAX_FILE }.into()));
        }
        let (pieces, coming) = sync_channel(AHEAD);
        let reader = thread::spawn(move || read(&mut file, &pieces));
        Ok(Self { path: path.to_owned(), pieces: Pieces { coming, piece: Vec::new(), taken: 0, begun: false }, reader })
    }

    /// The text as it is read.
    pub(super) fn text(&mut self) -> impl Read {
        BufReader::new(&mut self.pieces)
    }

    /// Hands over the lines that are not empty, with their numbers. A line has at most `limit` bytes.
    pub(super) fn lines(
        &mut self,
        limit: usize,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let mut text = BufReader::new(&mut self.pieces);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = file::read_line(&mut text, &mut line, limit).map_err(|source| match FileError::of(&source) {
                Some(long @ FileError::LongLine { .. }) => wrong(&self.path, number, long.to_string()),
                _ => failed(&self.path, source),
            })?;
            if read == 0 {
                break;
            }
            let line = line.trim_ascii();
            if !line.is_empty() {
                take(number, line)?;
            }
        }
        Ok(())
    }

    /// Reads what is left.
    pub(super) fn finish(mut self) -> Result<DataFile, PlanError> {
        io::copy(&mut self.pieces, &mut io::sink()).map_err(|source| failed(&self.path, source))?;
        let hash = self.reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let mut sha256 = String::with_capacity(64);
        for byte in hash.finalize() {
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
    PlanError::Data { path: path.to_owned(), line: line.max(1), reason: reason.into(), hint: None }
}

/// Refuses a request more than are taken from a data set.
pub(super) fn check_count(path: &Path, line: u64, requests: usize) -> Result<(), PlanError> {
    match requests < MAX_REQUESTS {
        true => Ok(()),
        false => Err(wrong(path, line, format!("there are more than {MAX_REQUESTS} requests"))),
    }
}

/// The same for JSON, whose parser knows the line when it read the whole file.
pub(super) fn wrong_json(path: &Path, line: Option<u64>, error: &serde_json::Error) -> PlanError {
    if error.is_eof() && (error.line(), error.column()) == (1, 0) {
        return wrong(path, 1, "the file is empty");
    }
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
    let reason = format!("{what}, column {}", error.column());
    wrong(path, line.unwrap_or(error.line() as u64), reason)
}
