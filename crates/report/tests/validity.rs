//! Every reason that makes a run invalid, and every warning.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use sagellm_core::journal::{Header, Warmup, Wave};
use sagellm_core::{Arrival, Exit, FinishReason, Measured, OutcomeKind, Record, Source, TokenSource};
use sagellm_report::{Code, Validity, Verdict, WorkloadSummary};
use support::*;

fn sequential(count: u64) -> Vec<Record> {
    (0..count).map(|id| success(id, 1000 + id * 40, 12, 5)).collect()
}

fn reasons(summary: &WorkloadSummary) -> Vec<Code> {
    summary.details.validity.reasons.iter().map(|finding| finding.code).collect()
}

fn message(validity: &Validity, code: Code) -> &str {
    let all = validity.reasons.iter().chain(&validity.warnings);
    &all.into_iter().find(|finding| finding.code == code).unwrap().message
}

#[test]
fn a_good_run_is_valid() {
    let summary = summarize(header("w", 5), &sequential(5), Some(&close()));
    assert_eq!(reasons(&summary), []);
    assert_eq!(summary.details.validity.verdict, Verdict::Valid);
    assert_eq!(summary.details.validity.exit(), Exit::Ok);
}

#[test]
fn nothing_succeeded() {
    let records = [failure(0, 1000, OutcomeKind::Refused)];
    let summary = summarize(header("w", 1), &records, Some(&close()));
    assert_eq!(reasons(&summary), [Code::NothingSucceeded, Code::ErrorRate]);
    assert_eq!(summary.details.validity.exit(), Exit::Invalid);
    assert_eq!(summary.get("avg_ttft_ms"), None);
    assert_eq!(summary.reason("avg_ttft_ms"), "no request succeeded");
    assert_eq!(summary.get("request_throughput_rps"), Some(0.0), "a window in which nothing was done");
}

#[test]
fn the_limit_of_failures_is_that_of_the_header() {
    let mut records = sequential(9);
    records.push(failure(9, 2000, OutcomeKind::Timeout));
    let mut header = header("w", 10);
    let summary = summarize(header.clone(), &records, Some(&close()));
    assert_eq!(reasons(&summary), [Code::ErrorRate]);
    assert_eq!(
        message(&summary.details.validity, Code::ErrorRate),
        "1 of 10 requests failed: 1 timeout (the first: made to fail); 10 % are over the limit of 5 %"
    );
    header.max_error_rate = 0.1;
    let summary = summarize(header, &records, Some(&close()));
    assert_eq!(reasons(&summary), []);
    assert_eq!(
        message(&summary.details.validity, Code::SomeFailed),
        "1 of 10 requests failed: 1 timeout (the first: made to fail)"
    );
}

#[test]
fn lengths_count_only_where_they_had_to_be_reached() {
    let mut records = sequential(5);
    records[2].max_tokens = 5;
    assert_eq!(reasons(&summarize(header("w", 5), &records, Some(&close()))), [Code::OutputLength]);
    records[2].ignore_eos = false;
    assert_eq!(reasons(&summarize(header("w", 5), &records, Some(&close()))), []);
}

#[test]
fn a_server_that_says_length_is_believed_where_it_does_not_count() {
    for (source, finish_reason, believed) in [
        (TokenSource::Tokenizer, FinishReason::Length, true),
        (TokenSource::Chunks, FinishReason::Length, true),
        (TokenSource::Usage, FinishReason::Length, false),
        (TokenSource::Tokenizer, FinishReason::Stop, false),
    ] {
        let mut records = sequential(5);
        records[2].max_tokens = 5;
        records[2].output_tokens_source = source;
        records[2].finish_reason = Some(finish_reason);
        let summary = summarize(header("w", 5), &records, Some(&close()));
        assert_eq!(!reasons(&summary).contains(&Code::OutputLength), believed, "{source:?} {finish_reason:?}");
    }
}

#[test]
fn other_load_on_the_machine() {
    let of = |share| {
        let mut close = close();
        close.host.other_cpu_share = Measured::known(share);
        summarize(header("w", 5), &sequential(5), Some(&close)).details.validity
    };
    assert!(!of(0.04).has(Code::OtherLoad));
    assert_eq!(
        message(&of(0.125), Code::OtherLoad),
        "others used 12.5 % of the machine's processor time while it was measured"
    );
    assert_eq!(of(0.125).verdict, Verdict::Valid);
}

#[test]
fn a_cache_that_holds_more_than_the_prompts_share_was_warm() {
    let of = |source: Source, hits: u64, preemptions: u64, added: u32| {
        let mut close = close();
        close.backend.prefix_hit_tokens = Measured::known(hits);
        close.backend.preemptions = Measured::known(preemptions);
        let mut header = header("w", 5);
        header.workload.source = source;
        let longer = |record: Record| Record { input_tokens: record.input_tokens + added, ..record };
        let records: Vec<Record> = sequential(5).into_iter().map(longer).collect();
        summarize(header, &records, Some(&close)).details.validity
    };
    // Of 640 tokens that were looked up.
    let text = |shared_prefix_tokens| Source::Text { input_tokens: 128, output_tokens: 4, shared_prefix_tokens };
    assert_eq!(
        message(&of(text(0), 64, 0, 0), Code::WarmCache),
        "the prefix cache was warm already: 10 % of the prompt tokens came from it, and the prompts share no more than 0 %"
    );
    for (source, hits, preemptions, added) in [
        (text(0), 30, 0, 0),
        // 16 of 128 are planned to be shared.
        (text(16), 80, 0, 0),
        // The chat template of the server is the beginning of every prompt.
        (text(0), 64, 0, 20),
        // What was put back finds itself.
        (text(0), 64, 1, 0),
        // Nobody knows what real conversations have in common.
        (Source::Custom { path: "x".into(), output_tokens: None }, 600, 0, 0),
    ] {
        assert!(!of(source.clone(), hits, preemptions, added).has(Code::WarmCache), "{source:?}");
    }
}

#[test]
fn a_governor_that_changes_the_speed() {
    for (governor, warned) in [(Some("powersave"), true), (Some("performance"), false), (None, false)] {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = manifest(&["w"]);
        manifest.host.governor = governor.map(str::to_owned);
        write_manifest(folder.path(), &manifest);
        write_journal(folder.path(), header("w", 5), &sequential(5), Some(close()));
        let validity = sagellm_report::summarize_folder(folder.path()).unwrap().validity;
        assert_eq!(validity.has(Code::PowerGovernor), warned, "{governor:?}");
        if warned {
            assert!(message(&validity, Code::PowerGovernor).contains("`powersave`"));
        }
    }
}

#[test]
fn planned_but_never_sent() {
    let mut records = sequential(5);
    records[4] = Record { sent_ns: None, ..failure(4, 1160, OutcomeKind::NotSent) };
    let summary = summarize(header("w", 5), &records, Some(&close()));
    assert_eq!(reasons(&summary), [Code::NeverSent]);
    assert_eq!(message(&summary.details.validity, Code::NeverSent), "1 of 5 planned requests were never sent");
    assert_eq!(summary.get("failed_requests"), Some(0.0), "not sent is not failed");
}

#[test]
fn an_interruption_is_the_only_reason_it_gives() {
    let close = sagellm_core::journal::Close { interrupted: true, ..close() };
    let summary = summarize(header("w", 5), &sequential(3), Some(&close));
    assert_eq!(reasons(&summary), [Code::Interrupted]);
}

#[test]
fn without_its_closing_line_a_journal_is_unfinished() {
    let summary = summarize(header("w", 5), &sequential(5), None);
    assert_eq!(reasons(&summary), [Code::Unfinished]);
    assert_eq!(summary.get("peak_mem_mb"), None);
    assert!(summary.get("avg_ttft_ms").is_some(), "what it holds is good");
}

#[test]
fn a_duration_that_the_requests_did_not_last_for_is_told_of() {
    let ended = |asked: f64, unsent: u64| {
        let mut header = header("w", 5);
        header.workload.duration_s = Some(asked);
        let mut close = close();
        (close.end_ns, close.unsent) = (header.start_ns + 1_000 * MS, unsent);
        let summary = summarize(header, &sequential(5), Some(&close));
        summary.details.validity.has(Code::EndedEarly)
    };
    assert!(ended(60.0, 0));
    assert!(!ended(1.0, 0) && !ended(60.0, 3));
}

#[test]
fn lateness_counts_against_an_open_loop_only() {
    // 2 ms late where the median TTFT is 12 ms.
    let mut records = sequential(5);
    records.iter_mut().for_each(|record| record.scheduled_ns -= 2 * MS);
    let mut header = header("w", 5);
    assert_eq!(reasons(&summarize(header.clone(), &records, Some(&close()))), [], "a closed loop has no schedule");
    header.workload.arrival = Arrival::Poisson { rate: 25.0 };
    let capped = summarize(header.clone(), &records, Some(&close()));
    assert_eq!(reasons(&capped), []);
    assert!(capped.details.validity.has(Code::ClientQueueing), "the cap held requests back");
    header.workload.max_concurrency = Some(1000);
    assert_eq!(
        reasons(&summarize(header.clone(), &records, Some(&close()))),
        [Code::ScheduleLag],
        "nobody waits for it"
    );
    header.workload.max_concurrency = None;
    let open = summarize(header.clone(), &records, Some(&close()));
    assert_eq!(reasons(&open), [Code::ScheduleLag]);
    assert_eq!(
        message(&open.details.validity, Code::ScheduleLag),
        "requests were sent 2.000 ms late on average, more than 5 % of the median TTFT of 12.000 ms"
    );
    records.iter_mut().for_each(|record| record.scheduled_ns += 2 * MS - MS / 2);
    assert_eq!(reasons(&summarize(header, &records, Some(&close()))), [], "0.5 ms are within 5 %");
}

#[test]
fn a_warmup_says_what_it_cost_and_whether_it_was_stable() {
    let wave = |at_once, ttft, tbt| Wave { at_once, p50_ttft_ms: Some(ttft), p50_tbt_ms: Some(tbt) };
    let warmup = Warmup {
        requests: 24,
        succeeded: 24,
        at_once: 8,
        longest_output: 23,
        duration_ns: 2_500 * MS,
        stable: Some(false),
        waves: vec![wave(8, 900.0, 30.0), wave(8, 80.0, 12.0), wave(8, 60.0, 10.0)],
    };
    let summarized = |warmup| summarize(Header { warmup, ..header("w", 5) }, &sequential(5), Some(&close()));
    let summary = summarized(Some(warmup.clone()));
    for (key, value) in [("requests", 24.0), ("waves", 3.0), ("at_once", 8.0), ("longest_output", 23.0), ("s", 2.5)] {
        assert_eq!(summary.get(&format!("warmup_{key}")), Some(value), "{key}");
    }
    assert_eq!(
        message(&summary.details.validity, Code::WarmupUnstable),
        "the warm-up did not become stable in 3 waves (up to 8 concurrent requests, 2.5 s): median TTFT 80.000 ms, then 60.000 ms; \
         median TBT 12.000 ms, then 10.000 ms"
    );
    assert_eq!(summary.details.validity.verdict, Verdict::Valid);
    let single = Warmup { waves: warmup.waves[..1].to_vec(), ..warmup.clone() };
    let validity = summarized(Some(single)).details.validity;
    assert!(message(&validity, Code::WarmupUnstable).contains("only one wave (2.5 s)"));
    for stable in [None, Some(true)] {
        let validity = summarized(Some(Warmup { stable, ..warmup.clone() })).details.validity;
        assert!(!validity.has(Code::WarmupUnstable));
    }
}

#[test]
fn a_cold_start_is_a_warning() {
    let mut sample = sagellm_report::Sample::new(header("w", 5)).unwrap();
    sequential(5).iter().for_each(|record| sample.push(record).unwrap());
    let summary = sample.finish(Some(&close()));
    assert!(summary.details.validity.has(Code::NoWarmup));
    assert_eq!(summary.details.validity.verdict, Verdict::Valid);
    let warm = summarize(header("w", 5), &sequential(5), Some(&close()));
    assert!(!warm.details.validity.has(Code::NoWarmup));
}

#[test]
fn percentiles_are_claimed_from_their_number_of_successes_on() {
    let few = summarize(header("w", 89), &sequential(89), Some(&close()));
    assert_eq!(
        message(&few.details.validity, Code::FewSamples),
        "too few successful requests (89) to claim p95 and p99"
    );
    let more = summarize(header("w", 90), &sequential(90), Some(&close()));
    assert_eq!(message(&more.details.validity, Code::FewSamples), "too few successful requests (90) to claim p99");
    let enough = summarize(header("w", 459), &sequential(459), Some(&close()));
    assert!(!enough.details.validity.has(Code::FewSamples));
}
