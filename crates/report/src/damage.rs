//! Headers and records that no run can have written.

use std::collections::HashMap;

use sagellm_core::journal::Header;
use sagellm_core::{Nanos, OutcomeKind, Record};

/// More tokens than this in one record are taken for damage, not for an answer.
const MOST_TOKENS: u64 = 1 << 24;

/// The requests that were seen: a bit for each, in words of 64 neighbours by worker.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<(u32, u64), u64>);

impl Seen {
    /// Whether the request was not seen before.
    pub(crate) fn insert(&mut self, worker: u32, id: u64) -> bool {
        let word = self.0.entry((worker, id / 64)).or_default();
        let bit = 1 << (id % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// Refuses what no run can have recorded, so that no figure is made of it.
#[derive(Debug)]
pub(crate) struct Guard {
    seen: Seen,
}

impl Guard {
    /// The guard of the records below `header`.
    ///
    /// # Errors
    /// In words, when the header is not one that this program writes.
    pub(crate) fn of(header: &Header) -> Result<Self, String> {
        let name = &header.workload.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            // The name becomes that of a file.
            return Err(format!("`{name}` is no name of a workload: letters, digits, `-`, `_` and `.` make one"));
        }
        if header.workload.goodput.as_ref().is_some_and(|slo| !slo.is_sound()) {
            return Err("goodput has no limit, or one that is no positive number".into());
        }
        if !(0.0..=1.0).contains(&header.max_error_rate) {
            return Err(format!("max_error_rate is {}, which is no share between 0 and 1", header.max_error_rate));
        }
        Ok(Self { seen: Seen::default() })
    }

    /// Lets a record pass.
    ///
    /// # Errors
    /// In words, when the record contradicts itself, or was seen before and is none of the warm-up.
    pub(crate) fn admit(&mut self, record: &Record) -> Result<(), String> {
        check(record)?;
        if !record.warmup && !self.seen.insert(record.worker, record.id) {
            return Err(format!("request {} is recorded twice", record.id));
        }
        Ok(())
    }
}

fn check(record: &Record) -> Result<(), String> {
    let stamps = [
        ("sent_ns", record.sent_ns),
        ("first_token_ns", record.first_token_ns),
        ("last_token_ns", record.last_token_ns),
        ("end_ns", Some(record.end_ns)),
    ];
    let mut former: Option<(&str, Nanos)> = None;
    for (name, stamp) in stamps {
        let Some(at) = stamp else { continue };
        if let Some((former_name, former_at)) = former.filter(|(_, former_at)| at < *former_at) {
            return Err(format!("request {}: {name} ({at}) is before {former_name} ({former_at})", record.id));
        }
        former = Some((name, at));
    }
    if record.outcome == OutcomeKind::Success && record.sent_ns.is_none() {
        return Err(format!("request {} succeeded without having been sent", record.id));
    }
    let visible = record.http.as_ref().and_then(|http| http.first_visible_ns);
    if visible.is_some_and(|at| record.first_token_ns.is_none_or(|first| at < first) || at > record.end_ns) {
        return Err(format!("request {}: first_visible_ns is not between first_token_ns and end_ns", record.id));
    }
    let (first, last) = (record.first_token_ns, record.last_token_ns);
    if first.is_some() != last.is_some() {
        return Err(format!("request {}: only one of first_token_ns and last_token_ns is there", record.id));
    }
    let ends = (record.chunks.first().map(|chunk| chunk.at_ns), record.chunks.last().map(|chunk| chunk.at_ns));
    if ends != (first, last) {
        return Err(format!(
            "request {}: its chunks do not begin and end with first_token_ns and last_token_ns",
            record.id
        ));
    }
    if !record.chunks.is_sorted_by_key(|chunk| chunk.at_ns) || record.chunks.iter().any(|chunk| chunk.tokens == 0) {
        return Err(format!("request {}: its chunks are out of order, or one holds no token", record.id));
    }
    let tokens: u64 = record.chunks.iter().map(|chunk| u64::from(chunk.tokens)).sum();
    if tokens.max(u64::from(record.output_tokens)) > MOST_TOKENS {
        return Err(format!("request {}: {tokens} tokens are more than any answer holds", record.id));
    }
    Ok(())
}
