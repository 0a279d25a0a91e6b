//! Gates of a comparison: what fails, what passes, and what nobody can know.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;

use sagellm_core::{OutcomeKind, Record, Slo};
use sagellm_report::compare::{Basis, ChangeVerdict, Gate, GateReport, Overall, Side};
use sagellm_stats::SplitMix64;
use support::sides::*;
use support::*;

#[test]
fn a_change_is_measured_and_a_gate_heeds_it() {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    run(&a, 1, 500, 1.0);
    run(&b, 2, 500, 1.2);
    let gates = ["avg_tbt_ms>5%", "avg_tbt_ms>50%", "avg_tbt_ms>3", "output_throughput_tps<-1%", "avg_ttft_ms>5%"];
    let comparison = compared(&a, &b, &gates);
    let tbt = of(&comparison, "avg_tbt_ms");
    assert_eq!((tbt.verdict, tbt.basis), (ChangeVerdict::Worse, Basis::Records));
    let (low, high) = tbt.interval.unwrap();
    let change = tbt.change.unwrap();
    assert!((change - 0.2).abs() < 0.03, "{change}");
    assert!(low < change && change < high && high - low < 0.05, "{low} to {high}");
    assert_eq!(comparison.sides[0].verdict, Overall::Slower);
    let failed = &comparison.sides[0].failed_gates;
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(failed[0].starts_with("avg_tbt_ms>5%: avg_tbt_ms of short_input went from "), "{failed:?}");
    assert!(
        failed[1].starts_with("avg_tbt_ms>3:") && failed[2].starts_with("output_throughput_tps<-1%:"),
        "{failed:?}"
    );

    let passed = &comparison.sides[0].passed_gates;
    assert!(passed[0].starts_with("avg_tbt_ms>50%: avg_tbt_ms of short_input went from 4.94 ms to "), "{passed:?}");
    assert!(passed[0].ends_with(" %)"), "{passed:?}");
    let table = comparison.table();
    assert!(table.contains("GATE PASSED  avg_tbt_ms>50%: ") && table.contains("5 gates: "), "{table}");
    assert!(comparison.markdown().contains("- ✅ gate passed: avg"), "{}", comparison.markdown());
    assert!(comparison.html().unwrap().contains("Gates that passed"));
    let junit = comparison.junit();
    assert!(junit.contains("tests=\"6\" failures=\"3\""), "{junit}");
    assert!(
        junit.contains("name=\"avg_tbt_ms&gt;5%: avg_tbt_ms of short_input\">\n      <failure type=\"gate\""),
        "{junit}"
    );
    assert!(comparison.notes[0].contains("for a change of 3 % write `avg_tbt_ms>3%`"), "{:?}", comparison.notes);

    let back = compared(&b, &a, &gates[..1]);
    assert_eq!((back.sides[0].verdict, back.gate_failed()), (Overall::Faster, false));
}

#[test]
fn few_runs_can_tell_and_too_few_say_how_many_are_missing() {
    let place = tempfile::tempdir().unwrap();
    let gates = ["avg_tbt_ms>5%", "avg_ttft_ms>50%", "p99_ttft_ms>5%"];
    for runs in [2, 3, 4, 5] {
        let (a, b) = (place.path().join(format!("a{runs}")), place.path().join(format!("b{runs}")));
        repeat(&a, 0, runs, 1.0);
        repeat(&b, 100, runs, 2.0);
        let comparison = compared(&a, &b, &gates);
        let (tbt, side) = (of(&comparison, "avg_tbt_ms"), &comparison.sides[0]);
        assert_eq!(tbt.basis, Basis::Runs);
        if runs < 4 {
            assert_eq!((tbt.verdict, tbt.further), (ChangeVerdict::Inconclusive, Some(4 - runs)));
            assert_eq!((side.failed_gates.len(), side.undecided_gates.len()), (0, 3), "never by bare figures");
            assert!(side.undecided_gates[0].contains("too few to tell a change from chance"), "{side:?}");
            assert!(comparison.inconclusive());
        } else {
            assert_eq!(tbt.verdict, ChangeVerdict::Worse, "{tbt:?}");
            assert!(side.failed_gates.len() == 1 && side.failed_gates[0].starts_with("avg_tbt_ms>5%"), "{side:?}");
            assert!(!side.undecided_gates.iter().any(|gate| gate.starts_with("avg_ttft_ms>50%")), "{side:?}");
        }
    }
    // One run against five is too few as well.
    let comparison = compared(&place.path().join("a5").join("run-0"), &place.path().join("b5"), &gates);
    assert_eq!(of(&comparison, "avg_tbt_ms").further, Some(2), "3 and 7 are enough");
    assert!(!comparison.gate_failed());
}

#[test]
fn a_gate_that_the_requests_cannot_decide_is_undecided() {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    let mut tails = 0;
    for seed in 0..10 {
        run(&a, 2 * seed, 60, 1.0);
        run(&b, 2 * seed + 1, 60, 1.0);
        let comparison = compared(&a, &b, &["p99_ttft_ms>1%", "avg_tbt_ms>0.1%", "avg_tbt_ms>50%"]);
        let side = &comparison.sides[0];
        assert_eq!(of(&comparison, "p99_ttft_ms").basis, Basis::Records);
        assert!(!side.failed_gates.iter().any(|gate| gate.starts_with("p99") || gate.contains(">50%")), "{side:?}");
        tails += side
            .undecided_gates
            .iter()
            .filter(|gate| gate.contains("only 60 requests: an interval of this percentile needs 1000"))
            .count();
    }
    assert_eq!(tails, 10);
    let comparison = compared(&a, &b, &["p99_ttft_ms>1%"]);
    assert!(comparison.inconclusive() && comparison.table().contains("GATE UNDECIDED  p99_ttft_ms>1%"));
    assert!(comparison.markdown().contains("gate undecided: p99_ttft_ms>1%"));
    assert!(comparison.html().unwrap().contains("Gates that are undecided"));
    assert_eq!(of(&comparison, "p99_ttft_ms").further, Some(16), "17 times 60 are enough");
    // A summary, such as one of the history, says the same of itself.
    let summary = sagellm_report::summarize_folder(&a).unwrap();
    let before = Side::of_summary("main".into(), &summary);
    let comparison = sides(&before, Side::load(&b).unwrap(), &["p99_ttft_ms>1%", "p99_itl_ms>1%"]).unwrap();
    let undecided = &comparison.sides[0].undecided_gates;
    assert_eq!((undecided.len(), comparison.gate_failed()), (2, false), "{undecided:?}");
    assert!(undecided[0].ends_with("only 60 requests: an interval of this percentile needs 1000"), "{undecided:?}");
    assert!(undecided[1].contains("repeat the runs"), "{undecided:?}");
}

#[test]
fn a_gate_fails_when_the_change_is_surely_beyond_it_be_it_within_the_margin() {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    run(&a, 1, 10_000, 1.0);
    run(&b, 2, 10_000, 1.012);
    let gates = ["avg_tbt_ms>0.5%", "avg_tbt_ms>1.2%", "avg_tbt_ms>3%", "avg_tbt_ms<3%", "output_throughput_tps<5%"];
    let comparison = compared(&a, &b, &gates);
    let (tbt, side) = (of(&comparison, "avg_tbt_ms"), &comparison.sides[0]);
    assert_eq!(tbt.verdict, ChangeVerdict::Equal, "{tbt:?}");
    let gates =
        |list: &[String]| list.iter().map(|gate| gate.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
    // `<5%` wants an improvement of at least 5 %: no change at all fails it, and needs not be significant.
    assert_eq!(gates(&side.failed_gates), ["avg_tbt_ms>0.5%", "avg_tbt_ms<3%", "output_throughput_tps<5%"], "{side:?}");
    assert_eq!(gates(&side.undecided_gates), ["avg_tbt_ms>1.2%"], "{side:?}");
}

#[test]
fn any_figure_with_a_direction_can_be_gated() {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    run(&a, 1, 2000, 1.0);
    run(&b, 2, 2000, 1.3);
    let comparison = compared(
        &a,
        &b,
        &["p99_tbt_ms>10%", "p50_e2e_ms>1%", "avg_itl_ms>10%", "p99_itl_ms>2", "peak_mem_mb>1", "error_rate>0.1"],
    );
    let side = &comparison.sides[0];
    assert_eq!(of(&comparison, "p99_tbt_ms").verdict, ChangeVerdict::Worse);
    assert_eq!(side.failed_gates.len(), 4, "{side:?}");
    assert!(side.undecided_gates.len() == 1 && side.undecided_gates[0].contains("repeat the runs"), "{side:?}");
    // No workload has goodput without an objective.
    let error = sides(&Side::load(&a).unwrap(), Side::load(&b).unwrap(), &["goodput_rps<-5%"]).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("`goodput_rps<-5%` has nothing to judge") && words.contains("--goodput"), "{words}");
}

#[test]
fn a_single_run_is_gated_by_its_values() {
    let place = tempfile::tempdir().unwrap();
    run(place.path(), 1, 200, 1.0);
    let summary = sagellm_report::summarize_folder(place.path()).unwrap();
    let report = |gates: &[&str]| {
        let gates: Vec<Gate> = gates.iter().map(|gate| gate.parse().unwrap()).collect();
        GateReport::of_runs(&gates, std::slice::from_ref(&summary), None)
    };
    let judged = report(&["p99_ttft_ms>500ms", "avg_tbt_ms>1", "error_rate>0"]).unwrap();
    assert_eq!((judged.passed.len(), judged.failed.len(), judged.undecided.len()), (2, 1, 0), "{judged:?}");
    assert!(judged.failed[0].starts_with("avg_tbt_ms>1: avg_tbt_ms of short_input is 4.9"), "{judged:?}");
    assert!(judged.failed[0].ends_with(" ms"), "{judged:?}");
    assert_eq!(judged.lines().last().unwrap(), "3 gates: 2 passed, 1 failed, 0 undecided");
    assert_eq!(report(&[]).unwrap().lines(), Vec::<String>::new());
    let refused = |gate: &str| report(&[gate]).unwrap_err().to_string();
    assert_eq!(refused("avg_tbt_ms>5%"), "`avg_tbt_ms>5%` limits a change, and a single run has none");
    assert!(refused("goodput<1").starts_with("`goodput<1` has nothing to judge"), "{}", refused("goodput<1"));
}

#[test]
fn failures_are_seen_and_gated() {
    let place = tempfile::tempdir().unwrap();
    let folders = [0, 40].map(|failed| {
        let folder = place.path().join(failed.to_string());
        fs::create_dir_all(&folder).unwrap();
        write_manifest(&folder, &manifest(&["short_input"]));
        let records: Vec<Record> = (0..100)
            .map(|id| match id {
                id if id < failed => failure(id, 1000 + 50 * id, OutcomeKind::Connection),
                id => success(id, 1000 + 50 * id, 20, 5),
            })
            .collect();
        write_journal(&folder, header("short_input", 100), &records, Some(close()));
        folder
    });
    let comparison = compared(&folders[0], &folders[1], &["error_rate>0.1", "error_rate>0.5"]);
    let rate = of(&comparison, "error_rate");
    assert_eq!((rate.before, rate.now, rate.change, rate.verdict), (0.0, 0.4, None, ChangeVerdict::NotJudged));
    assert_eq!(comparison.sides[0].failed_gates.len(), 1);
    assert!(comparison.notes.iter().any(|note| note.contains("0.0 % failed in") && note.contains("40.0 % in")));
    assert!(serde_json::to_string(&comparison).unwrap().contains("\"change\":null"));
}

#[test]
fn goodput_is_judged_from_the_records() {
    let place = tempfile::tempdir().unwrap();
    let folders = [22, 40].map(|slow| {
        let folder = place.path().join(slow.to_string());
        fs::create_dir_all(&folder).unwrap();
        write_manifest(&folder, &manifest(&["short_input"]));
        let mut header = header("short_input", 500);
        header.workload.goodput = Some(Slo { ttft_ms: Some(25.0), ..Slo::default() });
        let mut random = SplitMix64::new(slow);
        let records: Vec<Record> =
            (0..500).map(|id| success(id, 1000 + 50 * id, 10 + random.below(slow as usize) as u64, 5)).collect();
        write_journal(&folder, header, &records, Some(close()));
        folder
    });
    let comparison = compared(&folders[0], &folders[1], &["goodput_rps<-10%"]);
    let goodput = of(&comparison, "goodput_rps");
    assert_eq!((goodput.basis, goodput.verdict), (Basis::Records, ChangeVerdict::Worse), "{goodput:?}");
    let (low, high) = goodput.interval.unwrap();
    assert!(low < goodput.change.unwrap() && goodput.change.unwrap() < high && high < -0.3, "{goodput:?}");
    assert!(comparison.gate_failed());
}
