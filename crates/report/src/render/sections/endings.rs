//! Why answers ended, where not all ended for the same reason.

use sagellm_core::FinishReason;

use super::{Row, Section, UNKNOWN};
use crate::render::number;
use crate::{FinishSummary, Summary};

pub(super) fn section(summary: &Summary) -> Option<Section> {
    let several = summary.workloads.iter().filter(|workload| workload.details.finish_reasons.len() > 1);
    let rows: Vec<Row> = several
        .flat_map(|workload| {
            let reasons = &workload.details.finish_reasons;
            let all: u64 = reasons.iter().map(|reason| reason.requests).sum();
            reasons.iter().map(move |reason| Row {
                workload: workload.name().to_owned(),
                label: name(reason.reason),
                cells: cells(reason, all),
            })
        })
        .collect();
    let columns = vec!["requests", "share", "tokens", "p99 tokens", "p50 E2E", "p99 E2E"];
    (!rows.is_empty()).then_some(Section { title: "Finish reasons (ms)", columns, rows })
}

fn cells(reason: &FinishSummary, all: u64) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or(UNKNOWN.into(), number::figure);
    vec![
        reason.requests.to_string(),
        number::percent(reason.requests as f64 / all as f64),
        number(reason.avg_output_tokens),
        number(reason.p99_output_tokens),
        number(reason.p50_e2e_ms),
        number(reason.p99_e2e_ms),
    ]
}

fn name(reason: Option<FinishReason>) -> &'static str {
    match reason {
        None => "unknown",
        Some(FinishReason::Length) => "length",
        Some(FinishReason::Stop) => "stop",
        Some(FinishReason::ContentFilter) => "content filter",
        Some(FinishReason::ToolCalls) => "tool calls",
    }
}
