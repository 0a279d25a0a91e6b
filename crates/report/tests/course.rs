//! Which part of a run is steady, and what is said when none is.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use sagellm_core::journal::Header;
use sagellm_core::{Arrival, Mode, Record};
use sagellm_report::{Code, SteadyMethod, WorkloadSummary};

use support::{MS, close, header, success, summarize};

fn open_loop() -> Header {
    let mut header = header("w", 200);
    header.workload.max_concurrency = None;
    header.workload.arrival = Arrival::Constant { rate: 100.0 };
    header
}

/// A request every 10 ms that takes `took_ms`.
fn every_10_ms(n: u64, took_ms: impl Fn(u64) -> u64) -> Vec<Record> {
    let of = |id| Record { end_ns: (1000 + id * 10 + took_ms(id)) * MS, ..success(id, 1000 + id * 10, 5, 2) };
    let mut records: Vec<Record> = (0..n).map(of).collect();
    records.sort_by_key(|record| record.end_ns);
    records
}

fn summary(header: Header, records: &[Record]) -> WorkloadSummary {
    summarize(header, records, Some(&close()))
}

#[test]
fn an_open_loop_is_steady_once_its_requests_in_flight_have_settled() {
    // Requests of 100 ms every 10 ms: the first ten find 0 to 9 others running, all later ones nine.
    let summary = summary(open_loop(), &every_10_ms(200, |_| 100));
    let steady = summary.details.steady.unwrap();
    assert_eq!(steady.method, SteadyMethod::Mser5);
    assert!((steady.start_s - 0.1).abs() < 1e-9 && (steady.end_s - 1.99).abs() < 1e-6, "{steady:?}");
    // Request k ends at 100 + 10 k: 1 to 189 in (100, 1990].
    assert_eq!(summary.get("steady_requests"), Some(189.0));
    // 190 are sent within and take 100 ms each; 10 are in flight for 1890 ms.
    let little = summary.get("littles_law_residual").unwrap();
    assert!((little - 100.0 / 18_900.0).abs() < 1e-6, "{little}");
    assert!(!summary.details.validity.has(Code::NoSteadyState));
}

#[test]
fn a_queue_that_grows_without_end_is_no_steady_state() {
    let summary = summary(open_loop(), &every_10_ms(200, |id| 12 + 5 * id));
    assert!(summary.details.validity.has(Code::NoSteadyState));
    assert_eq!(summary.details.steady, None);
    assert_eq!(summary.reason("steady_start_s"), "the number of requests in flight never settled");
}

#[test]
fn a_closed_loop_that_never_fills_is_no_steady_state() {
    let mut header = header("w", 60);
    header.workload.max_concurrency = Some(4);
    let one_by_one: Vec<Record> = (0..60).map(|id| success(id, 1000 + id * 50, 10, 2)).collect();
    let summary = summary(header, &one_by_one);
    assert!(summary.details.validity.has(Code::NoSteadyState));
    assert!(summary.reason("steady_requests").contains("95 % of the concurrency cap"));
}

/// Rounds of ten that begin together and end within 9 ms of one another, a round every 100 ms.
fn rounds(count: u64) -> WorkloadSummary {
    let mut header = header("w", 10 * count as u32);
    header.workload.max_concurrency = Some(10);
    let begin = |round: u64, place: u64| 1000 + round * 100 + if round == 0 { 0 } else { place };
    let of = |id: u64| {
        let (round, place) = (id / 10, id % 10);
        Record { end_ns: begin(round + 1, place) * MS, ..success(id, begin(round, place), 5, 2) }
    };
    let records: Vec<Record> = (0..10 * count).map(of).collect();
    summary(header, &records)
}

#[test]
fn a_closed_loop_of_few_rounds_has_no_steady_window() {
    let one = rounds(1);
    assert_eq!(one.details.steady, None);
    assert_eq!(
        one.reason("steady_request_throughput_rps"),
        "after the first end 0 requests ended while the concurrency cap of 10 was full: a steady state takes 3 rounds of 10"
    );
    assert!(!one.details.validity.has(Code::NoSteadyState), "short is not unsteady");
    assert_eq!(rounds(3).details.steady, None);
}

#[test]
fn the_steady_throughput_of_a_closed_loop_is_that_of_its_rounds() {
    // 10 requests per 100 ms, however few the rounds; neither the first, at whose beginning nothing ends, nor the last,
    // after which nothing begins, makes it less.
    for count in [4, 5, 20] {
        let summary = rounds(count);
        let rate = summary.get("steady_request_throughput_rps").unwrap();
        assert!((rate - 100.0).abs() < 1e-9, "{count} rounds: {rate}");
        assert_eq!(summary.details.steady.unwrap().start_s, 0.1);
    }
}

#[test]
fn requests_that_ran_together_are_no_sample_of_their_own() {
    // One round: ten that agree to the millisecond say nothing about the next ten.
    let one = rounds(1);
    for key in ["avg_e2e_ms", "avg_ttft_ms", "p50_ttft_ms", "avg_throughput_tps", "request_throughput_rps"] {
        let interval = &one.details.intervals[key];
        let reason = interval.reason.as_deref();
        assert_eq!(reason, Some("up to 10 of 10 requests ran at once: too few rounds to see how they vary"), "{key}");
        assert_eq!((interval.low, interval.n), (None, 10));
    }
    // Rounds that differ from one another and not within: the mean is as sure as ten rounds make it, not a hundred requests.
    let mut header = header("w", 100);
    header.workload.max_concurrency = Some(10);
    let slow = |round: u64| [0, 7, 3, 9, 1, 6, 2, 8, 5, 4][round as usize];
    let of = |id: u64| success(id, 1000 + id / 10 * 100, 20 + 3 * slow(id / 10), 2);
    let summary = summary(header, &(0..100).map(of).collect::<Vec<_>>());
    let interval = &summary.details.intervals["avg_ttft_ms"];
    let half = (interval.high.unwrap() - interval.low.unwrap()) / 2.0;
    // The rounds have a standard deviation of 9.1 ms, and 2.26 · 9.1 / √10 = 6.5 ms; a hundred of their own would have 1.8.
    assert!((4.0..9.0).contains(&half), "{half}");
}

#[test]
fn a_batch_is_not_expected_to_be_steady() {
    let mut header = header("w", 60);
    header.workload.mode = Mode::Batch;
    header.workload.max_concurrency = None;
    let summary = summary(header, &every_10_ms(60, |_| 100));
    assert!(!summary.details.validity.has(Code::NoSteadyState));
    assert!(summary.reason("steady_requests").contains("batch mode"));
}

#[test]
fn figures_that_change_in_the_course_of_the_run_are_pointed_out() {
    // One after the other, with TTFT about 20 ms and then about 24 ms.
    let drifting = |rise: u64| -> Vec<Record> {
        let ttft = |id: u64| 18 + id * 7 % 5 + if id < 100 { 0 } else { rise };
        (0..200).map(|id| success(id, 1000 + id * 50, ttft(id), 5)).collect()
    };
    let flat = summary(header("w", 200), &drifting(0));
    assert!(!flat.details.validity.has(Code::Drift), "{:?}", flat.details.validity);
    let risen = summary(header("w", 200), &drifting(4));
    let warnings = &risen.details.validity.warnings;
    let drift = warnings.iter().find(|finding| finding.code == Code::Drift).unwrap();
    assert!(drift.message.contains("the mean TTFT rose by 19.9 %"), "{}", drift.message);
    assert!(!drift.message.contains("TBT"), "{}", drift.message);
}
