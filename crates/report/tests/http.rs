//! What is judged of requests over HTTP, and what becomes of very many.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use sagellm_core::journal::{Close, Header, Stalls};
use sagellm_core::{HttpFacts, Measured, OutcomeKind, Record, Stamp};
use sagellm_report::{Code, Finding, Manifest, Verdict, WorkloadSummary, summarize_folder};
use support::*;

/// Five requests with a TTFT of 12 ms and a TBT of 5 ms.
fn served() -> Vec<Record> {
    (0..5).map(|id| over_http(success(id, 1000 + id * 40, 12, 5))).collect()
}

fn calibrated(ttft_p99: f64, tbt_p99: f64) -> Header {
    Header { calibration: Some(calibration(ttft_p99, tbt_p99)), ..header("w", 5) }
}

fn codes(findings: &[Finding]) -> Vec<Code> {
    findings.iter().map(|finding| finding.code).filter(|code| *code != Code::FewSamples).collect()
}

fn reasons(summary: &WorkloadSummary) -> Vec<Code> {
    codes(&summary.details.validity.reasons)
}

fn warnings(summary: &WorkloadSummary) -> Vec<Code> {
    codes(&summary.details.validity.warnings)
}

fn message(summary: &WorkloadSummary, code: Code) -> String {
    let validity = &summary.details.validity;
    let mut all = validity.reasons.iter().chain(&validity.warnings);
    all.find(|finding| finding.code == code).unwrap().message.clone()
}

/// Changes what HTTP adds to each record.
fn with(mut records: Vec<Record>, change: impl Fn(u64, &mut HttpFacts)) -> Vec<Record> {
    records.iter_mut().for_each(|record| change(record.id, record.http.as_mut().unwrap()));
    records
}

fn judge(records: &[Record]) -> WorkloadSummary {
    summarize(calibrated(0.1, 0.01), records, Some(&close()))
}

fn judge_with(close: Close) -> WorkloadSummary {
    summarize(calibrated(0.1, 0.01), &served(), Some(&close))
}

#[test]
fn a_good_run_is_valid_without_a_warning() {
    let summary = judge(&served());
    assert_eq!((reasons(&summary), warnings(&summary)), (vec![], vec![]));
}

/// The same with stamps of the client's own.
fn self_stamped() -> Vec<Record> {
    let mut records = served();
    for record in &mut records {
        record.stamp = Stamp::User;
        record.chunks.iter_mut().for_each(|chunk| chunk.delay_ns = None);
    }
    records
}

#[test]
fn a_client_whose_error_is_large_was_the_bottleneck() {
    // 5 % of 12 ms and of 5 ms are 0.6 and 0.25.
    for (ttft, tbt, wanted) in [(0.6, 0.25, 0), (0.61, 0.25, 1), (0.6, 0.26, 1), (9.0, 9.0, 2)] {
        let summary = summarize(calibrated(ttft, tbt), &self_stamped(), Some(&close()));
        assert_eq!(reasons(&summary), vec![Code::ClientError; wanted], "{ttft} and {tbt}");
    }
    let summary = summarize(calibrated(0.61, 0.0), &self_stamped(), Some(&close()));
    assert_eq!(
        message(&summary, Code::ClientError),
        "the client was the bottleneck: its own error on the TTFT at this load is 0.610 ms (p99), more than 5 % of the \
         median of 12.000 ms"
    );
}

#[test]
fn a_calibration_is_no_evidence_against_stamps_of_the_kernel() {
    let summary = summarize(calibrated(16.763, 9.0), &served(), Some(&close()));
    assert_eq!((reasons(&summary), warnings(&summary)), (vec![], vec![]));
}

#[test]
fn reading_late_is_a_note_where_the_kernel_stamps() {
    let mut records = served();
    let all = records.iter_mut().flat_map(|record| &mut record.chunks);
    all.for_each(|chunk| chunk.delay_ns = Some(250_000));
    assert_eq!(judge(&records).details.validity.notes, [], "0.25 ms are 5 % of 5 ms");
    records.iter_mut().flat_map(|record| &mut record.chunks).for_each(|chunk| chunk.delay_ns = Some(251_000));
    let summary = judge(&records);
    assert_eq!((reasons(&summary), warnings(&summary)), (vec![], vec![]));
    let notes = &summary.details.validity.notes;
    assert_eq!(codes(notes), [Code::ClientLate]);
    assert_eq!(
        notes[0].message,
        "chunks were read 0.251 ms (p99) after the kernel stamped them, more than 5 % of the median TBT of 5.000 ms; times \
         are taken from the stamps"
    );
}

#[test]
fn times_of_chunks_that_were_read_together_have_a_bound() {
    // Of the TTFT 5 % are 0.6 ms and 1 % is 0.12 ms; of the TBT 1 % is 0.05 ms.
    let uncertain = |place: usize, ns: u32| {
        let mut records = served();
        records.iter_mut().for_each(|record| record.chunks[place].uncertainty_ns = ns);
        judge(&records)
    };
    assert_eq!(reasons(&uncertain(0, 120_000)), []);
    let summary = uncertain(0, 121_000);
    assert_eq!(reasons(&summary), [Code::UncertainTimes]);
    assert_eq!(
        message(&summary, Code::UncertainTimes),
        "chunks waited together to be read, so the mean TTFT is known to 0.121 ms only, more than 1 % of the median of \
         12.000 ms"
    );
    assert_eq!(summary.get("ttft_uncertainty_ms"), Some(0.121));
    assert_eq!(summary.get("uncertain_first_tokens"), Some(1.0));
    assert!(
        message(&uncertain(0, 700_000), Code::UncertainTimes).contains("the p99 of the TTFT is known to 0.700 ms only")
    );
    assert!(message(&uncertain(3, 160_000), Code::UncertainTimes).contains("the mean TBT is known to 0.053 ms only"));
    let one_of_many = uncertain(1, 300_000);
    assert_eq!(reasons(&one_of_many), [], "neither first nor last");
    assert_eq!(one_of_many.get("p99_itl_ms"), None, "two thirds of the gaps have an uncertain end");
    assert_eq!(
        one_of_many.reason("p99_itl_ms"),
        "66.67 % of the gaps are between chunks that were read together: this lies among them"
    );
    assert_eq!(one_of_many.get("avg_itl_ms"), Some(5.0));
}

#[test]
fn a_client_that_did_not_run_measured_nothing() {
    let stalled = |stalls: Stalls| judge_with(Close { stalls: Some(stalls), ..close() });
    // From the first request sent to the last end are 188 ms.
    let short = Stalls { count: 1, total_ns: 3_700_000, worst_ns: 3_700_000, ..Stalls::default() };
    assert_eq!(reasons(&stalled(short)), []);
    let long = Stalls { count: 2, total_ns: 60 * MS, worst_ns: 40 * MS, journal_ns: 20 * MS, suspended_ns: 0 };
    let summary = stalled(long);
    assert_eq!(reasons(&summary), [Code::ClientStalled]);
    assert_eq!(
        message(&summary, Code::ClientStalled),
        "the client did not run for 0.060 s, 31.9 % of the time (2 stalls, the longest 0.040 s, 0.020 s of it waiting for the \
         journal to be written): it was stopped or had no processor"
    );
    let asleep = Stalls { suspended_ns: 4_000 * MS, ..Stalls::default() };
    assert_eq!(message(&stalled(asleep), Code::ClientStalled), "the machine was suspended for 4.0 s during the run");
}

#[test]
fn a_lossy_path_is_a_warning() {
    let summary = judge(&with(served(), |id, http| http.out_of_order_segments = u32::from(id == 0) * 3));
    assert_eq!(warnings(&summary), [Code::LossyPath]);
    assert!(
        message(&summary, Code::LossyPath)
            .starts_with("TCP segments were lost on the path in 1 of 5 requests (3 out of")
    );
}

#[test]
fn stamps_of_its_own_need_a_calibration() {
    let records = self_stamped();
    assert_eq!(warnings(&judge(&records)), []);
    let uncalibrated = summarize(header("w", 5), &records, Some(&close()));
    assert_eq!(warnings(&uncalibrated), [Code::ClientErrorUnknown]);
    assert_eq!(uncalibrated.reason("p99_client_error_ms"), "the client was not calibrated before the run");
    assert!(uncalibrated.reason("p99_client_delay_ms").starts_with("stamps were taken after the read"));
    let by_kernel = summarize(header("w", 5), &served(), Some(&close()));
    assert_eq!(warnings(&by_kernel), [], "the kernel's stamps bound the error by themselves");
}

#[test]
fn a_client_that_refills_slots_late_was_the_bottleneck() {
    // 5 % of the median E2E of 27 ms are 1.35 ms.
    let late = |of: fn(u64) -> u64| {
        let mut records = served();
        records.iter_mut().for_each(|record| record.scheduled_ns -= of(record.id));
        judge(&records)
    };
    assert_eq!(reasons(&late(|_| 900_000)), []);
    let summary = late(|_| 1_360_000);
    assert_eq!(reasons(&summary), [Code::HandOver]);
    assert_eq!(
        message(&summary, Code::HandOver),
        "the client was the bottleneck: slots of the closed loop were empty for 3.6 % of the time (slots were refilled after \
         1.360 ms in the median, 1.360 ms on average, 1.360 ms at most), so the load was less than asked"
    );
    let stalled = late(|id| if id == 3 { 12 * MS } else { 0 });
    assert_eq!(reasons(&stalled), [Code::HandOver], "a single stall counts by what it cost, not by the median");
    // Nothing is refilled where every request has a slot from the start.
    let mut all_at_once = calibrated(0.1, 0.01);
    all_at_once.workload.max_concurrency = Some(5);
    let mut records = served();
    records.iter_mut().for_each(|record| record.scheduled_ns -= 20 * MS);
    assert_eq!(reasons(&summarize(all_at_once, &records, Some(&close()))), []);
}

#[test]
fn a_client_that_used_up_its_threads_is_told_of() {
    let judged = |used: f64, threads: &str, stamp: Stamp| {
        let mut close = close();
        close.client_cpu_percent = Measured::known(used);
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = manifest(&["w"]);
        manifest.host.logical_cpus = 8;
        manifest.backend.stamp = stamp;
        manifest.backend.settings.insert("client_threads".into(), threads.into());
        write_manifest(folder.path(), &manifest);
        write_journal(folder.path(), calibrated(0.1, 0.01), &served(), Some(close));
        let summary = summarize_folder(folder.path()).unwrap();
        let of_workload = summary.workloads.iter().map(|workload| workload.details.validity.verdict).next().unwrap();
        assert_eq!(of_workload, summary.validity.verdict, "what is exported of a workload has its verdict");
        (summary.validity.has(Code::ClientBusy), summary.validity.verdict)
    };
    assert_eq!(judged(89.0, "1", Stamp::Kernel), (false, Verdict::Valid));
    assert_eq!(judged(90.0, "1", Stamp::Kernel), (true, Verdict::Valid), "a warning");
    assert_eq!(judged(170.0, "2", Stamp::Kernel), (false, Verdict::Valid));
    assert_eq!(judged(185.0, "2", Stamp::User), (true, Verdict::Invalid));
    assert_eq!(
        judged(90.0, "", Stamp::User),
        (false, Verdict::Valid),
        "the threads of the engine are not the client's"
    );
}

#[test]
fn counts_of_tokens_must_agree() {
    let counted =
        |tokenizer| with(served(), |_, http| (http.usage_tokens, http.tokenizer_tokens) = (Some(50), tokenizer));
    assert_eq!(reasons(&judge(&counted(Some(49)))), [], "2 % are not more than 2 %");
    for tokenizer in [48, 52] {
        assert_eq!(reasons(&judge(&counted(Some(tokenizer)))), [Code::TokenCounts], "{tokenizer} for 50");
    }
    assert_eq!(
        message(&judge(&counted(Some(48))), Code::TokenCounts),
        "the counts of output tokens differ by 4 %, more than 2 %: 250 by the server's usage, 240 by the tokenizer in the 5 \
         answers that were checked"
    );
    // Too few here and too many there are two errors, though one token may be of the text that is cut again.
    let opposite = with(served(), |id, http| {
        (http.usage_tokens, http.tokenizer_tokens) = (Some(50), Some(if id % 2 == 0 { 48 } else { 53 }));
    });
    let opposite = judge(&opposite);
    assert_eq!(reasons(&opposite), [Code::TokenCounts]);
    assert_eq!(opposite.get("output_tokens_discrepancy"), Some(7.0 / 250.0));
    let uncounted = judge(&counted(None));
    assert_eq!(reasons(&uncounted), []);
    assert_eq!(uncounted.reason("output_tokens_discrepancy"), "no successful answer was counted by both");
    let partly = with(served(), |id, http| http.usage_tokens = http.usage_tokens.filter(|_| id < 2));
    let partly = judge(&partly);
    assert_eq!(partly.reason("usage_output_tokens"), "3 of 5 successful answers have no usage from the server");
    assert_eq!(partly.get("output_tokens_discrepancy"), Some(0.0), "only answers with both counts are compared");
}

#[test]
fn one_server_and_one_model() {
    let mut restarted = close();
    restarted.backend.server = Some(sagellm_core::ServerWindow { restarted: true, ..server_window(11.0) });
    let summary = summarize(calibrated(0.1, 0.01), &served(), Some(&restarted));
    assert_eq!(reasons(&summary), [Code::ServerRestarted]);

    let other = judge(&with(served(), |_, http| http.answered_model = Some("other".into())));
    assert_eq!((reasons(&other), warnings(&other)), (vec![], vec![Code::AnsweredModel]));
    assert_eq!(
        message(&other, Code::AnsweredModel),
        "the answers are from another model than the one asked: `other` (5)"
    );
    let changed = judge(&with(served(), |id, http| http.answered_model = (id > 2).then(|| "other".into())));
    assert_eq!((reasons(&changed), warnings(&changed)), (vec![Code::ModelChanged], vec![]));
    assert_eq!(
        message(&changed, Code::ModelChanged),
        "not all answers are from the same model: the one asked (3), `other` (2)"
    );
    let failed = served().into_iter().map(|record| match record.id {
        0 => Record { outcome: OutcomeKind::Truncated, ..record },
        _ => record,
    });
    let failed = with(failed.collect(), |id, http| http.answered_model = (id > 0).then(|| "other".into()));
    assert_eq!(reasons(&judge(&failed)), [Code::ErrorRate], "a failed answer names no model");
}

#[test]
fn a_clock_that_was_set_casts_doubt_on_the_kernels_stamps() {
    // 5 % of 12 ms are 0.6 ms, of 40 ms 2 ms.
    let slow: Vec<Record> = (0..5).map(|id| over_http(success(id, 1000 + id * 80, 40, 5))).collect();
    let drifted = |records: &[Record], drift: i64| {
        let close = Close { wall_drift_ns: Some(drift), ..close() };
        summarize(calibrated(0.1, 0.01), records, Some(&close))
    };
    for (records, drift, reason, warning) in
        [(&served(), 600_000, 0, 0), (&served(), -600_001, 1, 0), (&slow, 1_000_000, 0, 0), (&slow, -1_000_001, 0, 1)]
    {
        let summary = drifted(records, drift);
        assert_eq!(reasons(&summary), vec![Code::ClockMoved; reason], "{drift}");
        assert_eq!(warnings(&summary), vec![Code::ClockMoved; warning], "{drift}");
    }
    assert_eq!(
        message(&drifted(&served(), 700_000), Code::ClockMoved),
        "the system's time moved by 0.700 ms against the clock of the run, so the kernel's stamps may be off by that: more \
         than 5 % of the median TTFT of 12.000 ms"
    );
}

#[test]
fn chunks_that_the_kernel_did_not_stamp_are_counted() {
    let mut records = served();
    records[1].chunks[2].delay_ns = None;
    let summary = judge(&records);
    assert_eq!(warnings(&summary), [Code::StampsMissing]);
    let said = message(&summary, Code::StampsMissing);
    assert!(said.starts_with("1 of 20 chunks are stamped by this program, "), "{said}");
}

#[test]
fn retries_are_told() {
    let summary = judge(&with(served(), |id, http| http.retries = id as u32 % 3));
    assert_eq!((reasons(&summary), warnings(&summary)), (vec![], vec![Code::Retries]));
    assert_eq!(
        message(&summary, Code::Retries),
        "3 of 5 requests were sent again (4 retries, 0 because the server had closed the idle connection before the request could \
         reach it); their latencies count from the first time"
    );
}

#[test]
fn what_a_server_tells_of_speculation_and_memory_is_kept() {
    let mut ended = close();
    ended.backend.spec_drafted_tokens = Measured::unknown("SGLang does not expose counts");
    ended.backend.server = Some(sagellm_core::ServerWindow {
        spec_accept_rate: Some(0.625),
        spec_accept_length: Measured::known(3.0),
        weight_bytes: Measured::known(512.0 * 1_048_576.0),
        cut: Some("its counters end 500 ms before the window, because `/metrics` timed out".into()),
        ..server_window(11.0)
    });
    let summary = summarize(calibrated(0.1, 0.01), &served(), Some(&ended));
    let figures = ["spec_accept_rate", "spec_accept_length", "server_weights_mb"].map(|key| summary.get(key));
    assert_eq!(figures, [Some(0.625), Some(3.0), Some(512.0)]);
    assert_eq!((reasons(&summary), warnings(&summary)), (vec![], vec![Code::MetricsCut]));
}

#[test]
fn an_unchecked_certificate_is_told_of_the_whole_run() {
    let told = |insecure: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest: Manifest = manifest(&["w"]);
        manifest.backend.settings.insert("tls_insecure".into(), insecure.into());
        write_manifest(folder.path(), &manifest);
        write_journal(folder.path(), header("w", 5), &served(), Some(close()));
        summarize_folder(folder.path()).unwrap().validity.has(Code::TlsInsecure)
    };
    assert!(told("true") && !told("false"));
}

#[test]
fn failures_are_infinite_for_those_who_waited() {
    let mut records: Vec<Record> = (0..199).map(|id| success(id, 1000 + id * 40, 10 + id, 5)).collect();
    records.push(failure(199, 9000, OutcomeKind::Timeout));
    // 1 of 200 is 0.5 %: the p99 still lies among the successes, at place 0.99 · 199 = 197.01 of 0 to 199.
    let summary = summarize(header("w", 200), &records, Some(&close()));
    assert_eq!(summary.get("p99_ttft_inflated_ms"), Some(207.01));
    assert_eq!(
        summary.figure("p99.9_ttft_inflated_ms"),
        Measured::unknown("1 of 200 requests failed: this percentile lies among them")
    );
    for id in 200..204 {
        records.push(failure(id, 9000 + id * 40, OutcomeKind::Connection));
    }
    let summary = summarize(header("w", 204), &records, Some(&close()));
    assert_eq!(summary.get("p99_e2e_inflated_ms"), None);
    assert!(summary.get("p95_e2e_inflated_ms") > summary.get("p95_e2e_ms"), "failures push the others up");
}

/// 30 000 requests have 120 000 chunks, which are all kept; 50 000 have more gaps than are kept.
#[test]
fn very_many_values_are_within_a_thousandth_and_say_so() {
    let of = |count: u64| {
        let records: Vec<Record> = (0..count).map(|id| success(id, 1000 + id * 40, 12, 1 + id * 7919 % 1009)).collect();
        summarize(header("w", count as u32), &records, Some(&close()))
    };
    let (exact, sketched) = (of(30_000), of(50_000));
    assert!(exact.details.sketch_relative_error.is_empty());
    let sketches = &sketched.details.sketch_relative_error;
    assert_eq!(sketches.keys().collect::<Vec<_>>(), ["chunk_tokens", "itl", "itl_token"]);
    assert!(sketches.values().all(|error| *error <= 0.001));
    // Gaps are spread evenly from 1 to 1009 ms.
    for (key, truth) in [("p50_itl_ms", 505.0), ("p90_itl_ms", 908.2), ("p99_itl_ms", 998.92)] {
        let got = sketched.get(key).unwrap();
        assert!((got - truth).abs() <= 0.002 * truth, "{key} is {got}, not {truth}");
    }
    assert_eq!(sketched.get("max_itl_ms"), Some(1009.0), "extremes stay exact");
    let (mean, of_few) = (sketched.get("avg_itl_ms").unwrap(), exact.get("avg_itl_ms").unwrap());
    assert!((mean - of_few).abs() < 0.5 && (mean - 505.0).abs() < 0.5, "{mean}");
}

#[test]
fn nothing_is_said_of_single_chunks_whose_tokens_are_told_only_in_all() {
    let mut records = served();
    let chunks: usize = records.iter().map(|record| record.chunks.len()).sum();
    for record in &mut records {
        record.output_tokens = 4 * record.chunks.len() as u32;
    }
    let summary = judge(&records);
    assert_eq!(summary.get("avg_chunk_tokens"), Some(4.0), "the totals are enough for it");
    for key in ["p50_chunk_tokens", "max_chunk_tokens", "avg_itl_token_ms"] {
        assert_eq!(summary.get(key), None, "{key}");
        let told = format!("({} tokens came in {chunks} chunks)", 4 * chunks);
        assert!(summary.reason(key).contains(&told), "{}", summary.reason(key));
    }
    assert!(summary.get("avg_itl_ms").is_some(), "the gaps are known");
}
