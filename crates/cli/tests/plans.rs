//! Workloads, plans and what a run makes of them, through the program.

mod common;

use common::Place;

use serde_json::Value;

/// A run that is over at once.
const RUN: &str =
    "run --quiet --model synthetic:tiny --dataset-name text --input-len 16 --output-len 4 --num-prompts 2";

#[test]
fn notes_of_a_run_are_in_its_results() {
    let place = Place::new();
    place.succeed(&format!("{RUN} --metadata gpu=none tp=1 --metadata label=before"));
    let manifest = place.json("benchmark_results/manifest.json");
    assert_eq!(manifest["metadata"], serde_json::json!({"gpu": "none", "tp": "1", "label": "before"}));
    assert!(place.succeed("report --format markdown").out.contains("| gpu | none |"));
    let vllm: Value = serde_json::from_str(&place.succeed("report --format vllm").out).unwrap();
    assert_eq!((&vllm["label"], &vllm["tp"]), (&"before".into(), &"1".into()));
    for wrong in ["--metadata gpu", "--metadata =1", "--metadata a=1 --metadata a=2"] {
        assert!(place.refused(&format!("{RUN} -o other {wrong}")).contains("--metadata"), "{wrong}");
    }
}

#[test]
fn arrivals_are_checked_and_drawn_as_planned_and_as_sent() {
    let place = Place::new();
    // Whether the machine keeps such a pace is not the question here.
    place.run(&format!("{} --request-rate 400 --burstiness 0.5", RUN.replace("prompts 2", "prompts 40")));
    let planned = place.succeed("plan check benchmark_results/plan.jsonl --svg planned.svg").out;
    assert!(planned.contains("shared       0.0 %") && !planned.contains("as sent"), "{planned}");
    let sent = place.succeed("plan check --results benchmark_results --svg sent.svg --workload text").out;
    assert!(sent.contains("as sent      40 arrivals"), "{sent}");
    let (planned, sent) = (place.text("planned.svg"), place.text("sent.svg"));
    assert!(planned.contains("text: 40 arrivals as planned") && sent.contains("text: 40 arrivals as sent"));
    for wrong in [
        "plan check",
        "plan check a --results b",
        "plan check --results nowhere",
        "plan check --workload x benchmark_results/plan.jsonl",
    ] {
        assert!([2, 3].contains(&place.run(wrong).code), "{wrong}");
    }
    let wrong = place.refused("plan check benchmark_results/plan.jsonl --svg x.svg --workload other");
    assert!(wrong.contains("the plan holds the workloads text"), "{wrong}");
}

#[test]
fn repeated_runs_have_folders_and_seeds_of_their_own() {
    let place = Place::new();
    let first = place.succeed(&format!("{RUN} --repeat 4 --seed 7 -o one"));
    assert!(first.out.starts_with("4 of 4 runs VALID"), "{}", first.out);
    let rows: Vec<&str> = first.out.lines().filter(|line| line.starts_with("avg_ttft_ms")).collect();
    assert_eq!((rows.len(), rows[0].split_whitespace().nth(1)), (1, Some("4")), "{}", first.out);
    let manifests: Vec<Value> = (1..=4).map(|nth| place.json(&format!("one/run-{nth}/manifest.json"))).collect();
    let seeds: Vec<u64> = manifests.iter().map(|it| it["seeds"]["workload"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [7, 8, 9, 10]);
    assert_eq!(manifests[1]["config"]["repeat"], "2 of 4");
    let plans: Vec<&Value> = manifests.iter().map(|it| &it["hashes"]["plans"]["text"]).collect();
    assert!(plans[1..].iter().all(|plan| plan.is_string() && *plan != plans[0]), "{plans:?}");

    place.succeed(&format!("{RUN} --repeat 4 --seed 7 -o other --format markdown"));
    assert_eq!(place.json("other/run-3/manifest.json")["hashes"], manifests[2]["hashes"]);
    let compared = place.succeed("compare one other");
    assert!(compared.out.contains("runs are compared"), "{}", compared.out);
}

#[test]
fn repeated_runs_end_with_the_worst_exit_code_and_mix_with_nothing() {
    let place = Place::new();
    let invalid = place.run(&format!("{RUN} --repeat 2 --timeout 1e-9 -o late"));
    assert_eq!(invalid.code, 5, "{}", invalid.err);
    assert!(invalid.out.starts_with("0 of 2 runs VALID\nrun 1 INVALID, text: "), "{}", invalid.out);
    assert!(place.path().join("late/run-2/manifest.json").exists());

    place.succeed(&format!("{RUN} -o single"));
    for wrong in [
        "-o single --repeat 2",
        "-o late/run-3 --repeat 2 --format csv",
        "--repeat 0",
        "--repeat 2 --plan late/run-1/plan.jsonl",
    ] {
        let ran = place.run(&format!("{RUN} {wrong}"));
        assert!([2, 3].contains(&ran.code) && ran.err.contains("hint:") | ran.err.contains("--repeat"), "{}", ran.err);
    }
    place.succeed(&format!("{RUN} -o late/run-3"));
    assert!(place.run(&format!("{RUN} -o late --repeat 2")).err.contains("holds the run `run-3` already"));
}
