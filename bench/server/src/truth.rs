//! What the server noted of every request.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

/// A write that began later than this after its token was due, or took longer, is counted. In nanoseconds.
const LIMIT: u64 = 200_000;

/// One request. Times are monotonic, in nanoseconds.
#[derive(Debug, Default, Serialize)]
pub struct Truth {
    /// The header `x-request-id`.
    pub request: Option<String>,
    /// When the request arrived.
    pub arrival_ns: u64,
    /// Whether the kernel stamped the arrival; otherwise it is the time right after the read.
    pub arrival_by_kernel: bool,
    /// Tokens written.
    pub tokens: u32,
    /// Whether all tokens were written.
    pub whole: bool,
    /// Tokens whose write began more than 0.2 ms after they were due.
    pub late: u32,
    /// Tokens whose bytes the socket did not take at once.
    pub blocked: u32,
    /// Right before each write of a token: the first counted from the arrival, each other one from the one before.
    pub gaps_ns: Vec<u64>,
    /// Writes that took longer than 0.2 ms: index of the token and duration.
    pub slow_ns: Vec<(u32, u64)>,
    #[serde(skip)]
    last: u64,
}

impl Truth {
    /// Begins the notes of a request.
    pub fn new(request: Option<String>, arrival_ns: u64, arrival_by_kernel: bool, tokens: u32) -> Self {
        let gaps_ns = Vec::with_capacity(tokens as usize);
        Self { request, arrival_ns, arrival_by_kernel, gaps_ns, last: arrival_ns, ..Self::default() }
    }

    /// Notes the write of a token that was due at `due`, from right before to right after it.
    pub fn write(&mut self, due: u64, before: u64, after: u64, taken: bool) {
        self.gaps_ns.push(before.saturating_sub(self.last));
        self.last = before;
        if after - before > LIMIT {
            self.slow_ns.push((self.tokens, after - before));
        }
        self.late += u32::from(before > due + LIMIT);
        self.blocked += u32::from(!taken);
        self.tokens += 1;
    }
}

/// Writes one JSON object per request.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, log: &[Truth]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for truth in log {
        serde_json::to_writer(&mut file, truth)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}
