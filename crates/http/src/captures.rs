//! Answers of real servers, read as the client reads them.

use proptest::prelude::*;
use sagellm_core::{FinishReason, OutcomeKind, TokenSource};

use crate::answer::Reading;
use crate::fuzzing::{Read, answer_as};

/// How the answers are read.
pub(crate) fn reading() -> Reading {
    Reading { model: "smollm2".into(), max_line: 8 << 20, stream_text: true, finish_reason: false, secrets: Vec::new() }
}

/// Reads an answer in pieces that end at `cuts`, after which the server closes the connection.
pub(crate) fn read(bytes: &[u8], cuts: &[usize]) -> Read {
    answer_as(bytes, cuts, &reading())
}

macro_rules! captures {
    ($($file:literal)*) => { [$(($file, &include_bytes!(concat!("../../../testdata/servers/", $file))[..])),*] };
}

/// Real answers. Most were kept without the frame of their body, which is put back: one chunk for each event.
fn captures() -> Vec<(&'static str, Vec<u8>)> {
    let kept = captures![
        "llama-cpp-python/chat_stream.http"
        "llama-cpp-python/completions_nonstream.http"
        "llama-cpp-python/completions_stream.http"
        "llama-cpp-python/completions_stream_interrupted.http"
        "llama-cpp-python/error_ctx.http"
        "llama-cpp-python/error_request_id.http"
        "llama-cpp-python/error_value.http"
        "llama-server/chat_stream.sse"
        "llama-server/completions_nonstream.json"
        "llama-server/completions_stream.sse"
        "llama-server/completions_stream_nousage.sse"
        "llama-server/error_ctx.json"
        "sglang/chat_stream.sse"
        "sglang/completions_stream.sse"
        "sglang/completions_stream_continuous_usage.sse"
        "sglang/error_ctx.txt"
        "sglang/error_model.txt"
        "vllm/chat_stream.http"
        "vllm/chat_stream.sse"
        "vllm/completions_nonstream.json"
        "vllm/completions_stream.http"
        "vllm/completions_stream.sse"
        "vllm/completions_stream_continuous_usage_logprobs.sse"
        "vllm/error_400_ctx.json"
        "vllm/error_404.json"
        "vllm/error_ctx.http"
    ];
    let whole = |name: &str, bytes: &[u8]| if name.ends_with(".http") { bytes.to_vec() } else { framed(bytes) };
    kept.into_iter().map(|(name, bytes)| (name, whole(name, bytes))).collect()
}

fn framed(kept: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(kept).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    let mut out = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        let length =
            head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        out.push_str(&body[..length.unwrap()]);
        return out.into_bytes();
    }
    for event in body.split_inclusive("\n\n").filter(|event| !event.trim().is_empty()) {
        out.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
    }
    out.push_str("0\r\n\r\n");
    out.into_bytes()
}

fn capture(name: &str) -> Read {
    let (_, bytes) = captures().into_iter().find(|(file, _)| *file == name).unwrap();
    let read = read(&bytes, &[]);
    assert_eq!(read.reusable, Some(!name.ends_with(".http") && name != "llama-server/error_ctx.json"), "{name}");
    read
}

#[test]
fn streams_of_real_servers_are_read() {
    for (name, text, tokens, chunks, prompt, cached, finish) in [
        ("vllm/completions_stream.sse", " Paris.\n\nThe answer is: 201", 12, 12, 5, None, FinishReason::Length),
        ("vllm/chat_stream.sse", "Hi, welcome to my chat!", 8, 7, 35, None, FinishReason::Stop),
        (
            "vllm/completions_stream_continuous_usage_logprobs.sse",
            " Paris.\n\nThe answer",
            6,
            6,
            5,
            None,
            FinishReason::Length,
        ),
        ("sglang/completions_stream.sse", " Paris.\n\nThe answer is: 201", 12, 12, 5, Some(2), FinishReason::Length),
        ("sglang/chat_stream.sse", "Hi, welcome to my chat!", 8, 7, 35, Some(0), FinishReason::Stop),
        (
            "sglang/completions_stream_continuous_usage.sse",
            " Paris.\n\nThe answer",
            6,
            6,
            5,
            Some(4),
            FinishReason::Length,
        ),
        ("llama-server/completions_stream.sse", "", 12, 12, 5, Some(0), FinishReason::Length),
        ("llama-server/chat_stream.sse", "Hi, welcome to my chat!", 8, 7, 35, Some(0), FinishReason::Stop),
        (
            "llama-server/completions_stream_nousage.sse",
            " Paris.\n\nThe United",
            6,
            6,
            5,
            Some(4),
            FinishReason::Length,
        ),
    ] {
        let Read { end, tokens: pieces, text: found, .. } = capture(name);
        let http = end.http.unwrap();
        assert_eq!((end.outcome, end.reason.as_deref()), (OutcomeKind::Success, None), "{name}");
        assert_eq!((end.output_tokens, end.output_tokens_source), (tokens, TokenSource::Usage), "{name}");
        assert_eq!((http.content_chunks, pieces), (chunks, vec![1; chunks as usize]), "{name}");
        assert_eq!((end.input_tokens, end.cached_tokens), (Some(prompt), cached), "{name}");
        assert_eq!((end.finish_reason, http.answered_model), (Some(finish), None), "{name}");
        assert_eq!(http.server_generation_ms.is_some(), name.starts_with("llama-server"), "{name}");
        if !text.is_empty() {
            assert_eq!(found, text, "{name}");
        }
    }
    let wrong = capture("sglang/error_model.txt").end;
    let facts = wrong.http.unwrap();
    assert_eq!((wrong.outcome, facts.answered_model.as_deref()), (OutcomeKind::Success, Some("nope")));
    assert_eq!((wrong.output_tokens, wrong.output_tokens_source), (4, TokenSource::Chunks));
}

#[test]
fn streams_in_their_own_frames_are_read() {
    for (name, text, chunks, usage, prompt, finish) in [
        ("vllm/completions_stream.http", " four, five, six, seven, eight, nine,", 12, true, Some(9), "Length"),
        ("vllm/chat_stream.http", "One, two, three, four, five, six,", 12, true, Some(39), "Length"),
        (
            "llama-cpp-python/completions_stream.http",
            " four, five...\n* **Multi-digit numbers:**",
            12,
            false,
            None,
            "Length",
        ),
        ("llama-cpp-python/chat_stream.http", "One, two, three, four, five...", 10, false, None, "Stop"),
    ] {
        let Read { end, text: found, .. } = capture(name);
        let source = if usage { TokenSource::Usage } else { TokenSource::Chunks };
        assert_eq!((end.outcome, found.as_str(), end.output_tokens), (OutcomeKind::Success, text, chunks), "{name}");
        assert_eq!((end.output_tokens_source, end.input_tokens), (source, prompt), "{name}");
        assert_eq!(format!("{:?}", end.finish_reason.unwrap()), finish, "{name}");
    }
}

#[test]
fn an_end_mark_without_the_usual_reason_is_a_cut() {
    let name = "llama-cpp-python/completions_stream_interrupted.http";
    let (_, bytes) = captures().into_iter().find(|(file, _)| *file == name).unwrap();
    let end = |finish_reason| answer_as(&bytes, &[], &Reading { finish_reason, ..reading() }).end;
    let cut = end(true);
    assert_eq!((cut.outcome, cut.output_tokens), (OutcomeKind::Truncated, 1));
    let how = "the stream ended with [DONE] but without the finish reason that this server gives";
    assert_eq!(cut.reason.as_deref(), Some(how));
    assert_eq!(end(false).outcome, OutcomeKind::Success, "some servers never give one");
    let only_done = b"HTTP/1.1 200 OK\r\n\r\ndata: [DONE]\n\n";
    let empty = answer_as(only_done, &[], &Reading { finish_reason: true, ..reading() }).end;
    assert_eq!(empty.outcome, OutcomeKind::Empty);
}

#[test]
fn errors_of_real_servers_are_read() {
    for (name, outcome, reason) in [
        ("vllm/error_ctx.http", OutcomeKind::Refused, "HTTP 400 Bad Request: {\"error\":{\"message\":\"This model's"),
        // It finds out that the prompt is too long when it has answered 200 already, and tells only its own log.
        ("llama-cpp-python/error_ctx.http", OutcomeKind::Empty, "the answer is empty"),
        ("llama-cpp-python/error_request_id.http", OutcomeKind::Refused, "HTTP 400 Bad Request: no explanation"),
        (
            "llama-cpp-python/error_value.http",
            OutcomeKind::ServerError,
            "HTTP 500 Internal Server Error: {\"error\":{\"message\":\"1 validation error",
        ),
        (
            "llama-cpp-python/completions_nonstream.http",
            OutcomeKind::Protocol,
            "HTTP 200 OK, but application/json instead of a stream: {\"id\"",
        ),
        (
            "vllm/error_404.json",
            OutcomeKind::Refused,
            "HTTP 404 Not Found: {\"error\":{\"message\":\"The model `nope` does",
        ),
        (
            "vllm/error_400_ctx.json",
            OutcomeKind::Refused,
            "HTTP 400 Bad Request: {\"error\":{\"message\":\"max_tokens=100000",
        ),
        ("sglang/error_ctx.txt", OutcomeKind::Refused, "HTTP 400 Bad Request: {\"object\":\"error\","),
        ("llama-server/error_ctx.json", OutcomeKind::Refused, "HTTP 400 Bad Request: {\"error\":{\"code\":400"),
        (
            "vllm/completions_nonstream.json",
            OutcomeKind::Protocol,
            "HTTP 200 OK, but application/json instead of a stream: {\"id\"",
        ),
        (
            "llama-server/completions_nonstream.json",
            OutcomeKind::Protocol,
            "HTTP 200 OK, but application/json instead of a stream: {\"choices\"",
        ),
    ] {
        let end = capture(name).end;
        assert_eq!(end.outcome, outcome, "{name}");
        let found = end.reason.unwrap();
        assert!(found.starts_with(reason), "{name}: {found}");
    }
}

#[test]
fn where_the_bytes_are_cut_makes_no_difference() {
    for (name, bytes) in captures() {
        let whole = format!("{:?}", read(&bytes, &[]));
        for cut in 0..bytes.len() {
            assert_eq!(format!("{:?}", read(&bytes, &[cut])), whole, "{name} cut at {cut}");
        }
        let all: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(format!("{:?}", read(&bytes, &all)), whole, "{name} byte by byte");
    }
}

#[test]
fn an_answer_cut_short_never_succeeds() {
    for (name, bytes) in captures() {
        let whole = read(&bytes, &[]);
        for length in 0..bytes.len() {
            let end = read(&bytes[..length], &[]).end;
            // After the end mark only the frame is missing.
            let told = bytes[..length].windows(6).any(|window| window == b"[DONE]");
            assert!(end.outcome.is_failure() || (told && whole.end.outcome == end.outcome), "{name} {length} {end:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_damaged_answer_is_read_alike_however_cut(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut kept = captures();
        let place = which.index(kept.len());
        let (_, mut bytes) = kept.swap_remove(place);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        let (whole, cut) = (read(&bytes, &[]), read(&bytes, &cuts));
        prop_assert_eq!(format!("{:?}", cut.end), format!("{:?}", whole.end));
        prop_assert_eq!(cut.tokens, whole.tokens);
    }
}
