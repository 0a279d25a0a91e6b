//! Results in the names of vLLM's and SGLang's own clients, beside files that these wrote.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sagellm_core::{Arrival, OutcomeKind};
use sagellm_report::render::{Format, Look, render};
use sagellm_report::summarize_folder;
use serde_json::json;
use support::*;

/// What vLLM's client writes and we do not, and why.
const NOT_OF_VLLM: [(&str, &str); 2] = [
    ("rtfx", "seconds of audio per second: only text is sent"),
    ("steady_state", "its window begins when the cap is reached, and so before anything can end; ours begins later"),
];

/// What SGLang's client writes and we do not, and why.
const NOT_OF_SGLANG: [(&str, &str); 7] = [
    ("tag", "an option of its own"),
    ("sharegpt_output_len", "a setting of its data sets"),
    ("random_input_len", "a setting of its data sets"),
    ("random_output_len", "a setting of its data sets"),
    ("random_range_ratio", "a setting of its data sets"),
    ("server_info", "what only SGLang's server answers"),
    ("accept_length", "what only SGLang's server answers"),
];

#[test]
fn what_is_written_in_other_tools_names_has_the_names_that_they_have() {
    let place = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..9).map(|id| success(id, 1000 + id * 100, 12, 10)).collect();
    write_journal(place.path(), header("w", 9), &records, Some(close()));
    let summary = summarize_folder(place.path()).unwrap();
    // Their percentiles are those that were asked for.
    let keys = |text: &str| -> BTreeSet<String> {
        let text = text.replace("Infinity", "null");
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys = object.as_object().unwrap().keys().filter(|key| !key.starts_with("p95_")).cloned();
        keys.collect()
    };
    let vllm = (Format::Vllm, "vllm_rs_0.33.0.json", &NOT_OF_VLLM[..]);
    let sglang = (Format::Sglang, "sglang_0.5.23.jsonl", &NOT_OF_SGLANG[..]);
    for (format, theirs, left_out) in [vllm, sglang] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(theirs);
        let theirs = keys(&fs::read_to_string(file).unwrap());
        let ours = keys(&render(&summary, format, Look::default()).unwrap());
        assert_eq!(ours.difference(&theirs).collect::<Vec<_>>(), ["sagellm_validity"], "unknown to them");
        let lacking: BTreeSet<&str> = theirs.difference(&ours).map(String::as_str).collect();
        assert_eq!(lacking, left_out.iter().map(|(key, _)| *key).collect(), "theirs alone");
    }
}

#[test]
fn the_spread_that_rivals_write_is_that_of_the_values_there_are() {
    // TBT of 10 and 20 ms, and an answer that came in one chunk and has none: √25 over the two.
    let mut records: Vec<_> = (0..3).map(|id| success(id, 1000 + id * 100, 12, 10 * (id + 1))).collect();
    records[2].chunks = vec![sagellm_core::Chunk { at_ns: 1212 * MS, tokens: 4, delay_ns: None, uncertainty_ns: 0 }];
    records[2].first_token_ns = Some(1212 * MS);
    records[2].last_token_ns = Some(1212 * MS);
    let folder = tempfile::tempdir().unwrap();
    write_journal(folder.path(), header("w", 3), &records, Some(close()));
    let summary = summarize_folder(folder.path()).unwrap();
    for format in [Format::Vllm, Format::Sglang] {
        let text = render(&summary, format, Look::default()).unwrap();
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        let close_to = |key: &str, wanted: f64| {
            let got = object[key].as_f64().unwrap();
            assert!((got - wanted).abs() < 1e-9, "{key}: {got} is not {wanted}");
        };
        close_to("std_tpot_ms", 5.0);
        close_to("std_itl_ms", 5.0);
        close_to("max_output_tokens_per_s", 12.0);
    }
}

#[test]
fn figures_in_other_names_keep_their_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let records = [success(0, 1000, 12, 10), failure(1, 1100, OutcomeKind::Timeout)];
    write_journal(folder.path(), header("w", 2), &records, Some(close()));
    let summary = summarize_folder(folder.path()).unwrap();
    for format in [Format::Vllm, Format::Sglang] {
        let object: serde_json::Value =
            serde_json::from_str(&render(&summary, format, Look::default()).unwrap()).unwrap();
        let verdict = "INVALID: error_rate; warnings: no_manifest, few_samples";
        assert_eq!(object["sagellm_validity"], verdict);
    }
}

#[test]
fn only_what_comes_at_once_has_an_infinite_rate() {
    let burst = Arrival::Burst { size: 4, every_s: 1.0 };
    for (arrival, rate) in [
        (Arrival::Immediate, json!("inf")),
        (Arrival::Constant { rate: 2.0 }, json!(2.0)),
        (burst, json!(null)),
        (Arrival::Trace, json!(null)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut header = header("w", 1);
        header.workload.arrival = arrival;
        write_journal(folder.path(), header, &[success(0, 1000, 12, 10)], Some(close()));
        let summary = summarize_folder(folder.path()).unwrap();
        for format in [Format::Vllm, Format::Sglang] {
            let text = render(&summary, format, Look::default()).unwrap();
            let object: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(object["request_rate"], rate);
        }
    }
}
