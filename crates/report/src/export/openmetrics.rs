//! OpenMetrics text, for a Prometheus push gateway or a textfile collector: a gauge per figure, a sample per workload.

use crate::{Summary, Verdict, WorkloadSummary, registry};

pub(crate) fn openmetrics(summary: &Summary) -> String {
    let (model, backend) = match &summary.environment {
        Some(manifest) => (manifest.backend.model.name.as_str(), manifest.backend.name.as_str()),
        None => ("", ""),
    };
    let common = format!("model=\"{}\",backend=\"{}\"", label(model), label(backend));
    let mut text = String::new();
    gauge(
        &mut text,
        summary,
        &common,
        "sagellm_benchmark_valid",
        "1 when the workload's verdict is VALID",
        |workload| Some(if workload.details.validity.verdict == Verdict::Valid { 1.0 } else { 0.0 }),
    );
    findings(&mut text, summary, &common);
    for metric in registry::all() {
        // Names may hold no dot, which `p99.9` has.
        let name = format!("sagellm_benchmark_{}", metric.key.replace('.', "_"));
        let help = format!("{} ({})", metric.definition, metric.unit.symbol());
        gauge(&mut text, summary, &common, &name, &help, |workload| workload.get(&metric.key));
    }
    text.push_str("# EOF\n");
    text
}

/// A gauge with a sample for each workload that has it.
fn gauge(
    text: &mut String,
    summary: &Summary,
    common: &str,
    name: &str,
    help: &str,
    value: impl Fn(&WorkloadSummary) -> Option<f64>,
) {
    let samples = summary.workloads.iter().filter_map(|workload| Some((workload.name(), value(workload)?)));
    let samples: Vec<(&str, f64)> = samples.collect();
    if samples.is_empty() {
        return;
    }
    text.push_str(&format!("# TYPE {name} gauge\n# HELP {name} {}\n", label(help)));
    for (workload, value) in samples {
        let workload = label(workload);
        text.push_str(&format!("{name}{{workload=\"{workload}\",{common}}} {value}\n"));
    }
}

/// What lies behind the verdicts, by code. A gauge and not an `info`, which the text format of Prometheus does not know.
fn findings(text: &mut String, summary: &Summary, common: &str) {
    const NAME: &str = "sagellm_benchmark_finding";
    let mut samples = String::new();
    for workload in summary.workloads.iter() {
        let [reasons, warnings] = summary.validity.codes(workload.name());
        for (kind, codes) in [("reason", reasons), ("warning", warnings)] {
            for code in codes {
                let name = label(workload.name());
                let labels = format!("workload=\"{name}\",{common},kind=\"{kind}\",code=\"{code}\"");
                samples.push_str(&format!("{NAME}{{{labels}}} 1\n"));
            }
        }
    }
    if !samples.is_empty() {
        let help = "1 for each reason why a workload is INVALID, and for each warning";
        text.push_str(&format!("# TYPE {NAME} gauge\n# HELP {NAME} {help}\n{samples}"));
    }
}

/// The value of a label, or a help text.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
