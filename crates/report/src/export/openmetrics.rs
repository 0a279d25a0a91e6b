//! OpenMetrics text, for a Prometheus push gateway or a textfile collector: a gauge per figure, a sample per workload.

use crate::{Summary, Verdict, WorkloadSummary, registry};

pub(crate) fn openmetrics(summary: &Summary) -> String {
    let (model, backend) = match &summary.environment {
        Some(manifest) => (manifest.backend.model.name.as_str(), manifest.backend.name.as_str()),
        None => ("", ""),
    };
    let common = format!("model=\"{}\",backend=\"{}\"", label(model), label(backend));
    let mut text = String::new();
    let mut family = |name: &str, help: &str, value: &dyn Fn(&WorkloadSummary) -> Option<f64>| {
        let samples: Vec<(String, f64)> = summary
            .workloads
            .iter()
            .filter_map(|workload| Some((workload.name().to_owned(), value(workload)?)))
            .collect();
        if samples.is_empty() {
            return;
        }
        text.push_str(&format!("# TYPE {name} gauge\n# HELP {name} {}\n", label(help)));
        for (workload, value) in samples {
            text.push_str(&format!("{name}{{workload=\"{workload}\",{common}}} {value}\n"));
        }
    };
    family("sagellm_benchmark_valid", "1 when the workload's verdict is VALID", &|workload| {
        Some(if workload.details.validity.verdict == Verdict::Valid { 1.0 } else { 0.0 })
    });
    for metric in registry::all() {
        // Names may hold no dot, which `p99.9` has.
        let name = format!("sagellm_benchmark_{}", metric.key.replace('.', "_"));
        family(&name, &format!("{} ({})", metric.definition, metric.unit.symbol()), &|workload| {
            workload.get(&metric.key)
        });
    }
    text.push_str("# EOF\n");
    text
}

/// The value of a label, or a help text.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
