//! Every row of the stream grammar, over a real socket, against servers that send what a script prescribes to the byte
//! and the millisecond.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use sagellm_core::{Clock, Nanos, Stamp};
use sagellm_http::{EndpointType, StampChoice};
use sagellm_server::{Case, Scripted, conformance};

use support::{Client, Ended, options, request};

/// How far a measured time may lie from the script's.
const TOLERANCE: Nanos = 3_000_000;

/// Runs the cases of a row.
fn row(number: u8) {
    let cases = conformance().unwrap();
    let mut cases = cases.into_iter().filter(|case| case.row == number).peekable();
    assert!(cases.peek().is_some(), "the row has a case");
    for case in cases {
        run(&case);
    }
}

fn run(case: &Case) {
    let clock = Clock::start();
    let server = Scripted::start(case.script.clone(), ([127, 0, 0, 1], 0).into(), clock).unwrap();
    let mut options = options(&format!("http://{}", server.address()));
    let mut request = request(1);
    options.stream_text = true;
    for (key, value) in &case.script.ask {
        let milliseconds = || Some(Duration::from_millis(value.strip_suffix("ms").unwrap().parse().unwrap()));
        match key.as_str() {
            "endpoint" => {
                assert_eq!(value, "chat");
                options.endpoint_type = EndpointType::Chat;
                options.path = "/v1/chat/completions".into();
            }
            "max_tokens" => request.max_tokens = value.parse().unwrap(),
            "max_line" => options.max_line = value.parse().unwrap(),
            "tokenizer" if value == "bytes" => {
                options.tokenizer = Some(Arc::new(|text| u32::try_from(text.len()).unwrap()));
            }
            "tokenizer" => assert_eq!(value, "none"),
            "timeout_first_token" => options.timeout_first_token = milliseconds(),
            "timeout_between" => options.timeout_between = milliseconds(),
            other => panic!("{}: nobody here can ask for `{other}`", case.name),
        }
    }
    let name = options.request_ids.of(request.id);
    let mut client = Client::start(options, clock);
    let ended = client.ask(request);
    for (key, expected) in &case.script.expect {
        let found = value(&ended, key);
        let as_expected = match key.as_str() {
            "reason" => found.contains(expected.as_str()),
            _ => found == *expected,
        };
        assert!(as_expected, "{}: {key} is {found}, not {expected}\n{:#?}", case.name, ended.record);
    }
    check_times(case, &server, &ended, &name);
}

/// What was found, named as in a script.
fn value(ended: &Ended, key: &str) -> String {
    let (record, http) = (&ended.record, &ended.http);
    let word = |json: serde_json::Value| json.as_str().unwrap_or("null").to_owned();
    let float = |value: Option<f64>| value.map_or("null".into(), |value| value.to_string());
    match key {
        "outcome" => record.outcome.name().into(),
        "tokens" => record.output_tokens.to_string(),
        "source" => word(serde_json::to_value(record.output_tokens_source).unwrap()),
        "chunks" => {
            assert_eq!(record.chunks.len(), http.content_chunks as usize);
            http.content_chunks.to_string()
        }
        "finish" => word(serde_json::to_value(record.finish_reason).unwrap()),
        "input_tokens" => record.input_tokens.to_string(),
        "cached_tokens" => record.cached_tokens.map_or("null".into(), |tokens| tokens.to_string()),
        "status" => http.status.map_or("null".into(), |status| status.to_string()),
        "answered_model" => http.answered_model.clone().unwrap_or("null".into()),
        "server_ttft_ms" => float(http.server_ttft_ms),
        "server_queue_ms" => float(http.server_queue_ms),
        "server_prefill_ms" => float(http.server_prefill_ms),
        "server_generation_ms" => float(http.server_generation_ms),
        "reason" => record.reason.clone().unwrap_or_default(),
        other => panic!("nobody here can find `{other}`"),
    }
}

/// Compares the record with what the server knows to have done.
fn check_times(case: &Case, server: &Scripted, ended: &Ended, name: &str) {
    let truth = server.truth();
    let [exchange] = truth.as_slice() else { panic!("{}: one request was sent, not {}", case.name, truth.len()) };
    assert_eq!(exchange.request_id.as_deref(), Some(name), "{}", case.name);
    let record = &ended.record;
    let near = |what: &str, measured: Option<Nanos>, truth: Nanos| {
        let measured = measured.unwrap_or_else(|| panic!("{}: {what} was not measured", case.name));
        let error = measured.abs_diff(truth);
        assert!(error <= TOLERANCE, "{}: {what} is {measured} ns, in truth {truth} ns", case.name);
    };
    let since_sent = |at: Option<Nanos>| Some(at? - record.sent_ns?);
    if let Some(first) = exchange.mark("first_token") {
        near("TTFT", since_sent(record.first_token_ns), first - exchange.arrival.at);
    }
    if let Some(visible) = exchange.mark("first_visible") {
        near("the first visible token", since_sent(ended.http.first_visible_ns), visible - exchange.arrival.at);
    }
    if let (Some(first), Some(last)) = (exchange.mark("first_token"), exchange.mark("last_token")) {
        let measured = Some(record.last_token_ns.unwrap() - record.first_token_ns.unwrap());
        near("TBT times tokens", measured, last - first);
    }
    if record.stamp == Stamp::Kernel {
        assert!(ended.http.sent_kernel_ns.is_some(), "{}: the kernel stamped no departure", case.name);
        for chunk in &record.chunks {
            assert!(chunk.delay_ns.is_some(), "{}: the kernel stamped no arrival", case.name);
        }
    }
}

macro_rules! rows {
    ($($name:ident: $row:literal)*) => { $(
        #[test]
        fn $name() {
            row($row);
        }
    )* };
}

rows! {
    row_01_role_first: 1
    row_02_reasoning_content: 2
    row_03_reasoning: 3
    row_04_error_in_stream: 4
    row_05_no_end_mark: 5
    row_06_reset: 6
    row_07_several_tokens_per_chunk: 7
    row_08_usage_with_choices: 8
    row_09_line_ends: 9
    row_10_only_done: 10
    row_11_comments: 11
    row_12_calls: 12
    row_13_no_space: 13
    row_14_comment_and_data: 14
    row_15_other_fields: 15
    row_16_bytes_not_segments: 16
    row_17_no_usage: 17
    row_18_data_over_lines: 18
    row_19_byte_order_mark: 19
    row_20_usage_on_every_chunk: 20
    row_21_several_choices: 21
    row_22_finish_reasons: 22
    row_23_errors: 23
    row_24_bodies: 24
    row_25_broken_protocol: 25
    row_26_silence: 26
    row_27_times_of_the_server: 27
    row_28_another_model: 28
}

#[test]
fn every_row_has_its_test() {
    let rows: std::collections::BTreeSet<u8> = conformance().unwrap().iter().map(|case| case.row).collect();
    assert_eq!(rows, (1..=28).collect());
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_holds_the_watch_unless_told_otherwise() {
    let cases = conformance().unwrap();
    let case = &cases[0];
    let clock = Clock::start();
    let server = Scripted::start(case.script.clone(), ([127, 0, 0, 1], 0).into(), clock).unwrap();
    for (choice, expected) in [(StampChoice::Kernel, Stamp::Kernel), (StampChoice::User, Stamp::User)] {
        let mut options = options(&format!("http://{}", server.address()));
        options.stamp = choice;
        let ended = Client::start(options, clock).ask(request(1));
        assert_eq!(ended.record.stamp, expected);
        let stamped = ended.record.chunks.iter().filter(|chunk| chunk.delay_ns.is_some()).count();
        assert_eq!(stamped, if expected == Stamp::Kernel { ended.record.chunks.len() } else { 0 });
        assert_eq!(ended.http.sent_kernel_ns.is_some(), expected == Stamp::Kernel);
    }
}
