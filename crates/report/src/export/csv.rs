//! One line per workload: its verdict with the codes behind it, and one column per figure of the registry. What is unknown
//! is empty.

use crate::{Summary, registry};

pub(crate) fn csv(summary: &Summary) -> String {
    let columns: Vec<&str> = registry::all().iter().map(|metric| metric.key.as_str()).collect();
    let mut text = format!("workload,verdict,reasons,warnings,{}\n", columns.join(","));
    for workload in summary.workloads.iter() {
        let verdict = workload.details.validity.verdict.word();
        let [reasons, warnings] = summary.validity.codes(workload.name()).map(|codes| codes.join(";"));
        // Names of workloads are letters, digits, `-`, `_` and `.`, those of findings letters and `_`: nothing has to be
        // quoted.
        text.push_str(&format!("{},{verdict},{reasons},{warnings}", workload.name()));
        for key in &columns {
            text.push(',');
            if let Some(value) = workload.get(key) {
                text.push_str(&value.to_string());
            }
        }
        text.push('\n');
    }
    text
}
