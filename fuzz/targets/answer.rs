//! A whole answer, from its first byte to the outcome: the same however it is cut, consistent, fit to be printed, and
//! without the key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sagellm_core::{End, OutcomeKind};
use sagellm_fuzz::{cuts, memory};
use sagellm_http::fuzzing::{Read, answer};

const MAX_LINE: usize = 2048;
/// The longest head is 64 KiB, and a buffer that grows has up to thrice that for a moment; strings are made of it. Each
/// of up to 1024 choices has a hash of its own. What is left is a multiple of the longest line.
const MEMORY: usize = (1 << 20) + 64 * MAX_LINE;
/// As long as a real one: a short key is only found as a whole word.
const KEY: &str = "sk-0123456789abcdef";

fn read(bytes: &[u8], cuts: &[usize]) -> Read {
    answer(bytes, cuts, MAX_LINE, Some(KEY))
}

/// Everything but whether the connection can be used again: bytes that follow the answer may come with it or later.
fn outcome(read: &Read) -> String {
    format!("{:?} {:?} {:?}", read.end, read.tokens, read.text)
}

fuzz_target!(|bytes: &[u8]| {
    // The pieces and the text that are handed out are not held by the reader.
    let whole = memory::bounded(MEMORY + 16 * bytes.len(), || read(bytes, &[]));
    for cuts in cuts::ways(bytes) {
        assert_eq!(outcome(&read(bytes, &cuts)), outcome(&whole), "cut at {cuts:?}");
    }
    check(&whole.end);
    let chunks = whole.end.http.as_ref().map(|facts| facts.content_chunks);
    assert_eq!(chunks, Some(whole.tokens.len() as u32));
    assert!(whole.tokens.iter().all(|&tokens| tokens > 0));
    assert!(whole.text.len() <= bytes.len() * 3, "a byte that is no UTF-8 becomes three");
    if whole.end.outcome == OutcomeKind::Success {
        assert!(!whole.tokens.is_empty() && whole.end.reason.is_none());
    } else {
        assert!(whole.end.reason.is_some());
    }
});

fn check(end: &End) {
    let facts = end.http.as_ref().expect("an answer over HTTP has facts");
    for said in end.reason.iter().chain(&facts.answered_model) {
        assert!(!said.contains(KEY), "the key comes back: {said:?}");
        assert!(!said.chars().any(char::is_control), "{said:?}");
        assert!(said.chars().count() < 1500, "{} characters", said.chars().count());
    }
    for time in [facts.server_ttft_ms, facts.server_queue_ms, facts.server_generation_ms].into_iter().flatten() {
        assert!(time.is_finite());
    }
}
