//! Comparisons that something else than the change disturbs: shown, and not judged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::Path;

use sagellm_core::Measured;
use sagellm_core::journal::Close;
use sagellm_report::Code;
use sagellm_report::compare::{ChangeVerdict, CompareOptions, Comparison, Overall, Side, compare};
use support::sides::*;
use support::*;

/// A run whose TTFT is `ttft_ms`, with a prefix cache that held so many of 12,800 prompt tokens, and other load.
fn measured(folder: &Path, ttft_ms: u64, hit_tokens: u64, other_load: f64) -> Side {
    fs::create_dir_all(folder).unwrap();
    write_manifest(folder, &manifest(&["short_input"]));
    let records: Vec<_> = (0..100).map(|id| success(id, 1000 + 100 * id, ttft_ms + id * 7 % 5, 5)).collect();
    let mut close: Close = close();
    close.end_ns = 12_000 * MS;
    close.backend.prefix_lookup_tokens = Measured::known(12_800);
    close.backend.prefix_hit_tokens = Measured::known(hit_tokens);
    close.host.other_cpu_share = Measured::known(other_load);
    write_journal(folder, header("short_input", 100), &records, Some(close));
    Side::load(folder).unwrap()
}

#[track_caller]
fn not_judged(comparison: &Comparison, why: &str) {
    let side = &comparison.sides[0];
    assert_eq!(side.verdict, Overall::NotJudged, "{}", comparison.table());
    assert!(comparison.inconclusive());
    for figure in side.figures.iter().filter(|figure| figure.key != "error_rate") {
        assert_eq!((figure.verdict, figure.p_value), (ChangeVerdict::NotJudged, None), "{figure:?}");
        assert!(figure.reason.as_ref().is_some_and(|reason| reason.contains(why)), "{figure:?}");
    }
    assert!(comparison.table().contains(": not judged (0 better, 0 worse, "), "{}", comparison.table());
}

#[test]
fn a_warm_cache_makes_nothing_faster() {
    let place = tempfile::tempdir().unwrap();
    let cold = measured(&place.path().join("cold"), 100, 1600, 0.0);
    let warm = measured(&place.path().join("warm"), 20, 11_200, 0.0);
    let comparison = sides(&cold, warm.clone(), &["avg_ttft_ms>5%", "avg_ttft_ms<-5%", "p50_ttft_ms>500"]).unwrap();
    not_judged(&comparison, "has this warning: the prefix cache was warm already");
    assert!(comparison.sides[0].warnings.iter().any(|warning| warning.code == Code::WarmCache));
    assert!(comparison.before_warnings.iter().all(|warning| warning.code != Code::WarmCache));
    let side = &comparison.sides[0];
    assert_eq!([&side.passed_gates, &side.failed_gates, &side.undecided_gates].map(Vec::len), [1, 0, 2], "{side:?}");
    for text in [comparison.table(), comparison.markdown(), comparison.html().unwrap(), comparison.junit()] {
        assert!(text.contains("the prefix cache was warm already"), "{text}");
    }
    // The mirror image would hide a slower version.
    not_judged(&sides(&warm, cold.clone(), &[]).unwrap(), "the prefix cache was warm already");
    // Two runs that found the same are compared.
    let other = measured(&place.path().join("other"), 20, 11_200, 0.0);
    assert_ne!(sides(&warm, other, &[]).unwrap().sides[0].verdict, Overall::NotJudged);
    // Who asks for it is answered.
    let options = CompareOptions { margin: 0.02, gates: Vec::new(), judge_disturbed: true };
    assert_eq!(compare(&cold, &[warm], &options).unwrap().sides[0].verdict, Overall::Faster);
}

#[test]
fn a_different_hit_rate_is_not_judged() {
    let place = tempfile::tempdir().unwrap();
    let cold = measured(&place.path().join("cold"), 100, 0, 0.0);
    let warmer = measured(&place.path().join("warmer"), 90, 1600, 0.0);
    let comparison = sides(&cold, warmer, &[]).unwrap();
    not_judged(&comparison, "the prefix cache held 0.0 % of the prompt tokens in");
}

#[test]
fn other_load_on_one_side_is_not_judged() {
    let place = tempfile::tempdir().unwrap();
    let quiet = measured(&place.path().join("quiet"), 100, 0, 0.0);
    let busy = measured(&place.path().join("busy"), 120, 0, 0.4);
    not_judged(&sides(&quiet, busy.clone(), &[]).unwrap(), "has this warning: ");
    assert_ne!(sides(&busy, busy.clone(), &[]).unwrap().sides[0].verdict, Overall::NotJudged, "on both sides");
}

#[test]
fn an_invalid_side_is_named_in_every_headline() {
    let place = tempfile::tempdir().unwrap();
    let valid = measured(&place.path().join("valid"), 100, 0, 0.0);
    let mut invalid = measured(&place.path().join("bad"), 20, 0, 0.0);
    invalid.invalid = Some("the client was late".into());
    invalid.name = "bad".into();
    let comparison = sides(&valid, invalid, &["error_rate>0.01"]).unwrap();
    not_judged(&comparison, "bad is INVALID");
    assert_eq!(comparison.sides[0].passed_gates.len(), 1, "a limit on a value needs no comparison");
    assert!(comparison.table().starts_with("bad (INVALID) against "), "{}", comparison.table());
    assert!(comparison.table().contains("INVALID  bad: the client was late"), "{}", comparison.table());
    assert!(comparison.markdown().starts_with("### bad (INVALID) against "), "{}", comparison.markdown());
    let page = comparison.html().unwrap();
    assert!(page.contains("<h1>bad (INVALID)</h1>") && page.contains("<header class=\"bad\">"), "{page}");
    assert!(comparison.junit().contains("bad (INVALID) against "), "{}", comparison.junit());
}

#[test]
fn a_warning_of_most_runs_counts_and_one_of_a_few_does_not() {
    let place = tempfile::tempdir().unwrap();
    let runs = |name: &str, busy: u64| {
        let of = |nth| {
            measured(&place.path().join(format!("{name}{nth}")), 100 + nth, 0, if nth < busy { 0.4 } else { 0.0 })
        };
        let mut side = of(0);
        (1..5).for_each(|nth| side.add(of(nth)));
        side
    };
    let quiet = runs("quiet", 0);
    assert_ne!(sides(&quiet, runs("some", 2), &[]).unwrap().sides[0].verdict, Overall::NotJudged);
    let comparison = sides(&quiet, runs("most", 3), &[]).unwrap();
    not_judged(&comparison, "has this warning: ");
    assert!(comparison.table().contains("(3 runs): others used"), "{}", comparison.table());
}

#[test]
fn every_inconclusive_figure_says_why_and_what_would_settle_it() {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    for (count, slower) in [(8, 1.03), (60, 1.03), (400, 1.0)] {
        run(&a, 1, count, 1.0);
        run(&b, 2, count, slower);
        let comparison = compared(&a, &b, &[]);
        for figure in &comparison.sides[0].figures {
            let inconclusive = figure.verdict == ChangeVerdict::Inconclusive;
            assert_eq!(figure.reason.is_some(), inconclusive, "{figure:?}");
            let reason = figure.reason.clone().unwrap_or_default();
            let settles = ["would settle it", "send more", "repeat the runs", "Send at least"];
            assert!(!inconclusive || settles.iter().any(|words| reason.contains(words)), "{figure:?}");
            assert!(comparison.table().contains(&reason) && comparison.html().unwrap().contains(&figure.key));
        }
    }
}

#[test]
fn different_plans_say_in_what_they_differ() {
    let place = tempfile::tempdir().unwrap();
    let side = |name: &str, num_prompts: u32, seed: u64| {
        let folder = place.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut manifest = manifest(&["w"]);
        manifest.hashes.plans.insert("w".into(), format!("{num_prompts} {seed}"));
        write_manifest(&folder, &manifest);
        let mut header = header("w", num_prompts);
        header.workload.seed = seed;
        let records: Vec<_> = (0..u64::from(num_prompts)).map(|id| success(id, 1000 + 100 * id, 20, 5)).collect();
        write_journal(&folder, header, &records, Some(close()));
        Side::load(&folder).unwrap()
    };
    let (one, other) = (side("one", 10, 0), side("other", 20, 7));
    assert_eq!(one.different_plans(&other), ["num_prompts of w is 10 against 20", "seed of w is 0 against 7"]);
    let notes = sides(&one, other, &[]).unwrap().notes;
    assert!(notes.iter().any(|note| {
        note.ends_with("had different requests: num_prompts of w is 10 against 20; seed of w is 0 against 7")
    }));
}
