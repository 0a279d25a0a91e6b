//! What is sent before the measured requests, and until when.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sagellm_core::journal::Warmup;
use sagellm_core::{Arrival, OutcomeKind};
use support::{Outcome, Script, Scripted, TestPlan, plan, run};

const LONG: Duration = Duration::from_secs(20);

/// A plan of requests at once, whose warm-up is by waves.
fn waves(requests: usize, cap: Option<u32>) -> TestPlan {
    let mut plan = plan(&vec![0; requests], 0, cap);
    plan.workload.num_warmups = None;
    plan.requests.iter_mut().for_each(|request| request.max_tokens = 4);
    plan
}

/// A backend that takes so many milliseconds for a token of the nth request that it is given.
fn backend(millis: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Scripted {
    let given = AtomicU64::new(0);
    Scripted::new(move |_| Script::Answer(Duration::from_millis(millis(given.fetch_add(1, Ordering::SeqCst)))))
}

fn warmup(outcome: &Outcome) -> &Warmup {
    outcome.header.warmup.as_ref().unwrap()
}

#[test]
fn waves_at_the_load_go_on_until_two_agree() {
    // The first wave is cold, and the second half so.
    let backend = backend(|nth| {
        if nth < 6 {
            60
        } else if nth < 12 {
            30
        } else {
            10
        }
    });
    let outcome = run(&waves(12, Some(6)), &backend, LONG, None);
    let found = warmup(&outcome);
    assert_eq!((found.stable, found.at_once, found.longest_output), (Some(true), 6, 4), "{found:?}");
    assert!((4..=6).contains(&found.waves.len()), "{found:?}");
    assert_eq!((found.requests, found.succeeded), (6 * found.waves.len() as u64, found.requests));
    assert!(found.waves[0].p50_ttft_ms.unwrap() > 1.5 * found.waves[2].p50_ttft_ms.unwrap(), "{found:?}");
    assert_eq!(backend.most_running.load(Ordering::SeqCst), 6);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Success; 12]);
    // All sizes of a batch occur as the answers end.
    let mut outputs: Vec<u32> = outcome.records.iter().filter(|it| it.warmup).map(|it| it.max_tokens).take(6).collect();
    outputs.sort_unstable();
    assert_eq!(outputs, [1, 1, 2, 2, 3, 4]);
}

#[test]
fn what_never_agrees_ends_after_eight_waves() {
    let backend = backend(|nth| 2 + nth / 4 * 10);
    let outcome = run(&waves(4, Some(4)), &backend, LONG, None);
    let found = warmup(&outcome);
    assert_eq!((found.stable, found.waves.len()), (Some(false), 8), "{found:?}");
    assert_eq!(outcome.outcomes(), [OutcomeKind::Success; 4]);
}

#[test]
fn no_wave_begins_after_the_limit() {
    let mut plan = waves(4, Some(2));
    plan.warmup_max = Duration::ZERO;
    let outcome = run(&plan, &backend(|_| 5), LONG, None);
    let found = warmup(&outcome);
    assert_eq!((found.stable, found.waves.len(), found.requests), (Some(false), 1, 4), "four requests, two at once");
}

#[test]
fn a_single_stream_has_waves_of_several_requests() {
    let backend = backend(|_| 8);
    let outcome = run(&waves(10, Some(1)), &backend, LONG, None);
    let found = warmup(&outcome);
    assert_eq!((found.at_once, found.requests % 4), (1, 0), "{found:?}");
    assert_eq!(backend.most_running.load(Ordering::SeqCst), 1);
}

#[test]
fn an_open_loop_is_warmed_with_what_will_be_in_flight() {
    // 20 ms to the first token and 20 ms for each of three more, 100 requests per second: eight in flight.
    let mut plan = waves(40, None);
    plan.workload.arrival = Arrival::Poisson { rate: 100.0 };
    let outcome = run(&plan, &backend(|_| 20), LONG, None);
    let found = warmup(&outcome);
    assert!((6..=14).contains(&found.at_once), "{found:?}");
    assert!(found.waves[0].at_once == 1 && found.waves[1].at_once <= 4, "step by step: {found:?}");
}

#[test]
fn bursts_are_warmed_with_bursts() {
    let mut plan = waves(12, None);
    plan.workload.arrival = Arrival::Burst { size: 6, every_s: 1.0 };
    let outcome = run(&plan, &backend(|_| 5), LONG, None);
    assert!(warmup(&outcome).waves.iter().all(|wave| wave.at_once == 6), "{:?}", warmup(&outcome));
}

#[test]
fn a_number_of_warmups_is_sent_at_the_concurrency_of_the_workload() {
    let backend = Scripted::new(|_| Script::Answer(Duration::from_millis(20)));
    let outcome = run(&plan(&[0; 4], 8, Some(4)), &backend, LONG, None);
    let found = warmup(&outcome);
    assert_eq!((found.requests, found.at_once, found.stable, found.waves.len()), (8, 4, None, 1));
    assert_eq!(backend.most_running.load(Ordering::SeqCst), 4);
}

#[test]
fn a_backend_that_does_not_learn_gets_one_request() {
    let mut backend = backend(|_| 5);
    backend.learns = false;
    let outcome = run(&waves(8, Some(4)), &backend, LONG, None);
    let found = warmup(&outcome);
    assert_eq!((found.requests, found.stable, found.longest_output), (1, None, 4));
}

#[test]
fn waves_that_only_fail_are_given_up() {
    let outcome = run(&waves(3, Some(3)), &Scripted::new(|_| Script::Fail(OutcomeKind::Refused)), LONG, None);
    let found = warmup(&outcome);
    assert_eq!((found.waves.len(), found.succeeded, found.stable), (1, 0, Some(false)));
    assert_eq!(outcome.outcomes(), [OutcomeKind::Refused; 3]);
}
