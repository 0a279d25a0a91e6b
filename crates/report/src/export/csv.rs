//! One line per workload, one column per figure of the registry; what is unknown is empty.

use crate::{Summary, registry};

pub(crate) fn csv(summary: &Summary) -> String {
    let columns: Vec<&str> = registry::all().iter().map(|metric| metric.key.as_str()).collect();
    let mut text = format!("workload,verdict,{}\n", columns.join(","));
    for workload in summary.workloads.iter() {
        let verdict = workload.details.validity.verdict.word();
        // Names of workloads are letters, digits, `-`, `_` and `.`: nothing has to be quoted.
        text.push_str(&format!("{},{verdict}", workload.name()));
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
