//! What a plan asks of a backend, in numbers: lengths, arrivals, and what prompts have in common. One pass over the file.

mod arrivals;
mod gamma;
mod lengths;
mod plot;
mod prefixes;

use sagellm_core::{Nanos, Workload};

use crate::artefact::Read;
use crate::{PlanError, PlanFile};
pub use arrivals::{ArrivalStats, TimeBin};
pub use lengths::Lengths;
pub use plot::arrivals_svg;
pub use prefixes::Prefixes;

#[cfg(test)]
pub(crate) use gamma::unit_mean_cdf;

use arrivals::ArrivalPass;
use prefixes::PrefixPass;

/// The numbers of one workload of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// What its requests were made from.
    pub workload: Workload,
    /// Measured requests.
    pub requests: u64,
    /// Conversations of several turns; their turns are among the requests.
    pub conversations: u64,
    /// Requests whose prompts were not tokenized. They are missing in `input` and `prefixes`.
    pub untokenized: u64,
    /// Prompt tokens per request, as it is sent: of a later turn with the conversation so far, answers as long as asked for.
    pub input: Lengths,
    /// Output tokens asked for per request.
    pub output: Lengths,
    /// When requests, or conversations, are due.
    pub arrivals: ArrivalStats,
    /// Prompt tokens that a prefix cache could save.
    pub prefixes: Prefixes,
}

/// Reads the `nth` workload of a plan once, from beginning to end.
///
/// Memory: lengths take a few bytes for each different length, arrivals half a megabyte, prefixes at most some 150 MB
/// (see [`Prefixes::complete`]); none of it grows with the plan beyond that.
///
/// # Errors
/// [`PlanError::File`] and [`PlanError::Line`] when the file was changed since it was opened.
pub fn survey(file: &PlanFile, nth: usize) -> Result<Survey, PlanError> {
    let Read { workload, requests } = file.section(nth)?;
    let outline = file.outlines().nth(nth);
    let last: Nanos = outline.map_or(0, |outline| outline.last_offset_ns);
    let mut arrivals = ArrivalPass::new(&workload.arrival, outline.map_or(0, |outline| outline.arrivals), last);
    let mut prefixes = PrefixPass::default();
    let (mut input, mut output) = (Lengths::default(), Lengths::default());
    let (mut count, mut conversations, mut untokenized) = (0, 0, 0);
    // The conversation of the request before, and its tokens so far.
    let mut talk: Option<(u64, u64)> = None;
    for request in requests {
        let request = request?;
        count += 1;
        let before = match (talk, request.session) {
            (Some((open, tokens)), Some(session)) if open == session => Some(tokens),
            _ => None,
        };
        if before.is_none() {
            arrivals.add(request.offset_ns);
            conversations += u64::from(request.session.is_some());
        }
        output.add(request.max_tokens.into());
        let before_tokens = before.unwrap_or(0);
        let mut tokens = before_tokens;
        match &request.prompt.token_ids {
            Some(ids) => {
                tokens += ids.len() as u64;
                input.add(tokens);
                match before {
                    None => prefixes.first(ids),
                    Some(before) => prefixes.later(before, ids.len() as u64),
                }
            }
            None => untokenized += 1,
        }
        talk = request.session.map(|session| (session, tokens + u64::from(request.max_tokens)));
    }
    Ok(Survey {
        workload,
        requests: count,
        conversations,
        untokenized,
        input,
        output,
        arrivals: arrivals.finish(),
        prefixes: prefixes.finish(),
    })
}

/// When the requests, or conversations, of the `nth` workload of a plan are due. Memory: 8 bytes for each.
///
/// # Errors
/// As [`survey`].
pub fn offsets(file: &PlanFile, nth: usize) -> Result<Vec<Nanos>, PlanError> {
    let mut open = None;
    let mut offsets = Vec::new();
    for request in file.section(nth)?.requests {
        let request = request?;
        if request.session.is_none() || request.session != open {
            offsets.push(request.offset_ns);
        }
        open = request.session;
    }
    Ok(offsets)
}
