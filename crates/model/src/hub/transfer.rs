//! Bringing one file into the cache: resumed where a former try ended, checked, then linked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sagellm_core::Progress;
use sha2::{Digest, Sha256};
use ureq::http::StatusCode;

use super::cache::{Repository, create_parent};
use super::client::{Client, Remote};
use crate::ModelError;

/// Tries in a row that bring nothing.
const MAX_FAILURES: u32 = 3;

/// Makes `file` part of the snapshot of `commit`.
pub(super) fn fetch(
    client: &Client<'_>,
    repository: &Repository,
    commit: &str,
    file: &str,
    progress: &dyn Progress,
) -> Result<(), ModelError> {
    let remote = client.inspect(file, commit)?;
    let blob = repository.blob(&remote.tag);
    if !blob.is_file() {
        create_parent(&blob)?;
        let part = repository.blob(&format!("{}.incomplete", remote.tag));
        progress.begin(file, remote.size);
        let outcome = Transfer { client, file, remote: &remote, part: &part, progress }.run();
        progress.finish();
        outcome?;
        fs::rename(&part, &blob).map_err(|error| ModelError::write(&blob, error))?;
    }
    repository.link(commit, file, &remote.tag)
}

struct Transfer<'a> {
    client: &'a Client<'a>,
    file: &'a str,
    remote: &'a Remote,
    part: &'a Path,
    progress: &'a dyn Progress,
}

impl Transfer<'_> {
    fn run(&self) -> Result<(), ModelError> {
        let write = |error| ModelError::write(self.part, error);
        let mut out =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.part).map_err(write)?;
        match out.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ModelError::Hub {
                    what: format!("another process is downloading `{}` of `{}`", self.file, self.client.id()),
                    hint: "wait until it is done".into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(write(error)),
        }
        let mut have = out.metadata().map_err(write)?.len();
        self.progress.advance(have);
        let mut failures = 0;
        while self.remote.size != Some(have) || have == 0 {
            let before = have;
            match self.append(&mut out, &mut have) {
                Ok(()) => break,
                Err(error @ (ModelError::Write { .. } | ModelError::NotFound { .. })) => return Err(error),
                Err(error) => {
                    failures = if have > before { 1 } else { failures + 1 };
                    if failures >= MAX_FAILURES {
                        return Err(error);
                    }
                }
            }
        }
        self.check(&mut out, have)
    }

    /// Fetches what is missing. `have` counts the bytes of the part, also when this fails.
    fn append(&self, out: &mut File, have: &mut u64) -> Result<(), ModelError> {
        let write = |error| ModelError::write(self.part, error);
        // More than the whole, or a range that the hub does not have: nothing of it can be right.
        if self.remote.size.is_some_and(|size| *have > size) {
            *have = 0;
        }
        let response = self.client.content(self.file, *have)?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            *have = 0;
            return Err(self.wrong("the hub refuses to go on with it"));
        }
        let start = match response.status() {
            StatusCode::PARTIAL_CONTENT => range_start(response.headers().get("content-range")),
            _ => Some(0),
        };
        match start {
            Some(0) => *have = 0,
            Some(start) if start == *have => {}
            _ => return Err(self.wrong("the hub sends another part than was asked for")),
        }
        out.set_len(*have).map_err(write)?;
        out.seek(SeekFrom::Start(*have)).map_err(write)?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = body.read(&mut buffer).map_err(|error| self.client.unreachable(&error.to_string()))?;
            if read == 0 {
                break;
            }
            out.write_all(&buffer[..read]).map_err(write)?;
            *have += read as u64;
            self.progress.advance(read as u64);
            if self.remote.size.is_some_and(|size| *have > size) {
                break;
            }
        }
        match self.remote.size {
            Some(size) if *have < size => Err(self.wrong(&format!("it ends after {have} of {size} bytes"))),
            _ => Ok(()),
        }
    }

    /// Compares length and hash with what the hub announced. What is wrong is not kept.
    fn check(&self, out: &mut File, have: u64) -> Result<(), ModelError> {
        let problem = match self.remote.size {
            Some(size) if size != have => Some(format!("it has {have} bytes instead of {size}")),
            _ => match &self.remote.sha256 {
                Some(expected) if *expected != self.hash(out)? => Some("its SHA-256 differs".to_owned()),
                _ => None,
            },
        };
        match problem {
            None => out.sync_all().map_err(|error| ModelError::write(self.part, error)),
            Some(problem) => {
                fs::remove_file(self.part).map_err(|error| ModelError::write(self.part, error))?;
                Err(ModelError::Hub {
                    what: format!(
                        "`{}` of `{}` is not what {} announced: {problem}",
                        self.file,
                        self.client.id(),
                        self.client.endpoint()
                    ),
                    hint: "it was removed: run the command again, or set HF_ENDPOINT to another mirror".into(),
                })
            }
        }
    }

    fn hash(&self, out: &mut File) -> Result<String, ModelError> {
        let read = |error| ModelError::read(self.part, error);
        out.rewind().map_err(read)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match out.read(&mut buffer).map_err(read)? {
                0 => return Ok(crate::hex(&hash.finalize())),
                length => hash.update(&buffer[..length]),
            }
        }
    }

    fn wrong(&self, problem: &str) -> ModelError {
        ModelError::Hub {
            what: format!(
                "`{}` of `{}` did not arrive from {}: {problem}",
                self.file,
                self.client.id(),
                self.client.endpoint()
            ),
            hint: "run the command again: what has arrived is kept and the download goes on from there".into(),
        }
    }
}

/// The first byte of `bytes FIRST-LAST/TOTAL`.
fn range_start(header: Option<&ureq::http::HeaderValue>) -> Option<u64> {
    header?.to_str().ok()?.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}
