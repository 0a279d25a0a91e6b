//! Results side by side: what is a difference, what is none, and what cannot be told.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::Path;

use sagellm_report::compare::{Basis, ChangeVerdict, FigureChange, Overall, Side};
use sagellm_report::render::{Format, Look, render};
use support::sides::*;
use support::*;

#[test]
fn equal_runs_raise_few_alarms_and_a_slower_one_is_found() {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    let mut alarms = 0;
    for seed in 0..60 {
        run(&a, 2 * seed, 120, 1.0);
        run(&b, 2 * seed + 1, 120, 1.0);
        alarms +=
            u32::from(!matches!(compared(&a, &b, &[]).sides[0].verdict, Overall::NoDifference | Overall::Inconclusive));
    }
    // 5 % of 60 are 3; seven or more would come by chance once in thirty times.
    assert!(alarms < 7, "{alarms} false alarms");
    let mut found = 0;
    for seed in 1000..1020 {
        run(&a, 2 * seed, 400, 1.0);
        run(&b, 2 * seed + 1, 400, 1.05);
        found += u32::from(of(&compared(&a, &b, &[]), "avg_tbt_ms").verdict == ChangeVerdict::Worse);
    }
    assert!(found >= 18, "a TBT 5 % longer was found {found} times of 20");
}

#[test]
fn few_requests_are_inconclusive() {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    run(&a, 1, 8, 1.0);
    run(&b, 2, 8, 1.03);
    let comparison = compared(&a, &b, &["avg_tbt_ms>1%"]);
    assert!(comparison.inconclusive() && !comparison.gate_failed());
    assert!(of(&comparison, "avg_tbt_ms").further.unwrap() >= 1);
}

#[test]
fn a_run_and_itself_do_not_differ() {
    let place = tempfile::tempdir().unwrap();
    run(place.path(), 3, 2000, 1.0);
    let comparison = compared(place.path(), place.path(), &["avg_tbt_ms>0%"]);
    assert!(!comparison.gate_failed());
    assert!(comparison.sides[0].figures.iter().all(|figure| figure.change.is_none_or(|change| change.abs() < 1e-12)));
    let tbt = of(&comparison, "avg_tbt_ms");
    assert_eq!(tbt.verdict, ChangeVerdict::Equal, "{:?}", tbt.interval);
}

#[test]
fn repeated_runs_are_the_unit() {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    repeat(&a, 0, 6, 1.0);
    repeat(&b, 100, 6, 1.1);
    let comparison = compared(&a, &b, &[]);
    let tbt = of(&comparison, "avg_tbt_ms");
    assert_eq!((tbt.basis, tbt.verdict), (Basis::Runs, ChangeVerdict::Worse));
    assert!((0.05..0.15).contains(&tbt.change.unwrap()), "{:?}", tbt.change);
    insta::assert_snapshot!(comparison.table().replace(&place.path().display().to_string(), "."));
    insta::assert_snapshot!(comparison.markdown().replace(&place.path().display().to_string(), "."));
}

#[test]
fn repeats_are_compared_by_all_of_their_plans() {
    let side = |seeds: &[&str]| {
        let of = |seed: &&str| {
            let place = tempfile::tempdir().unwrap();
            run(place.path(), 1, 10, 1.0);
            let mut summary = sagellm_report::summarize_folder(place.path()).unwrap();
            let mut manifest = manifest(&["short_input"]);
            manifest.hashes.plans.insert("short_input".into(), (*seed).to_owned());
            summary.environment = Some(manifest);
            Side::of_summary("x".into(), &summary)
        };
        seeds.iter().map(of).reduce(|mut one, other| {
            one.add(other);
            one
        })
    };
    let of = |seeds: &[&str]| side(seeds).unwrap();
    let plans = |one: &[&str], other: &[&str]| of(one).same_plans(&of(other));
    assert_eq!(plans(&["1", "2", "3"], &["3", "1", "2"]), Some(true));
    assert_eq!(plans(&["1", "2", "3"], &["1", "2"]), Some(true), "only repeated less often");
    assert_eq!(plans(&["1", "2", "3"], &["4", "5", "6"]), Some(false));
    assert_eq!(plans(&["1", "2"], &["2", "3"]), Some(false));
}

#[test]
fn results_of_other_tools_are_compared_by_their_figures() {
    let place = tempfile::tempdir().unwrap();
    let (ours, theirs) = (place.path().join("ours"), place.path().join("vllm.json"));
    run(&ours, 1, 100, 1.0);
    let summary = sagellm_report::summarize_folder(&ours).unwrap();
    let text = render(&summary, Format::Vllm, Look::default()).unwrap();
    fs::write(&theirs, text).unwrap();
    let first = Side::load(&ours).unwrap();
    let mut side = Side::load(&theirs).unwrap();
    assert!(!first.shares_a_workload(&side));
    side.name_after(&first);
    let comparison = sides(&first, side, &[]).unwrap();
    let figures = &comparison.sides[0].figures;
    assert!(figures.len() >= 7, "{figures:?}");
    // What we wrote in their names, read back, is what it was: no name was mistaken.
    let same = |it: &FigureChange| it.change.map_or(it.before == it.now, |change| change.abs() < 1e-12);
    assert!(figures.iter().all(|it| same(it) && it.basis == Basis::Figures), "{figures:?}");
    let mut before = Side::load(&theirs).unwrap();
    before.name_after(&first);
    let gated = sides(&before, first.clone(), &["avg_tbt_ms>-1%", "avg_tbt_ms>1%", "error_rate>0"]).unwrap();
    assert_eq!(gated.sides[0].failed_gates.len(), 1, "an import is gated by its figures alone: {gated:?}");
    assert!(gated.sides[0].failed_gates[0].ends_with("(by the figures alone)"));
    assert!(comparison.notes.iter().any(|note| note.contains("vLLM counts a stream that ends early as success")));
    let text = render(&summary, Format::Sglang, Look::default()).unwrap();
    fs::write(&theirs, text).unwrap();
    let mut side = Side::load(&theirs).unwrap();
    side.name_after(&first);
    let comparison = sides(&first, side, &[]).unwrap();
    assert!(comparison.sides[0].figures.iter().all(same));
    assert!(comparison.notes.iter().any(|note| note.contains("SGLang")));
}

#[test]
fn an_exported_run_stays_invalid() {
    let place = tempfile::tempdir().unwrap();
    let (folder, file) = (place.path().join("ours"), place.path().join("exported.json"));
    fs::create_dir_all(&folder).unwrap();
    let records = [success(0, 1000, 12, 10), failure(1, 1100, sagellm_core::OutcomeKind::Timeout)];
    write_journal(&folder, header("w", 2), &records, Some(close()));
    let summary = sagellm_report::summarize_folder(&folder).unwrap();
    for format in [Format::Vllm, Format::Sglang] {
        fs::write(&file, render(&summary, format, Look::default()).unwrap()).unwrap();
        assert_eq!(Side::load(&file).unwrap().invalid.as_deref(), Some("error_rate"));
    }
    fs::write(&file, render(&summary, Format::Vllm, Look::default()).unwrap()).unwrap();
    let side = Side::load(&file).unwrap();
    let comparison = sides(&side, side.clone(), &["error_rate>0.4"]).unwrap();
    assert_eq!(comparison.sides[0].failed_gates.len(), 1);
    assert!(comparison.notes.iter().any(|note| note.contains("50.0 % failed")), "{:?}", comparison.notes);
}

#[test]
fn names_of_files_are_no_markup_in_a_comment() {
    let place = tempfile::tempdir().unwrap();
    run(place.path(), 1, 20, 1.0);
    let first = Side::load(place.path()).unwrap();
    let mut side = first.clone();
    side.name = "`<b>*".into();
    side.invalid = Some("x <i>".into());
    let text = sides(&first, side, &[]).unwrap().markdown();
    assert!(text.contains(r"### \`\<b>\* (INVALID) against"), "{text}");
    assert!(text.contains(r"- **INVALID** \`\<b>\*: x \<i>"), "{text}");
}

/// `vllm-rs bench serve --save-result` of vLLM 0.33.0 against the simulator wrote the file.
#[test]
fn a_file_that_vllm_wrote_is_read_as_it_stands() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vllm_rs_0.33.0.json");
    let theirs: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let side = Side::load(&file).unwrap();
    let comparison = sides(&side, side.clone(), &[]).unwrap();
    let figure = |key: &str| of(&comparison, key).now;
    for (ours, name) in [
        ("avg_ttft_ms", "mean_ttft_ms"),
        ("p50_ttft_ms", "median_ttft_ms"),
        ("p99_ttft_ms", "p99_ttft_ms"),
        ("avg_tbt_ms", "mean_tpot_ms"),
        ("avg_e2e_ms", "mean_e2el_ms"),
        ("request_throughput_rps", "request_throughput"),
        ("input_throughput_tps", "input_throughput"),
        ("output_throughput_tps", "output_throughput"),
        ("total_throughput_tps", "total_token_throughput"),
    ] {
        assert_eq!(Some(figure(ours)), theirs[name].as_f64(), "{ours}");
    }
}

/// `sglang.benchmark.serving --backend sglang-oai` of SGLang 0.5.23 against the simulator wrote the file.
#[test]
fn a_file_that_sglang_wrote_is_read_as_it_stands() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sglang_0.5.23.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"request_rate\": Infinity"), "which is no JSON");
    let theirs: serde_json::Value = serde_json::from_str(&text.replace("Infinity", "null")).unwrap();
    let side = Side::load(&file).unwrap();
    let comparison = sides(&side, side.clone(), &[]).unwrap();
    for (ours, name) in [
        ("avg_ttft_ms", "mean_ttft_ms"),
        ("p99_ttft_ms", "p99_ttft_ms"),
        ("avg_tbt_ms", "mean_tpot_ms"),
        ("avg_e2e_ms", "mean_e2e_latency_ms"),
        ("request_throughput_rps", "request_throughput"),
        ("input_throughput_tps", "input_throughput"),
        ("output_throughput_tps", "output_throughput"),
        ("total_throughput_tps", "total_throughput"),
    ] {
        assert_eq!(Some(of(&comparison, ours).now), theirs[name].as_f64(), "{ours}");
    }
    assert!(comparison.notes.iter().any(|note| note.contains("SGLang measures to the [DONE] line")));
    // Two runs in one file are two runs of one side.
    let place = tempfile::tempdir().unwrap();
    let twice = place.path().join("twice.jsonl");
    fs::write(&twice, format!("{text}\n{text}")).unwrap();
    assert_eq!(Side::load(&twice).unwrap().runs(), 2);
    // Unless they are runs of something else.
    fs::write(&twice, format!("{text}\n{}", text.replace("\"max_concurrency\": 8", "\"max_concurrency\": 16")))
        .unwrap();
    let error = Side::load(&twice).unwrap_err().to_string();
    assert!(error.ends_with("different settings: `max_concurrency` is 8 in one and 16 in another"), "{error}");
}

#[test]
fn the_lines_of_an_exported_run_are_its_workloads() {
    let place = tempfile::tempdir().unwrap();
    let (folder, file) = (place.path().join("ours"), place.path().join("sglang.jsonl"));
    fs::create_dir_all(&folder).unwrap();
    for (name, gap_ms) in [("a", 5), ("b", 20)] {
        let records: Vec<_> = (0..9).map(|id| success(id, 1000 + id * 100, 12, gap_ms)).collect();
        write_journal(&folder, header(name, 9), &records, Some(close()));
    }
    let summary = sagellm_report::summarize_folder(&folder).unwrap();
    fs::write(&file, render(&summary, Format::Sglang, Look::default()).unwrap()).unwrap();
    let side = Side::load(&file).unwrap();
    assert_eq!(side.runs(), 1);
    let comparison = sides(&Side::load(&folder).unwrap(), side, &[]).unwrap();
    let gaps = comparison.sides[0].figures.iter().filter(|it| it.key == "avg_tbt_ms");
    let gaps: Vec<_> = gaps.map(|it| (it.workload.as_str(), it.before, it.now)).collect();
    assert_eq!(gaps, [("a", 5.0, 5.0), ("b", 20.0, 20.0)]);
}

/// `aiperf profile --streaming` of AIPerf 0.13.0 against the simulator wrote the file; only paths were changed.
#[test]
fn a_file_that_aiperf_wrote_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/aiperf_0.13.0.json");
    let theirs: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let side = Side::load(&file).unwrap();
    let comparison = sides(&side, side.clone(), &[]).unwrap();
    for (ours, name, stat) in [
        ("avg_ttft_ms", "time_to_first_token", "avg"),
        ("p99_ttft_ms", "time_to_first_token", "p99"),
        ("avg_tbt_ms", "inter_token_latency", "avg"),
        ("avg_e2e_ms", "request_latency", "avg"),
        ("request_throughput_rps", "request_throughput", "avg"),
        ("input_throughput_tps", "input_token_throughput", "avg"),
        ("output_throughput_tps", "output_token_throughput", "avg"),
        ("total_throughput_tps", "total_token_throughput", "avg"),
    ] {
        assert_eq!(Some(of(&comparison, ours).now), theirs[name][stat].as_f64(), "{ours}");
    }
    assert!(comparison.notes.iter().any(|note| note.contains("inter-token latency is our TBT")));
}

/// Written by hand with the keys of llama-bench's documentation.
#[test]
fn tests_of_llama_bench_are_runs() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("llama.json");
    let prompt = r#"{"build_commit": "8cf427ff", "n_prompt": 512, "n_gen": 0, "avg_ns": 68000000, "avg_ts": 7500.0, "stddev_ts": 100.0, "samples_ns": [68000000, 69000000], "samples_ts": [7400.0, 7600.0]}"#;
    let text = r#"{"build_commit": "8cf427ff", "n_prompt": 0, "n_gen": 128, "avg_ts": 125.0, "samples_ts": [124.0, 125.0, 126.0]}"#;
    fs::write(&file, format!("[\n{prompt},\n{text}\n]\n")).unwrap();
    let side = Side::load(&file).unwrap();
    assert_eq!(side.runs(), 3);
    let comparison = sides(&side, side.clone(), &[]).unwrap();
    assert_eq!(of(&comparison, "input_throughput_tps").now, 7500.0);
    assert_eq!(of(&comparison, "output_throughput_tps").now, 125.0);
    assert!((of(&comparison, "avg_tbt_ms").now - 8.0).abs() < 0.01);
    // As JSON lines, too.
    fs::write(&file, format!("{prompt}\n{text}\n")).unwrap();
    assert_eq!(Side::load(&file).unwrap().runs(), 3);
    fs::write(&file, format!("[{text}, {text}]")).unwrap();
    // Nobody could say which is meant.
    assert!(Side::load(&file).unwrap_err().to_string().ends_with("holds several tests of one kind"));
}

#[test]
fn what_is_no_result_is_refused() {
    let place = tempfile::tempdir().unwrap();
    assert!(Side::load(place.path()).is_err(), "an empty folder");
    assert!(Side::load(&place.path().join("nowhere")).is_err());
    let file = place.path().join("x.json");
    for text in ["", "[]", "{}", "{\"duration\": 1}", "not JSON"] {
        fs::write(&file, text).unwrap();
        assert!(Side::load(&file).is_err(), "{text}");
    }
}
