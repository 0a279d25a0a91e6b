//! What is done with the text of an answer once it is over: its tokens are counted and its fingerprint is taken. Never on a
//! thread that reads: a thousand answers that end together would keep it from reading for a tenth of a second.

use sagellm_core::{OutputText, Record, TokenSource};
use sha2::{Digest, Sha256};

use crate::CountTokens;

/// Where the server counts too, these many answers are counted to check it,
const CHECKED_FIRST: u64 = 64;
/// and after them one of so many.
const CHECKED_EVERY: u64 = 16;

/// Whether the answer to a request is counted although the server has counted it.
fn is_checked(request: u64) -> bool {
    request < CHECKED_FIRST || request.is_multiple_of(CHECKED_EVERY)
}

/// Finishes the record of an answer with this text.
pub(crate) fn complete(record: &mut Record, text: &OutputText, tokenizer: Option<&CountTokens>) {
    record.output_digest = digest(text);
    let Some(http) = &mut record.http else { return };
    if http.usage_tokens.is_some() && !is_checked(record.id) {
        return;
    }
    let Some(count) = tokenizer else { return };
    let tokens = text.choices.iter().map(|choice| count(choice)).sum();
    http.tokenizer_tokens = Some(tokens);
    if http.usage_tokens.is_none() {
        record.output_tokens = tokens;
        record.output_tokens_source = TokenSource::Tokenizer;
    }
}

/// Fingerprint of a text, choice by choice: the first 8 bytes of SHA-256 in hexadecimal. `None` without a choice.
pub(crate) fn digest(text: &OutputText) -> Option<String> {
    let mut digests = text.choices.iter().map(Sha256::digest);
    let first = digests.next()?;
    let all = digests.fold(first, |all, next| Sha256::new().chain_update(all).chain_update(next).finalize());
    Some(all.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sagellm_core::{HttpFacts, Prompt, RecordBuilder, Request, Sampling, Stamp};

    use super::*;

    /// The counts of an answer of two words: by the tokenizer, and what is believed.
    fn counts(request: u64, usage: Option<u32>) -> (Option<u32>, u32, TokenSource) {
        let request = Request {
            id: request,
            offset_ns: 0,
            session: None,
            prompt: Prompt::text("?"),
            max_tokens: 9,
            sampling: Sampling::default(),
            ignore_eos: false,
            keep_answer: false,
        };
        let mut record = RecordBuilder::new(&request, 0, false, Stamp::Kernel).finish();
        record.output_tokens = usage.unwrap_or(7);
        record.output_tokens_source = if usage.is_some() { TokenSource::Usage } else { TokenSource::Chunks };
        record.http = Some(HttpFacts { usage_tokens: usage, ..HttpFacts::default() });
        let words: CountTokens = Arc::new(|text| text.split_whitespace().count() as u32);
        complete(&mut record, &OutputText { choices: vec!["two words".into()] }, Some(&words));
        let http = record.http.unwrap();
        (http.tokenizer_tokens, record.output_tokens, record.output_tokens_source)
    }

    #[test]
    fn every_answer_is_counted_that_the_server_does_not_count() {
        assert_eq!(counts(3, None), (Some(2), 2, TokenSource::Tokenizer));
        assert_eq!(counts(65, None), (Some(2), 2, TokenSource::Tokenizer));
    }

    #[test]
    fn a_sample_of_the_servers_counts_is_checked() {
        assert_eq!(counts(63, Some(5)), (Some(2), 5, TokenSource::Usage));
        assert_eq!(counts(65, Some(5)), (None, 5, TokenSource::Usage));
        assert_eq!(counts(80, Some(5)), (Some(2), 5, TokenSource::Usage));
    }
}
