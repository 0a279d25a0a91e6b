//! A real model from end to end. `./run_tests.sh` fetches it.

mod common;

use common::{Place, Ran, number};
use serde_json::Value;

#[test]
#[ignore = "needs SAGELLM_TEST_GGUF: ./run_tests.sh"]
fn a_real_model_is_measured_from_end_to_end() {
    let model = std::env::var("SAGELLM_TEST_GGUF").unwrap();
    let place = Place::new();
    let run = |folder: &str, options: &str| {
        let line = format!("run --workload short --num-prompts 2 --output {folder} {options} --model");
        let ran =
            Ran::from(place.program(line.split_whitespace().chain([model.as_str()])).output().unwrap()).succeeded();
        let digests: Vec<Value> =
            place.records(folder, "short_input").iter().map(|record| record["output_digest"].clone()).collect();
        (ran, digests)
    };
    let (ran, answers) = run("out", "");
    assert!(ran.out.starts_with("VALID") && !ran.out.contains("synthetic"), "{}", ran.out);
    let figures = place.json("out/short_input_metrics.json");
    assert_eq!((number(&figures, "total_input_tokens"), number(&figures, "total_output_tokens")), (256.0, 256.0));
    assert_eq!((number(&figures, "successful_requests"), number(&figures, "kv_used_tokens")), (2.0, 255.0));
    assert!(number(&figures, "avg_ttft_ms") < 128.0 * number(&figures, "avg_tbt_ms"));
    let info = &place.json("out/manifest.json")["backend"]["model"];
    assert_eq!((&info["architecture"], &info["parameters"]), (&"llama".into(), &134_515_008.into()));
    assert_eq!((&info["synthetic"], &info["context_length"]), (&false.into(), &8192.into()));

    assert_eq!(answers.len(), 2);
    assert_ne!(answers[0], answers[1]);
    let settings = "--mode batch --max-num-batched-tokens 48 --kv-cache-tokens 320 --no-enable-prefix-caching";
    assert_eq!(run("tight", settings).1, answers, "the answers do not depend on how the engine is set up");
}
