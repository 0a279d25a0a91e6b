//! The definitions of all figures, for people.

use std::fmt::Write;

use crate::export::records::FIELDS;
use crate::registry::{self, Better, Group};

/// A Markdown page that defines every figure, made from the registry.
pub fn glossary() -> String {
    let mut page = String::from(
        "# Figures\n\n\
         Notation for one request: `s` scheduled, `a` sent, `f` first token, `l` last token, `n` output tokens, `n1` \
         tokens in the first chunk.\nOnly successful requests enter latency figures, warm-up requests enter none. A \
         figure that cannot be had is `null`, and `reasons` of the same\nobject says why. Figures marked with `†` have \
         a 95 % interval under `intervals`, as p50, p95 and p99 of TTFT, TBT and E2E have.\n\nPercentiles of more than 131 072 values come from a sketch: \
         `sketch_relative_error` names the quantities and how far\ntheir percentiles can be off, which is 0.1 % at most. \
         What a server's gauges showed over time stays in the closing line\nof the journal.\n",
    );
    let mut group = None;
    for metric in registry::all() {
        if group != Some(metric.group) {
            group = Some(metric.group);
            let _ = write!(
                page,
                "\n## {}\n\n| key | unit | better | definition | `null` when |\n|---|---|---|---|---|\n",
                title(metric.group)
            );
        }
        let better = match metric.better {
            Better::Lower => "lower",
            Better::Higher => "higher",
            Better::Neither => "–",
        };
        let mark = if metric.headline { " †" } else { "" };
        let _ = writeln!(
            page,
            "| `{}`{mark} | {} | {better} | {} | {} |",
            metric.key,
            metric.unit.symbol(),
            metric.definition,
            metric.undefined
        );
    }
    page.push_str(
        "\n## Columns of the records\n\n\
         `report --format parquet` writes a row for each measured request. Stamps are nanoseconds on the clock of the \
         run, which\nstarted at `sagellm_benchmark.clock_started` of the file's metadata, where \
         `sagellm_benchmark.validity` holds the verdict\nas JSON, as `benchmark_summary.json` beside the journals has it. \
         What is unknown is null.\n\n\
         | column | type | what it is |\n|---|---|---|\n",
    );
    for field in &FIELDS {
        let _ = writeln!(page, "| `{}` | {} | {} |", field.name, field.kind(), field.about);
    }
    page
}

/// The name of a part of a report.
pub(crate) fn title(group: Group) -> &'static str {
    match group {
        Group::Latency => "Latency",
        Group::Throughput => "Throughput",
        Group::Reliability => "Reliability",
        Group::Load => "Load",
        Group::Objective => "Service level objective",
        Group::Steady => "Steady state",
        Group::Memory => "Memory",
        Group::Host => "The machine",
        Group::Cache => "KV cache and speculative decoding",
        Group::Engine => "Steps of the CPU engine",
        Group::Client => "The client itself",
        Group::Server => "What the server says",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_row_of_five_cells() {
        let page = glossary();
        for metric in registry::all() {
            let start = format!("| `{}`", metric.key);
            let row = page.lines().find(|line| line.starts_with(&start)).unwrap();
            assert_eq!(row.matches('|').count(), 6, "{row}");
        }
    }
}
