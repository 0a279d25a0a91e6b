//! Plans run on a scripted backend: what is sent when, and what the journal holds afterwards.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use sagellm_core::{Exit, Mode, OutcomeKind, Record, UserError};
use sagellm_run::Silent;
use support::{Script, Scripted, plan, run};

const MS: u64 = 1_000_000;
const LONG: Duration = Duration::from_secs(20);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_sequential_loop_runs_one_after_the_other_and_its_slots_are_its_schedule() {
    let backend = Scripted::new(|_| Script::Answer(millis(1)));
    let outcome = run(&plan(&[0; 4], 2, Some(1)), &backend, LONG, None);
    assert_eq!(backend.order(), [4, 5, 0, 1, 2, 3], "warm-ups first, then in order");
    assert_eq!(backend.most_running.load(Ordering::SeqCst), 1);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Success; 4]);
    assert_eq!(outcome.run.outcomes[&OutcomeKind::Success], 4);

    let measured = outcome.measured();
    assert_eq!(measured[0].scheduled_ns, outcome.header.start_ns);
    for pair in measured.windows(2) {
        assert_eq!(pair[1].scheduled_ns, pair[0].end_ns, "due when the slot became free");
        assert!(pair[1].sent_ns.unwrap() >= pair[0].end_ns);
    }
    for record in &outcome.records {
        assert_eq!((record.output_tokens, record.chunks.len(), record.input_tokens), (3, 3, 2));
        assert_eq!(record.warmup, record.id >= 4);
        assert_eq!(record.warmup, record.end_ns < outcome.header.start_ns, "the window excludes the warm-up");
    }
    assert!(outcome.close.end_ns >= measured[3].end_ns);
    assert!(!outcome.close.interrupted && outcome.run.gone.is_none());
    assert_eq!(outcome.log.events.len(), 6 * 5, "sent, three tokens and the end of each");
    assert_eq!(outcome.log.events.iter().filter(|(_, warmup)| *warmup).count(), 2 * 5);
}

#[test]
fn the_cap_is_used_and_never_exceeded() {
    let backend = Scripted::new(|request| Script::Answer(millis(1 + request.id % 3)));
    let outcome = run(&plan(&[0; 40], 0, Some(4)), &backend, LONG, None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Success; 40]);
    assert_eq!(backend.most_running.load(Ordering::SeqCst), 4);
    assert_eq!(backend.order(), (0..40).collect::<Vec<u64>>());
    let mut ends: Vec<u64> = outcome.records.iter().map(|record| record.end_ns).collect();
    ends.sort_unstable();
    let mut scheduled: Vec<u64> = outcome.measured().iter().skip(4).map(|record| record.scheduled_ns).collect();
    scheduled.sort_unstable();
    assert_eq!(scheduled, ends[..36], "each slot is taken over from one end");
}

#[test]
fn without_a_cap_everything_is_offered_at_once() {
    let backend = Scripted::new(|_| Script::Answer(millis(30)));
    let outcome = run(&plan(&[0; 12], 0, None), &backend, LONG, None);
    assert_eq!(backend.most_running.load(Ordering::SeqCst), 12);
    assert!(outcome.measured().iter().all(|record| record.scheduled_ns == outcome.header.start_ns));
}

#[test]
fn a_capped_batch_is_scheduled_at_its_start() {
    let mut plan = plan(&[0; 3], 0, Some(1));
    plan.workload.mode = Mode::Batch;
    let backend = Scripted::new(|_| Script::Answer(millis(2)));
    let outcome = run(&plan, &backend, LONG, None);
    assert_eq!(backend.most_running.load(Ordering::SeqCst), 1);
    assert!(outcome.measured().iter().all(|record| record.scheduled_ns == outcome.header.start_ns));
}

#[test]
fn offsets_are_kept_and_counted_from_the_start_of_the_window() {
    let offsets = [0, 40, 41, 90, 200];
    let backend = Scripted::new(|_| Script::Answer(millis(20)));
    let outcome = run(&plan(&offsets, 1, None), &backend, LONG, None);
    for (record, offset) in outcome.measured().iter().zip(offsets) {
        let due = outcome.header.start_ns + offset * MS;
        assert_eq!(record.scheduled_ns, due);
        let sent = record.sent_ns.unwrap();
        assert!(sent >= due, "never early");
        assert!(sent - due < 100 * MS, "{} ms late", (sent - due) / MS);
    }
}

#[test]
fn a_backend_with_a_lead_gets_requests_ahead_of_their_time_but_none_of_after_the_end() {
    let offsets = [0, 100, 101, 200, 305];
    let mut plan = plan(&offsets, 0, None);
    plan.workload.duration_s = Some(0.3);
    let mut backend = Scripted::new(|_| Script::Answer(millis(1)));
    backend.lead = 60 * MS;
    let outcome = run(&plan, &backend, LONG, None);
    let handed_over = backend.handed_over.lock().unwrap().clone();
    assert_eq!(handed_over.len(), 4, "the last is due after the end, though within the lead before it");
    for ((at, due), offset) in handed_over.into_iter().zip(offsets) {
        assert_eq!(due, outcome.header.start_ns + offset * MS);
        assert!(at + 60 * MS >= due, "no sooner than the lead allows");
        assert!(offset == 0 || at < due, "ahead of its time");
    }
}

#[test]
fn a_capped_open_loop_waits_for_a_slot_and_shows_it() {
    let backend = Scripted::new(|_| Script::Answer(millis(20)));
    let outcome = run(&plan(&[0, 1, 2], 0, Some(1)), &backend, LONG, None);
    assert_eq!(backend.most_running.load(Ordering::SeqCst), 1);
    let measured = outcome.measured();
    for (record, offset) in measured.iter().zip(0..) {
        assert_eq!(record.scheduled_ns, outcome.header.start_ns + offset * MS, "the plan's own time");
    }
    assert!(measured[2].sent_ns.unwrap() - measured[2].scheduled_ns > 100 * MS, "two answers of 60 ms came before");
}

#[test]
fn every_failure_is_a_record_of_its_kind() {
    const KINDS: [OutcomeKind; 4] =
        [OutcomeKind::Refused, OutcomeKind::ServerError, OutcomeKind::Truncated, OutcomeKind::Empty];
    let backend = Scripted::new(|request| match KINDS.get(usize::try_from(request.id).unwrap()) {
        Some(kind) => Script::Fail(*kind),
        None => Script::Answer(millis(1)),
    });
    let outcome = run(&plan(&[0; 5], 0, Some(1)), &backend, LONG, None);
    assert_eq!(outcome.outcomes()[..4], KINDS);
    assert_eq!(outcome.outcomes()[4], OutcomeKind::Success);
    assert_eq!(outcome.measured()[0].reason.as_deref(), Some("as scripted"));
    assert_eq!(outcome.run.outcomes.len(), 5);
}

#[test]
fn a_hanging_request_times_out_and_gives_its_slot_to_the_next() {
    let backend = Scripted::new(|request| if request.id == 1 { Script::Hang } else { Script::Answer(millis(1)) });
    let outcome = run(&plan(&[0; 3], 0, Some(1)), &backend, millis(150), None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Success, OutcomeKind::Timeout, OutcomeKind::Success]);
    let late = outcome.measured()[1];
    assert_eq!(late.reason.as_deref(), Some("no complete answer within 0.15 s"));
    let took = late.end_ns - late.sent_ns.unwrap();
    assert!((150 * MS..400 * MS).contains(&took), "{} ms", took / MS);
}

#[test]
fn the_tokens_before_a_timeout_are_kept() {
    let backend = Scripted::new(|_| Script::Answer(millis(300)));
    let outcome = run(&plan(&[0], 0, None), &backend, millis(450), None);
    let record = outcome.measured()[0];
    assert_eq!((record.outcome, record.output_tokens), (OutcomeKind::Timeout, 1));
    assert!(record.first_token_ns.is_some());
}

#[test]
fn a_backend_that_does_not_hear_the_cancellation_cannot_stop_the_run() {
    let backend = Scripted::new(|request| if request.id == 0 { Script::Deaf } else { Script::Answer(millis(1)) });
    let outcome = run(&plan(&[0; 2], 0, Some(1)), &backend, millis(100), None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Timeout, OutcomeKind::Success]);
    assert!(outcome.took < Duration::from_secs(10));
}

#[test]
fn a_backend_that_is_gone_fails_what_is_left_at_once() {
    let backend = Scripted::new(|request| match request.id {
        0 | 1 => Script::Answer(millis(5)),
        _ => Script::Gone,
    });
    let outcome = run(&plan(&[0, 0, 10, 60_000, 60_000], 0, None), &backend, LONG, None);
    use OutcomeKind::{Connection, Success};
    assert_eq!(outcome.outcomes(), [Success, Success, Connection, Connection, Connection], "what ran could finish");
    let lost = outcome.measured()[3];
    assert_eq!(lost.reason.as_deref(), Some("not sent, because the backend is gone: the engine stopped"));
    assert_eq!(lost.sent_ns, None);
    let gone = outcome.run.gone.unwrap();
    assert_eq!((gone.exit, gone.message.as_str()), (Exit::Backend, "the engine stopped"));
    assert!(!outcome.run.interrupted);
    assert!(outcome.took < Duration::from_secs(10), "the far-off requests are not waited for");
}

#[test]
fn a_backend_that_is_gone_in_the_warmup_fails_every_measured_request() {
    let backend = Scripted::new(|_| Script::Gone);
    let outcome = run(&plan(&[0; 3], 2, Some(1)), &backend, LONG, None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Connection; 3]);
    assert!(outcome.run.gone.is_some());
    assert_eq!(backend.order(), [] as [u64; 0]);
}

#[test]
fn a_request_that_the_backend_drops_is_not_waited_for() {
    let backend = Scripted::new(|request| if request.id == 1 { Script::LetGo } else { Script::Answer(millis(5)) });
    let outcome = run(&plan(&[0; 2], 0, None), &backend, LONG, None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Success, OutcomeKind::ServerError]);
    assert!(outcome.took < Duration::from_secs(10), "well before the timeout");
    assert_eq!(outcome.run.gone.unwrap().exit, Exit::Backend);
}

#[test]
fn an_interruption_lets_what_runs_finish_and_sends_nothing_more() {
    let backend = Scripted::new(|_| Script::Answer(millis(100)));
    let outcome = run(&plan(&[0, 0, 60_000], 0, None), &backend, LONG, Some(millis(100)));
    use OutcomeKind::{NotSent, Success};
    assert_eq!(outcome.outcomes(), [Success, Success, NotSent]);
    assert!(outcome.run.interrupted && outcome.close.interrupted);
    assert_eq!(backend.order(), [0, 1]);
    assert!(outcome.took < Duration::from_secs(5));
}

#[test]
fn an_interruption_cuts_off_what_does_not_finish_in_a_second() {
    let backend = Scripted::new(|request| if request.id == 0 { Script::Hang } else { Script::Answer(millis(1)) });
    let outcome = run(&plan(&[0; 2], 0, Some(1)), &backend, LONG, Some(millis(50)));
    assert_eq!(outcome.outcomes(), [OutcomeKind::Censored, OutcomeKind::NotSent]);
    assert_eq!(outcome.measured()[0].reason.as_deref(), Some("still running when the run was interrupted"));
    assert!(outcome.took > Duration::from_secs(1) && outcome.took < Duration::from_secs(5));
}

#[test]
fn a_hurried_interruption_cuts_off_at_once_what_would_finish_in_a_second() {
    for script in [Script::Answer(millis(250)), Script::Deaf] {
        let backend = Scripted::new(move |_| script.clone());
        let plan = support::TestPlan { hurried: true, ..plan(&[0; 2], 0, Some(1)) };
        let outcome = run(&plan, &backend, LONG, Some(millis(50)));
        assert_eq!(outcome.outcomes(), [OutcomeKind::Censored, OutcomeKind::NotSent]);
        assert_eq!(outcome.measured()[0].reason.as_deref(), Some("still running when the run was interrupted"));
    }
}

#[test]
fn a_fault_of_this_program_is_not_blamed_on_the_server() {
    let backend = Scripted::new(|request| if request.id < 1 { Script::Hang } else { Script::Fault });
    let outcome = run(&plan(&[0, 0, 0], 0, Some(3)), &backend, LONG, None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::ClientFault; 3]);
    assert_eq!(outcome.run.gone.unwrap().exit, Exit::Bug);
}

#[test]
fn an_interruption_in_the_warmup_sends_no_measured_request() {
    let backend = Scripted::new(|_| Script::Answer(millis(40)));
    let outcome = run(&plan(&[0; 2], 3, Some(1)), &backend, LONG, Some(millis(50)));
    assert_eq!(outcome.outcomes(), [OutcomeKind::NotSent; 2]);
    assert!(outcome.run.interrupted);
    assert!(backend.order().len() < 3);
}

#[test]
fn a_plan_that_contradicts_itself_is_refused_before_a_file_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.records.jsonl");
    let backend = Scripted::new(|_| Script::Answer(millis(1)));
    let refuse = |plan| {
        let stop = AtomicBool::new(false);
        let error = support::execute_into(&plan, &backend, &path, LONG, &stop, &mut Silent).unwrap_err();
        assert!(!path.exists());
        error.to_string()
    };
    assert_eq!(
        refuse(plan(&[0; 2], 0, Some(0))),
        "the plan of workload `test` cannot be run: `max_concurrency` is 0, so no request could ever be sent"
    );
}

#[test]
fn a_plan_that_goes_bad_ends_the_run_with_what_was_sent() {
    let mut twice = plan(&[0; 3], 0, None);
    twice.requests[2].id = 1;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.records.jsonl");
    let backend = Scripted::new(|_| Script::Answer(millis(1)));
    let stop = AtomicBool::new(false);
    let run = support::execute_into(&twice, &backend, &path, LONG, &stop, &mut Silent).unwrap();
    assert_eq!(run.outcomes[&OutcomeKind::Success], 2);
    let gone = run.gone.unwrap();
    assert_eq!(
        (gone.exit, gone.message.as_str()),
        (Exit::Input, "the plan is out of order: request 1 follows a later one")
    );
    assert!(std::fs::read_to_string(&path).unwrap().contains(r#""line":"close""#));
}

#[test]
fn a_duration_ends_a_closed_loop_and_counts_what_was_left() {
    let mut plan = plan(&[0; 1000], 0, Some(2));
    plan.workload.duration_s = Some(0.2);
    let backend = Scripted::new(|_| Script::Answer(millis(5)));
    let outcome = run(&plan, &backend, LONG, None);
    let sent = outcome.records.len();
    assert!((2..200).contains(&sent), "{sent} of 15 ms each by two at a time in 200 ms");
    assert_eq!(outcome.close.unsent, 1000 - sent as u64);
    assert_eq!(outcome.outcomes(), vec![OutcomeKind::Success; sent], "what ran could finish");
    let end = outcome.header.start_ns + 200 * MS;
    assert!(outcome.measured().iter().all(|record| record.sent_ns.unwrap() < end + 100 * MS));
    assert!(!outcome.run.interrupted);
}

#[test]
fn what_does_not_end_within_the_drain_is_censored() {
    let mut plan = plan(&[0; 3], 0, Some(1));
    plan.workload.duration_s = Some(0.1);
    let outcome = run(&plan, &Scripted::new(|_| Script::Hang), LONG, None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Censored]);
    assert_eq!(outcome.close.unsent, 2);
    let record = outcome.measured()[0];
    assert_eq!(record.reason.as_deref(), Some("still running when the drain after the duration ended"));
    let took = record.end_ns - outcome.header.start_ns;
    assert!((400 * MS..3000 * MS).contains(&took), "{} ms", took / MS);
}

#[test]
fn a_request_that_was_due_but_found_no_slot_is_not_forgotten() {
    let mut plan = plan(&[0, 1, 2], 0, Some(1));
    plan.workload.duration_s = Some(0.1);
    let outcome = run(&plan, &Scripted::new(|_| Script::Hang), LONG, None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Censored, OutcomeKind::NotSent, OutcomeKind::NotSent]);
    assert_eq!(outcome.close.unsent, 0);
}

#[test]
fn a_request_that_was_not_due_within_the_duration_is_counted() {
    // As of a trace, which goes on.
    let mut plan = plan(&[0, 1, 60_000, 60_001], 0, None);
    plan.workload.duration_s = Some(0.1);
    let outcome = run(&plan, &Scripted::new(|_| Script::Answer(millis(1))), LONG, None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Success; 2]);
    assert_eq!(outcome.close.unsent, 2);
}

#[test]
fn an_interruption_does_not_wait_for_the_drain_after_a_duration() {
    let mut plan = plan(&[0], 0, None);
    plan.workload.duration_s = Some(0.02);
    plan.drain = LONG;
    let outcome = run(&plan, &Scripted::new(|_| Script::Hang), LONG, Some(millis(200)));
    assert_eq!(outcome.outcomes(), [OutcomeKind::Censored]);
    assert!(outcome.run.interrupted && outcome.took < Duration::from_secs(10));
}

/// Two conversations of three turns, 20 ms of thought before each later one.
fn talks(cap: Option<u32>) -> support::TestPlan {
    let mut plan = plan(&[0; 6], 0, cap);
    for request in &mut plan.requests {
        request.session = Some(request.id / 3);
        request.keep_answer = request.id % 3 < 2;
        request.offset_ns = if request.id.is_multiple_of(3) { 0 } else { 20 * MS };
    }
    plan
}

#[test]
fn a_turn_follows_the_answer_to_the_one_before_and_carries_it() {
    let backend = Scripted::new(|_| Script::Answer(millis(2)));
    let outcome = run(&talks(Some(1)), &backend, LONG, None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Success; 6]);
    assert_eq!(backend.order(), [0, 1, 2, 3, 4, 5], "a conversation keeps its slot while somebody thinks");
    assert_eq!(backend.asked.lock().unwrap()[2], "request 0 0!request 1 1!request 2");
    assert_eq!(backend.asked.lock().unwrap()[3], "request 3");
    let measured = outcome.measured();
    for (before, after) in [(0, 1), (1, 2), (3, 4), (4, 5)] {
        assert_eq!(measured[after].scheduled_ns, measured[before].end_ns + 20 * MS);
        assert!(measured[after].sent_ns.unwrap() >= measured[after].scheduled_ns);
    }
    assert_eq!(measured[3].scheduled_ns, measured[2].end_ns, "the slot became free with the last turn");
    assert_eq!(measured[4].session, Some(1));
}

#[test]
fn conversations_run_side_by_side() {
    let backend = Scripted::new(|_| Script::Answer(millis(30)));
    run(&talks(Some(2)), &backend, LONG, None);
    assert_eq!(backend.most_running.load(Ordering::SeqCst), 2);
}

#[test]
fn the_turns_after_a_failed_one_fail_with_it() {
    use OutcomeKind::{ServerError, Success, Timeout};
    let backend = Scripted::new(|request| match request.id {
        1 => Script::Fail(ServerError),
        3 => Script::Hang,
        _ => Script::Answer(millis(1)),
    });
    let outcome = run(&talks(None), &backend, millis(100), None);
    assert_eq!(outcome.outcomes(), [Success, ServerError, ServerError, Timeout, Timeout, Timeout]);
    let unsent = outcome.measured()[2];
    assert_eq!(unsent.reason.as_deref(), Some("not sent, because request 1 of the same conversation failed"));
    assert_eq!(unsent.sent_ns, None);
}

#[test]
fn an_interruption_drops_the_turns_that_wait() {
    let backend = Scripted::new(|_| Script::Answer(millis(1)));
    let mut plan = talks(None);
    plan.requests[1].offset_ns = 60_000 * MS;
    plan.requests[4].offset_ns = 60_000 * MS;
    let outcome = run(&plan, &backend, LONG, Some(millis(80)));
    use OutcomeKind::{NotSent, Success};
    assert_eq!(outcome.outcomes(), [Success, NotSent, NotSent, Success, NotSent, NotSent]);
    assert!(outcome.took < Duration::from_secs(5));
}

#[test]
fn turns_that_no_duration_has_room_for_are_counted() {
    let mut plan = talks(None);
    plan.workload.duration_s = Some(0.2);
    for later in [1, 2, 4, 5] {
        plan.requests[later].offset_ns = 60_000 * MS;
    }
    let outcome = run(&plan, &Scripted::new(|_| Script::Answer(millis(1))), LONG, None);
    assert_eq!(outcome.outcomes(), [OutcomeKind::Success; 2]);
    assert_eq!(outcome.close.unsent, 4);
}

#[test]
fn a_plan_of_many_requests_is_read_while_it_runs() {
    let backend = Scripted::new(|_| Script::Fail(OutcomeKind::Refused));
    let outcome = run(&plan(&[0; 20_000], 0, Some(8)), &backend, LONG, None);
    assert_eq!(outcome.run.outcomes[&OutcomeKind::Refused], 20_000);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_run() {
    let stop = AtomicBool::new(false);
    let backend = Scripted::new(|_| Script::Answer(millis(1)));
    let error =
        support::execute_into(&plan(&[0; 2], 0, None), &backend, Path::new("/dev/full"), LONG, &stop, &mut Silent)
            .unwrap_err();
    assert_eq!(error.to_string(), "cannot write `/dev/full`");
    assert_eq!(error.exit(), Exit::Input);
}

/// A journal that takes its header and then breaks, as a disk does that fills up during a run.
#[cfg(target_os = "linux")]
#[test]
fn a_journal_that_breaks_ends_the_run_and_cancels_what_runs() {
    use std::io::{BufRead, BufReader};
    use std::os::fd::AsRawFd;

    let (reader, writer) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let header = std::thread::spawn(move || BufReader::with_capacity(1, reader).lines().next().unwrap().unwrap());
    let backend = Scripted::new(|request| if request.id == 0 { Script::Answer(millis(50)) } else { Script::Hang });
    let stop = AtomicBool::new(false);
    let plan = plan(&[0; 3], 0, None);
    let error = support::execute_into(&plan, &backend, Path::new(&path), LONG, &stop, &mut Silent).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write `{path}`"));
    assert!(header.join().unwrap().contains(r#""line":"header""#));
    assert_eq!(backend.cancelled(), [1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever each request meets, and whenever the run is stopped, `support::run` finds one record per request between
    /// a header and a closing line; here also that the cap holds and that the stamps are in order.
    #[test]
    fn no_request_is_lost(
        scripts in prop::collection::vec(0..7_u8, 1..25),
        gaps in prop::collection::vec(0..4_u64, 25),
        cap in prop::option::of(1..6_u32),
        warmups in 0..3_u32,
        stop_after in prop::option::weighted(0.3, 0..60_u64),
    ) {
        let mut at = 0;
        let offsets: Vec<u64> = scripts.iter().zip(gaps).map(|(_, gap)| { at += gap; at }).collect();
        let plan = plan(&offsets, warmups, cap);
        let backend = Scripted::new(move |request| match scripts.get(usize::try_from(request.id).unwrap_or(0)) {
            Some(0) => Script::Fail(OutcomeKind::ServerError),
            Some(1) => Script::Fail(OutcomeKind::Refused),
            Some(2) => Script::Hang,
            Some(3) if request.id > 15 => Script::Gone,
            _ => Script::Answer(millis(request.id % 4)),
        });
        let outcome = run(&plan, &backend, millis(40), stop_after.map(millis));
        let most = backend.most_running.load(Ordering::SeqCst);
        prop_assert!(cap.is_none_or(|cap| most <= cap as usize), "{most} at once with a cap of {cap:?}");
        for record in &outcome.records {
            if let Some(sent) = record.sent_ns {
                prop_assert!(record.scheduled_ns <= sent && sent <= record.end_ns);
                prop_assert!(record.first_token_ns <= record.last_token_ns);
                prop_assert!(record.last_token_ns.is_none_or(|last| last <= record.end_ns));
            }
        }
        prop_assert!(outcome.took < Duration::from_secs(8));
    }
}

#[test]
fn counting_answers_delays_no_request() {
    let mut backend = Scripted::new(|_| Script::Answer(millis(1)));
    backend.counting = millis(100);
    let outcome = run(&plan(&[0; 20], 0, Some(1)), &backend, LONG, None);
    let records = outcome.measured();
    assert_eq!(records.len(), 20);
    assert!(records.iter().all(|record| record.output_digest.as_deref() == Some("counted")), "all are finished");
    let sent = |record: &Record| record.sent_ns.unwrap();
    let took = sent(records[19]) - sent(records[0]);
    // On the sending thread the counting alone would take 1.9 s.
    assert!(took < 1500 * MS, "{} ms", took / MS);
}
