//! What `llama-bench -o json` writes: a list of tests, each of a prompt (`n_prompt`), of generation (`n_gen`), or of both.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How its definitions differ from ours.
pub(super) const DIFFERENCE: &str = "llama-bench measures one sequence at a time inside of the engine, without server, \
                                     tokenizer and sampling: its rates are those of the prompt and of generation alone";

/// Whether an object is one of its tests.
pub(super) fn is_test(object: &Map<String, Value>) -> bool {
    ["n_prompt", "n_gen", "avg_ts"].iter().all(|key| object.contains_key(*key))
}

/// The repetitions as runs, one test of each kind; `None` when there are several of one kind, of which nobody could say
/// which is meant.
pub(super) fn runs(tests: &[Map<String, Value>]) -> Option<Vec<BTreeMap<String, f64>>> {
    let mut runs: Vec<BTreeMap<String, f64>> = Vec::new();
    let mut kinds = Vec::new();
    for test in tests {
        let count = |key: &str| test.get(key).and_then(Value::as_u64).unwrap_or(0);
        let key = match (count("n_prompt") > 0, count("n_gen") > 0) {
            (true, false) => "input_throughput_tps",
            (false, true) => "output_throughput_tps",
            _ => "total_throughput_tps",
        };
        if kinds.contains(&key) {
            return None;
        }
        kinds.push(key);
        let samples = test.get("samples_ts").and_then(Value::as_array).filter(|samples| !samples.is_empty());
        let rates: Vec<f64> = match samples {
            Some(samples) => samples.iter().filter_map(Value::as_f64).collect(),
            None => test.get("avg_ts").and_then(Value::as_f64).into_iter().collect(),
        };
        for (nth, rate) in rates.into_iter().enumerate().filter(|(_, rate)| rate.is_finite() && *rate > 0.0) {
            if runs.len() <= nth {
                runs.resize(nth + 1, BTreeMap::new());
            }
            runs[nth].insert(key.to_owned(), rate);
            if key == "output_throughput_tps" {
                // One token after the other.
                runs[nth].insert("avg_tbt_ms".to_owned(), 1000.0 / rate);
            }
        }
    }
    Some(runs)
}
