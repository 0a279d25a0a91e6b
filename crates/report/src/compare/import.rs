//! Results of other tools, in our names.

mod aiperf;
mod llama_bench;

use std::collections::BTreeMap;
use std::path::Path;

use sagellm_core::file;
use serde_json::{Map, Value};

use crate::export::rivals::VALIDITY;
use crate::{Error, Verdict};

/// Largest file of another tool, in bytes.
const LARGEST: u64 = 64 << 20;
/// Most values of such a file: those of a few thousand requests with the time of each token.
const MOST_VALUES: usize = 4_000_000;

/// What the workload of such a file is called, which names none.
pub(super) const WORKLOAD: &str = "imported";

/// Theirs and ours; a number of 1000 turns seconds into milliseconds.
const VLLM: [(&str, &str); 12] = [
    ("duration", "total_time_s"),
    ("completed", "successful_requests"),
    ("failed", "failed_requests"),
    ("total_input_tokens", "total_input_tokens"),
    ("total_output_tokens", "total_output_tokens"),
    ("request_throughput", "request_throughput_rps"),
    ("input_throughput", "input_throughput_tps"),
    ("output_throughput", "output_throughput_tps"),
    ("total_token_throughput", "total_throughput_tps"),
    ("total_throughput", "total_throughput_tps"),
    ("request_goodput", "goodput_rps"),
    // With a colon in what vLLM wrote for long.
    ("request_goodput:", "goodput_rps"),
];

/// vLLM's `bench throughput`.
const OFFLINE: [(&str, &str); 3] = [
    ("elapsed_time", "total_time_s"),
    ("num_requests", "successful_requests"),
    ("tokens_per_second", "total_throughput_tps"),
];

const LATENCIES: [(&str, &str); 6] =
    [("ttft", "ttft"), ("tpot", "tbt"), ("itl", "itl"), ("e2el", "e2e"), ("e2e_latency", "e2e"), ("latency", "e2e")];

/// vLLM names a percentile by the number that was asked for, others without its point.
const STATS: [(&str, &str); 7] = [
    ("mean", "avg"),
    ("median", "p50"),
    ("p90", "p90"),
    ("p95", "p95"),
    ("p99", "p99"),
    ("p99.9", "p99.9"),
    ("p999", "p99.9"),
];

/// Latencies of which every success has one, so that it is known of how many values their spread is.
const ONE_A_SUCCESS: [&str; 2] = ["ttft", "e2e"];

/// What runs of the same have in common. Their seeds and times may differ.
const SETTINGS: [&str; 14] = [
    "backend",
    "model_id",
    "dataset_name",
    "num_prompts",
    "num_requests",
    "request_rate",
    "burstiness",
    "max_concurrency",
    "random_input_len",
    "random_output_len",
    "random_range_ratio",
    "sharegpt_output_len",
    "endpoint_type",
    "tokenizer_id",
];

/// Figures of a run by our keys.
type Figures = BTreeMap<String, f64>;

/// What stands in a file for one run of one workload, as it stands and in our names.
type Line = (Map<String, Value>, Figures);

/// What a file of another tool holds.
#[derive(Default)]
pub(super) struct Imported {
    /// Run by run, its workloads by name.
    pub(super) runs: Vec<BTreeMap<String, Figures>>,
    /// How their definitions differ from ours.
    pub(super) difference: &'static str,
    /// Why one of the runs is INVALID, where we exported it.
    pub(super) invalid: Option<String>,
}

/// The runs in a file that another tool wrote; `None` when it is no such file.
pub(super) fn rival(path: &Path) -> Result<Option<Imported>, Error> {
    let text = file::read_text(path, LARGEST).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    file::check_values(text.as_bytes(), MOST_VALUES).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text = without_constants(&text);
    let mut imported = Imported::default();
    let mut tests = Vec::new();
    let mut lines: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        // What is no JSON is no such file either; whoever reads our own files says what is wrong with it.
        let object = match value {
            Ok(Value::Object(object)) if llama_bench::is_test(&object) => {
                tests.push(object);
                continue;
            }
            Ok(Value::Object(object)) => object,
            Ok(Value::Array(rows)) => {
                let rows = rows.into_iter().map(|row| match row {
                    Value::Object(row) if llama_bench::is_test(&row) => Some(row),
                    _ => None,
                });
                let Some(rows) = rows.collect::<Option<Vec<_>>>() else { return Ok(None) };
                tests.extend(rows);
                continue;
            }
            Err(_) | Ok(_) => return Ok(None),
        };
        let Some((run, told)) = one(&object) else { return Ok(None) };
        imported.difference = told;
        imported.invalid = imported.invalid.or_else(|| invalid(&object));
        lines.entry(workload(&object).to_owned()).or_default().push((object, run));
    }
    if !tests.is_empty() {
        let runs = llama_bench::runs(&tests).ok_or_else(|| Error::SeveralTests { path: path.to_owned() })?;
        imported.runs = runs.into_iter().map(|run| BTreeMap::from([(WORKLOAD.to_owned(), run)])).collect();
        imported.difference = llama_bench::DIFFERENCE;
    }
    for (workload, lines) in lines {
        let (objects, runs): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        of_one_setting(path, &objects)?;
        imported.runs.resize_with(imported.runs.len().max(runs.len()), BTreeMap::new);
        for (run, figures) in imported.runs.iter_mut().zip(runs) {
            run.insert(workload.clone(), figures);
        }
    }
    Ok((!imported.runs.is_empty()).then_some(imported))
}

/// The workload of a line: we export it as the name of the data set, which elsewhere says how requests were drawn.
fn workload(object: &Map<String, Value>) -> &str {
    let name = object.get("dataset_name").and_then(Value::as_str).filter(|_| object.contains_key(VALIDITY));
    name.unwrap_or(WORKLOAD)
}

/// Refuses lines that are no repeats: the spread of different loads would pass for chance.
fn of_one_setting(path: &Path, objects: &[Map<String, Value>]) -> Result<(), Error> {
    let of = |object: &Map<String, Value>, field| object.get(field).cloned().unwrap_or_default();
    for field in SETTINGS {
        let mut values = objects.iter().map(|object| of(object, field));
        let first = values.next().unwrap_or_default();
        if let Some(other) = values.find(|value| *value != first) {
            let (first, other) = (first.to_string(), other.to_string());
            return Err(Error::SeveralSettings { path: path.to_owned(), field, first, other });
        }
    }
    Ok(())
}

/// Why a run that we exported is INVALID: the codes of its reasons, without those of its warnings.
fn invalid(object: &Map<String, Value>) -> Option<String> {
    let told = object.get(VALIDITY)?.as_str()?.strip_prefix(Verdict::Invalid.word())?;
    let reasons = told.split(';').next().unwrap_or_default();
    Some(reasons.trim_start_matches([':', ' ']).to_owned())
}

/// Python writes numbers that JSON does not know: SGLang's client a `request_rate` of `Infinity`. None of them is a figure.
fn without_constants(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(opening) = rest.find('"') {
        let (outside, quoted) = rest.split_at(opening);
        push_outside(outside, &mut out);
        let end = end_of_string(quoted);
        out.push_str(&quoted[..end]);
        rest = &quoted[end..];
    }
    push_outside(rest, &mut out);
    out
}

fn push_outside(text: &str, out: &mut String) {
    out.push_str(&text.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null"));
}

/// Where the JSON string ends that `text` begins with, its closing quotation mark included.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

fn one(object: &Map<String, Value>) -> Option<(BTreeMap<String, f64>, &'static str)> {
    if let Some(run) = aiperf::figures(object) {
        return Some((run, aiperf::DIFFERENCE));
    }
    let number = |key: &str| object.get(key).and_then(Value::as_f64).filter(|value| value.is_finite());
    let mut run = BTreeMap::new();
    let mut take = |pairs: &[(&str, &str)]| {
        for (theirs, ours) in pairs {
            if let Some(value) = number(theirs) {
                run.insert((*ours).to_owned(), value);
            }
        }
    };
    let offline = object.contains_key("elapsed_time") && object.contains_key("requests_per_second");
    if offline {
        take(&OFFLINE);
        take(&[("requests_per_second", "request_throughput_rps")]);
        return Some((run, "vLLM's `bench throughput` counts input and output tokens together"));
    }
    if !object.contains_key("duration") || !object.contains_key("completed") || object.contains_key("schema_version") {
        return None;
    }
    take(&VLLM);
    for (theirs, ours) in LATENCIES {
        for (statistic, stat) in STATS {
            if let Some(value) = number(&format!("{statistic}_{theirs}_ms")) {
                run.insert(format!("{stat}_{ours}_ms"), value);
            }
        }
    }
    if let Some(n) = number("completed").filter(|n| *n > 1.0) {
        for latency in ONE_A_SUCCESS {
            let population = LATENCIES.iter().filter(|(_, ours)| *ours == latency);
            let population = population.filter_map(|(theirs, _)| number(&format!("std_{theirs}_ms"))).next();
            // Theirs is the population's, ours the sample's.
            run.extend(population.map(|std| (format!("std_{latency}_ms"), std * (n / (n - 1.0)).sqrt())));
        }
    }
    count_failures(&mut run);
    let sglang = object.contains_key("median_e2e_latency_ms") || object.contains_key("mean_e2e_latency_ms");
    Some(match sglang {
        true => (run, "SGLang measures to the [DONE] line and counts as success whatever ended without an exception"),
        false => (run, "vLLM counts a stream that ends early as success; its TPOT is our TBT"),
    })
}

/// What follows from the requests that succeeded and failed, where both are known.
fn count_failures(run: &mut BTreeMap<String, f64>) {
    let (Some(done), Some(failed)) = (run.get("successful_requests"), run.get("failed_requests")) else { return };
    let (total, failed) = (done + failed, *failed);
    run.insert("total_requests".into(), total);
    if total > 0.0 {
        run.insert("error_rate".into(), failed / total);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{one, without_constants};

    #[test]
    fn a_run_of_vllm_has_the_figures_that_follow_from_its_own() {
        let text = json!({
            "duration": 1.0, "completed": 9, "failed": 3, "request_goodput:": 2.5,
            "p99.9_ttft_ms": 70.0, "p999_e2el_ms": 80.0, "std_ttft_ms": 8.0, "std_itl_ms": 8.0
        });
        let (run, _) = one(text.as_object().unwrap()).unwrap();
        for (key, value) in [
            ("total_requests", 12.0),
            ("error_rate", 0.25),
            ("goodput_rps", 2.5),
            ("p99.9_ttft_ms", 70.0),
            ("p99.9_e2e_ms", 80.0),
            ("std_ttft_ms", 8.0 * (9.0_f64 / 8.0).sqrt()),
        ] {
            assert_eq!(run.get(key), Some(&value), "{key}");
        }
        assert!(!run.contains_key("std_itl_ms"), "of how many gaps is not known");
    }

    #[test]
    fn a_run_of_aiperf_without_errors_says_so_by_an_empty_list() {
        let of = |more: &str| {
            let text =
                format!(r#"{{"aiperf_version": "1", "request_count": {{"unit": "requests", "avg": 9.0}}, {more}}}"#);
            one(serde_json::from_str::<serde_json::Value>(&text).unwrap().as_object().unwrap()).unwrap().0
        };
        assert_eq!(of(r#""error_summary": []"#).get("error_rate"), Some(&0.0));
        assert_eq!(of(r#""error_request_count": {"unit": "requests", "avg": 3.0}"#).get("error_rate"), Some(&0.25));
        assert_eq!(of(r#""error_summary": [{}]"#).get("error_rate"), None);
    }

    #[test]
    fn constants_of_python_become_null_and_texts_stay() {
        for (text, expected) in [
            (r#"{"a": Infinity, "b": [-Infinity, NaN]}"#, r#"{"a": null, "b": [null, null]}"#),
            (r#"{"t": "NaN \" Infinity", "a": NaN}"#, r#"{"t": "NaN \" Infinity", "a": null}"#),
            (r#"{"t": "\\", "a": NaN}"#, r#"{"t": "\\", "a": null}"#),
            (r#"{"t": "ä", "cut": "NaN"#, r#"{"t": "ä", "cut": "NaN"#),
        ] {
            assert_eq!(without_constants(text), expected);
        }
    }
}
