//! The results of vLLM's `bench serve`, one JSON object, and of SGLang's `bench_serving`, one object per workload and line,
//! with their names for the same quantities. What is not known is `null`.

use serde_json::{Map, Value, json};

use crate::registry::Stat;
use crate::{Error, Summary, Verdict, WorkloadSummary};
use sagellm_core::Arrival;

/// The latencies that both have: our name, vLLM's, SGLang's.
const LATENCIES: [(&str, &str, &str); 4] =
    [("ttft", "ttft", "ttft"), ("tbt", "tpot", "tpot"), ("itl", "itl", "itl"), ("e2e", "e2el", "e2e_latency")];

/// Figures that are one number: ours, vLLM's, SGLang's.
const FIGURES: [(&str, Option<&str>, Option<&str>); 13] = [
    ("total_time_s", Some("duration"), Some("duration")),
    ("successful_requests", Some("completed"), Some("completed")),
    ("failed_requests", Some("failed"), None),
    ("total_input_tokens", Some("total_input_tokens"), Some("total_input_tokens")),
    ("total_output_tokens", Some("total_output_tokens"), Some("total_output_tokens")),
    ("request_throughput_rps", Some("request_throughput"), Some("request_throughput")),
    ("input_throughput_tps", Some("input_throughput"), Some("input_throughput")),
    ("output_throughput_tps", Some("output_throughput"), Some("output_throughput")),
    ("total_throughput_tps", Some("total_token_throughput"), Some("total_throughput")),
    ("goodput_rps", Some("request_goodput"), None),
    ("peak_output_throughput_tps", Some("max_output_tokens_per_s"), Some("max_output_tokens_per_s")),
    // Theirs counts all that ran at any time within a second, so that short requests make it exceed the cap; ours is the
    // most at one moment.
    ("peak_concurrency", Some("max_concurrent_requests"), Some("max_concurrent_requests")),
    ("tokenizer_output_tokens", None, Some("total_output_tokens_retokenized")),
];

/// The one key that is ours: figures do not travel without their verdict. It holds text, which all that reads such files
/// takes for a note.
pub(crate) const VALIDITY: &str = "sagellm_validity";

/// As vLLM's `bench serve --save-result` writes it: one document, of one workload. What reads such files takes several
/// documents in one for damage.
pub(crate) fn vllm(summary: &Summary) -> Result<String, Error> {
    if summary.workloads.len() > 1 {
        let names = summary.workloads.iter().map(|workload| workload.name().to_owned()).collect();
        return Err(Error::SeveralWorkloads { names });
    }
    Ok(lines(summary, |workload| {
        let mut object = Map::new();
        let about = about(summary, workload);
        object.insert("date".into(), date(&workload.details.started_at).into());
        object.insert("endpoint_type".into(), about.backend.clone().into());
        object.insert("backend".into(), about.backend.into());
        let metadata = summary.environment.as_ref().map(|manifest| &manifest.metadata);
        object.insert("label".into(), json!(metadata.and_then(|metadata| metadata.get("label"))));
        object.insert("model_id".into(), about.model.clone().into());
        object.insert("tokenizer_id".into(), about.model.into());
        object.insert("max_model_len".into(), json!(about.context_length));
        object.insert("num_prompts".into(), workload.details.workload.num_prompts.into());
        object.insert("request_rate".into(), about.rate);
        object.insert("burstiness".into(), json!(about.burstiness));
        object.insert("max_concurrency".into(), json!(workload.details.workload.max_concurrency));
        for (ours, theirs, _) in FIGURES {
            if let Some(theirs) = theirs {
                object.insert(theirs.into(), number(workload.get(ours)));
            }
        }
        for (ours, theirs, _) in LATENCIES {
            latency(&mut object, workload, ours, theirs, &[Stat::P90, Stat::P95, Stat::P99]);
        }
        object.insert(VALIDITY.into(), validity(summary, workload).into());
        for (key, value) in metadata.into_iter().flatten() {
            object.entry(key.as_str()).or_insert_with(|| value.as_str().into());
        }
        object
    }))
}

/// As SGLang's `bench_serving --output-file` writes it.
pub(crate) fn sglang(summary: &Summary) -> String {
    lines(summary, |workload| {
        let mut object = Map::new();
        let about = about(summary, workload);
        object.insert("backend".into(), about.backend.into());
        object.insert("dataset_name".into(), workload.name().into());
        object.insert("request_rate".into(), about.rate);
        object.insert("max_concurrency".into(), json!(workload.details.workload.max_concurrency));
        for (ours, _, theirs) in FIGURES {
            if let Some(theirs) = theirs {
                object.insert(theirs.into(), number(workload.get(ours)));
            }
        }
        // Nothing but text is sent.
        object.insert("total_input_text_tokens".into(), number(workload.get("total_input_tokens")));
        object.insert("total_input_vision_tokens".into(), 0.into());
        object.insert("concurrency".into(), number(workload.get("avg_concurrency")));
        for (ours, _, theirs) in LATENCIES {
            latency(&mut object, workload, ours, theirs, &[Stat::P90, Stat::P95, Stat::P99]);
        }
        object.insert(VALIDITY.into(), validity(summary, workload).into());
        object
    })
}

/// `VALID`, or the verdict with the codes behind it: `INVALID: error_rate; warnings: few_samples`.
fn validity(summary: &Summary, workload: &WorkloadSummary) -> String {
    let [reasons, warnings] = summary.validity.codes(workload.name()).map(|codes| codes.join(", "));
    let verdict = if reasons.is_empty() { Verdict::Valid } else { Verdict::Invalid }.word();
    let reasons = if reasons.is_empty() { reasons } else { format!(": {reasons}") };
    let warnings = if warnings.is_empty() { warnings } else { format!("; warnings: {warnings}") };
    format!("{verdict}{reasons}{warnings}")
}

fn lines(summary: &Summary, object: impl Fn(&WorkloadSummary) -> Map<String, Value>) -> String {
    summary.workloads.iter().map(|workload| Value::Object(object(workload)).to_string() + "\n").collect()
}

/// The statistics of one latency. Their standard deviation is the population's.
fn latency(object: &mut Map<String, Value>, workload: &WorkloadSummary, ours: &str, theirs: &str, tails: &[Stat]) {
    let get = |stat: Stat| workload.get(&stat.key(ours));
    object.insert(format!("mean_{theirs}_ms"), number(get(Stat::Avg)));
    object.insert(format!("median_{theirs}_ms"), number(get(Stat::P50)));
    let count = workload.details.counts.get(ours).map(|count| *count as f64).filter(|count| *count > 0.0);
    let population = get(Stat::Std).zip(count).map(|(sample, n)| sample * ((n - 1.0) / n).sqrt());
    object.insert(format!("std_{theirs}_ms"), number(population));
    for tail in tails {
        object.insert(format!("{}_{theirs}_ms", tail.prefix()), number(get(*tail)));
    }
}

struct About {
    model: String,
    backend: String,
    context_length: Option<u32>,
    /// `"inf"` where all come at once, null where it is not one number.
    rate: Value,
    /// None where the gaps are no gamma variates.
    burstiness: Option<f64>,
}

fn about(summary: &Summary, workload: &WorkloadSummary) -> About {
    let backend = summary.environment.as_ref().map(|manifest| &manifest.backend);
    let (rate, burstiness) = match workload.details.workload.arrival {
        Arrival::Immediate => (json!("inf"), None),
        Arrival::Constant { rate } => (json!(rate), None),
        Arrival::Poisson { rate } => (json!(rate), Some(1.0)),
        Arrival::Gamma { rate, burstiness } => (json!(rate), Some(burstiness)),
        Arrival::Trace
        | Arrival::Burst { .. }
        | Arrival::OnOff { .. }
        | Arrival::Ramp { .. }
        | Arrival::Phases { .. } => (Value::Null, None),
    };
    About {
        model: backend.map_or_else(String::new, |backend| backend.model.name.clone()),
        backend: backend.map_or_else(String::new, |backend| backend.name.clone()),
        context_length: backend.and_then(|backend| backend.model.context_length),
        rate,
        burstiness,
    }
}

/// `2026-01-31T09:30:00.125Z` as `20260131-093000`.
fn date(rfc3339: &str) -> String {
    let digits: String = rfc3339.chars().filter(char::is_ascii_digit).take(14).collect();
    match digits.len() {
        14 => format!("{}-{}", &digits[..8], &digits[8..]),
        _ => rfc3339.to_owned(),
    }
}

fn number(value: Option<f64>) -> Value {
    match value {
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => json!(value as i64),
        Some(value) => json!(value),
        None => Value::Null,
    }
}
