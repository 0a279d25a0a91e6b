//! Workloads, plans and what a run makes of them, through the program.

mod common;

use common::Place;

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
    let vllm: serde_json::Value = serde_json::from_str(&place.succeed("report --format vllm").out).unwrap();
    assert_eq!((&vllm["label"], &vllm["tp"]), (&"before".into(), &"1".into()));
    for wrong in ["--metadata gpu", "--metadata =1", "--metadata a=1 --metadata a=2"] {
        assert!(place.refused(&format!("{RUN} -o other {wrong}")).contains("--metadata"), "{wrong}");
    }
}
