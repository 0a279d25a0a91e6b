//! AIPerf's `profile_export_aiperf.json`: for each quantity an object with its unit and statistics.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How its definitions differ from ours.
pub(super) const DIFFERENCE: &str = "AIPerf counts input tokens by its own tokenizer, without the chat template; its \
                                     inter-token latency is our TBT, its inter-chunk latency our ITL";

/// Totals and rates: theirs, ours, and the unit in which ours is theirs.
const TOTALS: [(&str, &str, &str); 9] = [
    ("benchmark_duration", "total_time_s", "sec"),
    ("request_count", "successful_requests", "requests"),
    ("error_request_count", "failed_requests", "requests"),
    ("total_isl", "total_input_tokens", "tokens"),
    ("total_osl", "total_output_tokens", "tokens"),
    ("request_throughput", "request_throughput_rps", "requests/sec"),
    ("input_token_throughput", "input_throughput_tps", "tokens/sec"),
    ("output_token_throughput", "output_throughput_tps", "tokens/sec"),
    ("total_token_throughput", "total_throughput_tps", "tokens/sec"),
];

const LATENCIES: [(&str, &str); 4] = [
    ("time_to_first_token", "ttft"),
    ("inter_token_latency", "tbt"),
    ("inter_chunk_latency", "itl"),
    ("request_latency", "e2e"),
];

const STATS: [&str; 8] = ["avg", "std", "min", "max", "p50", "p90", "p95", "p99"];

/// The figures of such a file; `None` when it is none.
pub(super) fn figures(object: &Map<String, Value>) -> Option<BTreeMap<String, f64>> {
    if !object.contains_key("aiperf_version") {
        return None;
    }
    // A quantity in another unit than the one that is known is left out: a wrong figure is worse than none.
    let of = |key: &str, unit: &str| {
        object.get(key).and_then(Value::as_object).filter(|it| it.get("unit").and_then(Value::as_str) == Some(unit))
    };
    let number =
        |of: &Map<String, Value>, stat: &str| of.get(stat).and_then(Value::as_f64).filter(|value| value.is_finite());
    let mut figures = BTreeMap::new();
    for (theirs, ours, unit) in TOTALS {
        figures.extend(of(theirs, unit).and_then(|it| Some((ours.to_owned(), number(it, "avg")?))));
    }
    for (theirs, ours) in LATENCIES {
        let Some(quantity) = of(theirs, "ms") else { continue };
        for stat in STATS {
            figures.extend(number(quantity, stat).map(|value| (format!("{stat}_{ours}_ms"), value)));
        }
    }
    // It leaves a count of 0 out, and has an empty list of the errors then.
    if object.get("error_summary").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        figures.entry("failed_requests".to_owned()).or_insert(0.0);
    }
    super::count_failures(&mut figures);
    Some(figures)
}
