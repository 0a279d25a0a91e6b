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
    assert!(drift.message.contains("the mean TTFT rose by 20 %"), "{}", drift.message);
    assert!(!drift.message.contains("TBT"), "{}", drift.message);
}
