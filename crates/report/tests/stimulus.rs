//! Whether what was sent is what the plan wanted: a run whose client could not keep up is found out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use sagellm_core::journal::Header;
use sagellm_core::{Arrival, Record};
use sagellm_report::{Code, WorkloadSummary};
use support::*;

const COUNT: u64 = 600;

fn paced(arrival: Arrival) -> Header {
    let mut header = header("w", COUNT as u32);
    header.workload.arrival = arrival;
    header.workload.max_concurrency = None;
    header
}

/// Requests due at `offsets` in microseconds, sent when `sent` says.
fn requests(offsets: &[u64], sent: impl Fn(u64) -> u64) -> Vec<Record> {
    let start = 1_000_000;
    let request = |(id, offset): (u64, &u64)| {
        let mut record = success(id, 0, 40, 5);
        let at = (start + sent(*offset)) * 1000;
        record.chunks.iter_mut().for_each(|chunk| chunk.at_ns += at);
        record.first_token_ns = record.first_token_ns.map(|time| time + at);
        record.last_token_ns = record.last_token_ns.map(|time| time + at);
        record.end_ns += at;
        record.scheduled_ns = (start + offset) * 1000;
        record.sent_ns = Some(at);
        record
    };
    (0..).zip(offsets).map(request).collect()
}

/// 50 requests per second for 12 s, at even or at irregular times.
fn even() -> Vec<u64> {
    (0..COUNT).map(|nth| nth * 20_000).collect()
}

fn irregular() -> Vec<u64> {
    // Gaps by the quantiles of the exponential law, in an order that a multiplier makes.
    let quantile = |nth: u64| -(1.0 - (nth as f64 + 0.5) / COUNT as f64).ln() * 20_000.0;
    let gaps = (0..COUNT).map(|nth| quantile(nth * 251 % COUNT) as u64);
    gaps.scan(0, |at, gap| Some(std::mem::replace(at, *at + gap))).collect()
}

fn judged(header: Header, records: &[Record]) -> WorkloadSummary {
    summarize(header, records, Some(&close()))
}

fn has(summary: &WorkloadSummary, code: Code) -> bool {
    summary.details.validity.reasons.iter().any(|finding| finding.code == code)
}

fn message(summary: &WorkloadSummary, code: Code) -> String {
    let all = summary.details.validity.reasons.iter().chain(&summary.details.validity.warnings);
    all.filter(|finding| finding.code == code).map(|finding| finding.message.clone()).collect()
}

#[test]
fn what_is_sent_as_planned_passes() {
    for (arrival, offsets) in
        [(Arrival::Constant { rate: 50.0 }, even()), (Arrival::Poisson { rate: 50.0 }, irregular())]
    {
        // Lateness of up to 0.2 ms, as an idle machine has it.
        let summary = judged(paced(arrival), &requests(&offsets, |offset| offset + offset % 200));
        assert!(!has(&summary, Code::Arrivals), "{:?}", summary.details.validity);
        for key in ["arrival_rate_rps", "arrival_cv", "arrival_dispersion"] {
            let (planned, sent) = (summary.get(&format!("planned_{key}")).unwrap(), summary.get(key).unwrap());
            assert!((planned - sent).abs() < 0.02 * (1.0 + planned), "{key}: {sent} for {planned}");
        }
    }
}

#[test]
fn a_client_that_sends_in_clumps_is_found_out() {
    // It wakes every 100 ms.
    let clumps = |offset: u64| offset.next_multiple_of(100_000);
    let summary = judged(paced(Arrival::Poisson { rate: 50.0 }), &requests(&irregular(), clumps));
    assert!(has(&summary, Code::Arrivals));
    let summary = judged(paced(Arrival::Constant { rate: 50.0 }), &requests(&even(), clumps));
    assert_eq!(
        message(&summary, Code::Arrivals),
        "requests were not sent in the pattern of the plan: gaps with a CV of 2.000 instead of 0.000"
    );
}

#[test]
fn a_client_that_falls_behind_is_found_out() {
    let slower = |offset: u64| offset + offset / 10;
    let summary = judged(paced(Arrival::Constant { rate: 50.0 }), &requests(&even(), slower));
    assert_eq!(
        message(&summary, Code::Arrivals),
        "requests were not sent in the pattern of the plan: 45.455 requests/s instead of 50.000"
    );
}

#[test]
fn a_client_that_pauses_is_found_out() {
    // Two pauses of a second, after which all that was due is sent at once.
    let pauses = |offset: u64| match offset / 1_000_000 {
        3 => 4_000_000,
        7 => 8_000_000,
        _ => offset,
    };
    let summary = judged(paced(Arrival::Poisson { rate: 50.0 }), &requests(&irregular(), pauses));
    assert!(message(&summary, Code::Arrivals).contains("dispersion per second"), "{:?}", summary.details.validity);
}

#[test]
fn a_cap_may_hold_requests_back_and_a_closed_loop_has_no_pattern() {
    let mut header = paced(Arrival::Constant { rate: 50.0 });
    header.workload.max_concurrency = Some(2);
    let slower = requests(&even(), |offset| offset + offset / 10);
    let summary = judged(header.clone(), &slower);
    assert!(!has(&summary, Code::Arrivals));
    header.workload.max_concurrency = Some(1000);
    assert!(has(&judged(header, &slower), Code::Arrivals), "a cap out of reach holds nothing back");
    assert!(summary.get("arrival_rate_rps").is_some());
    let summary = judged(paced(Arrival::Immediate), &requests(&even(), |offset| offset));
    assert_eq!(summary.reason("arrival_rate_rps"), "the workload has no arrival process");
}

#[test]
fn later_turns_are_no_arrivals() {
    let mut records = requests(&even(), |offset| offset);
    // Conversations of two turns, the second at a time of its own.
    for pair in records.chunks_mut(2) {
        let session = Some(pair[0].id);
        pair.iter_mut().for_each(|turn| turn.session = session);
        pair[1].scheduled_ns -= 7_000_000;
        pair[1].sent_ns = Some(pair[1].scheduled_ns);
    }
    let summary = judged(paced(Arrival::Constant { rate: 25.0 }), &records);
    assert_eq!(summary.get("planned_arrival_rate_rps"), Some(25.0));
    assert_eq!(summary.get("arrival_cv"), Some(0.0));
}

#[test]
fn prompts_are_as_long_as_planned() {
    let served = |counted: &dyn Fn(u64) -> u32| {
        let records: Vec<Record> = requests(&even(), |offset| offset)
            .into_iter()
            .map(|record| Record { input_tokens: counted(record.id), ..over_http(record) })
            .collect();
        judged(paced(Arrival::Constant { rate: 50.0 }), &records)
    };
    let summary = served(&|_| 129);
    assert_eq!(summary.get("prompt_tokens_discrepancy"), Some(1.0 / 128.0));
    assert!(message(&summary, Code::PromptLength).is_empty() && message(&summary, Code::PromptsLonger).is_empty());
    assert_eq!(
        message(&served(&|id| 150 + (id % 2) as u32), Code::PromptsLonger),
        "the server added 22 to 23 tokens to every prompt: 17.6 % more"
    );
    assert_eq!(
        message(&served(&|id| 100 + (id % 40) as u32), Code::PromptLength),
        "the prompts of 600 requests are not as long as planned: the server counted 71700 tokens instead of 76800, 6.6 % off"
    );
    // Who does not count says nothing against the plan.
    let mut records = requests(&even(), |offset| offset);
    records.iter_mut().for_each(|record| record.planned_input_tokens = None);
    let summary = judged(paced(Arrival::Constant { rate: 50.0 }), &records);
    assert_eq!(summary.get("prompt_tokens_discrepancy"), None);
}
