//! The sections that only some runs have: what requests had to keep, and the steady part.

use sagellm_core::Limited;

use super::{Column, Footnotes, Row, Section, Style, UNKNOWN, cell};
use crate::render::number;
use crate::{Summary, WorkloadSummary};

const STEADY: [Column; 8] = [
    ("from s", "steady_start_s", Style::Moment),
    ("for s", "steady_time_s", Style::Number),
    ("ok", "steady_requests", Style::Whole),
    ("req/s", "steady_request_throughput_rps", Style::Number),
    ("out tok/s", "steady_output_throughput_tps", Style::Number),
    ("TTFT ms", "steady_avg_ttft_ms", Style::Number),
    ("TBT ms", "steady_avg_tbt_ms", Style::Number),
    ("E2E ms", "steady_avg_e2e_ms", Style::Number),
];

/// Goodput where limits were set, and the steady window where one was found.
pub(super) fn sections(summary: &Summary, notes: &mut Footnotes) -> Vec<Section> {
    let mut sections = Vec::new();
    if summary.workloads.iter().any(|workload| workload.details.workload.goodput.is_some()) {
        sections.push(goodput(summary, notes));
    }
    if summary.workloads.iter().any(|workload| workload.details.steady.is_some()) {
        sections.push(steady(summary, notes));
    }
    sections
}

/// Where there is no window, one reason stands for all of its figures.
fn steady(summary: &Summary, notes: &mut Footnotes) -> Section {
    let rows = summary.workloads.iter().map(|workload| {
        let cells = if workload.details.steady.is_some() {
            STEADY.iter().map(|column| cell(workload, *column, notes)).collect()
        } else {
            notes.unknown(workload.name(), "steady window", workload.reason("steady_start_s"));
            vec![UNKNOWN.into(); STEADY.len()]
        };
        Row { workload: workload.name().to_owned(), label: "", cells }
    });
    let rows = rows.collect();
    Section { title: "Steady window", columns: STEADY.iter().map(|column| column.0).collect(), rows }
}

/// A row for each limit and one for all together.
fn goodput(summary: &Summary, notes: &mut Footnotes) -> Section {
    let mut rows = Vec::new();
    for workload in summary.workloads.iter() {
        let Some(slo) = &workload.details.workload.goodput else { continue };
        for limited in Limited::ALL {
            let Some(limit) = slo.limit(limited) else { continue };
            let (label, key) = match limited {
                Limited::Ttft => ("TTFT", "slo_attainment_ttft"),
                Limited::Tbt => ("TBT (vLLM's TPOT)", "slo_attainment_tbt"),
                Limited::E2e => ("E2E", "slo_attainment_e2e"),
            };
            rows.push(row(workload, label, [number::figure(limit), share(workload, key, notes), String::new()]));
        }
        let rate = cell(workload, ("", "goodput_rps", Style::Number), notes);
        rows.push(row(workload, "all", [String::new(), share(workload, "slo_attainment", notes), rate]));
    }
    Section { title: "Goodput", columns: vec!["limit ms", "kept", "good req/s"], rows }
}

fn share(workload: &WorkloadSummary, key: &str, notes: &mut Footnotes) -> String {
    cell(workload, ("", key, Style::Percent), notes)
}

fn row(workload: &WorkloadSummary, label: &'static str, cells: [String; 3]) -> Row {
    Row { workload: workload.name().to_owned(), label, cells: cells.into() }
}
