//! What has to be known of a plan before it is run.

use std::fmt::Write;

use sagellm_core::{Nanos, Request, Workload};
use sha2::{Digest, Sha256};

/// Tokens of a KV block, as usual; the need for memory is counted in whole ones.
const KV_BLOCK: u64 = 16;

/// A workload and the extent of its requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// What the requests were made from.
    pub workload: Workload,
    /// SHA-256 over the lines of the workload: equal exactly when the requests are.
    pub hash: String,
    /// Measured requests.
    pub requests: u64,
    /// Requests, or conversations, that are due at an offset of their own: all but later turns.
    pub arrivals: u64,
    /// Requests due at time zero.
    pub at_once: u64,
    /// Output tokens that they ask for together.
    pub output_tokens: u64,
    /// When the last one is due.
    pub last_offset_ns: Nanos,
    /// KV tokens of the largest request, prompt and output, in blocks of 16.
    pub largest_tokens: u64,
    /// KV tokens of all requests.
    pub all_tokens: u64,
}

/// Draws the outline of the lines that pass.
#[derive(Debug)]
pub(super) struct Outliner {
    outline: Outline,
    hash: Sha256,
    /// The conversation that the last request belongs to, and its tokens so far.
    session: Option<(u64, u64)>,
}

impl Outliner {
    pub(super) fn new(workload: Workload) -> Self {
        let outline = Outline {
            workload,
            hash: String::new(),
            requests: 0,
            arrivals: 0,
            at_once: 0,
            output_tokens: 0,
            last_offset_ns: 0,
            largest_tokens: 0,
            all_tokens: 0,
        };
        Self { outline, hash: Sha256::new(), session: None }
    }

    /// The bytes of a line, its end included.
    pub(super) fn line(&mut self, line: &[u8]) {
        self.hash.update(line);
    }

    pub(super) fn request(&mut self, request: &Request) {
        let before = match self.session {
            Some((session, tokens)) if request.session == Some(session) => Some(tokens),
            _ => None,
        };
        // A later turn holds the conversation so far.
        let held = before.unwrap_or(0) + tokens(request);
        self.session = request.session.map(|session| (session, held));
        let outline = &mut self.outline;
        outline.requests += 1;
        outline.output_tokens += u64::from(request.max_tokens);
        if before.is_none() {
            outline.arrivals += 1;
            outline.at_once += u64::from(request.offset_ns == 0);
            outline.last_offset_ns = outline.last_offset_ns.max(request.offset_ns);
        }
        outline.largest_tokens = outline.largest_tokens.max(held.next_multiple_of(KV_BLOCK));
        outline.all_tokens += tokens(request).next_multiple_of(KV_BLOCK);
    }

    pub(super) fn workload(&self) -> &Workload {
        &self.outline.workload
    }

    pub(super) fn requests(&self) -> u64 {
        self.outline.requests
    }

    pub(super) fn finish(mut self) -> Outline {
        for byte in self.hash.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(self.outline.hash, "{byte:02x}");
        }
        self.outline
    }
}

fn tokens(request: &Request) -> u64 {
    let prompt = request.prompt.token_ids.as_ref().map_or(0, Vec::len);
    prompt as u64 + u64::from(request.max_tokens)
}
