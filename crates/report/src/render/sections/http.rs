//! The sections that only requests over HTTP have.

use sagellm_core::TokenSource;

use super::{Column, Footnotes, Section, Style, number, plain};
use crate::{Summary, WorkloadSummary};

const CLIENT: [Column; 7] = [
    ("delay p50", "p50_client_delay_ms", Style::Number),
    ("delay p99", "p99_client_delay_ms", Style::Number),
    ("error p99", "p99_client_error_ms", Style::Number),
    ("connect", "avg_connect_ms", Style::Number),
    ("merged", "merged_chunks", Style::Whole),
    ("retries", "retries", Style::Whole),
    ("CPU %", "client_cpu_percent", Style::Number),
];

const SERVER: [Column; 6] = [
    ("queue", "server_queue_ms", Style::Number),
    ("prefill", "server_prefill_ms", Style::Number),
    ("TTFT", "server_ttft_ms", Style::Number),
    ("decode", "server_decode_ms", Style::Number),
    ("network and client", "network_client_ms", Style::Number),
    ("CPU %", "server_cpu_percent", Style::Number),
];

const TOKENS: [Column; 4] = [
    ("usage", "usage_output_tokens", Style::Whole),
    ("tokenizer", "tokenizer_output_tokens", Style::Whole),
    ("chunks", "content_chunks", Style::Whole),
    ("per chunk", "avg_chunk_tokens", Style::Number),
];

/// Client, server, and who counted the tokens.
pub(super) fn sections(summary: &Summary, notes: &mut Footnotes) -> [Section; 3] {
    let sections = [
        plain("Client (ms)", &CLIENT, summary, notes),
        plain("Server (ms)", &SERVER, summary, notes),
        tokens(summary, notes),
    ];
    for workload in summary.workloads.iter() {
        if let Some(fit) = reconciliation(workload) {
            notes.fit(workload.name(), &fit);
        }
    }
    sections
}

fn tokens(summary: &Summary, notes: &mut Footnotes) -> Section {
    let mut section = plain("Output tokens", &TOKENS, summary, notes);
    section.columns.insert(0, "counted by");
    for (row, workload) in section.rows.iter_mut().zip(summary.workloads.iter()) {
        let sources: Vec<_> = workload.details.output_tokens_source.iter().map(|source| who(*source)).collect();
        row.cells.insert(0, if sources.is_empty() { super::UNKNOWN.into() } else { sources.join(", ") });
    }
    section
}

fn who(source: TokenSource) -> &'static str {
    match source {
        TokenSource::Engine => "engine",
        TokenSource::Usage => "usage",
        TokenSource::Tokenizer => "tokenizer",
        TokenSource::Chunks => "chunks",
    }
}

/// How the server's time to the first token fits with the client's.
fn reconciliation(workload: &WorkloadSummary) -> Option<String> {
    let client = workload.get("avg_ttft_ms")?;
    let server = workload.get("server_ttft_ms")?;
    let rest = workload.get("network_client_ms")?;
    let (client, server, share) = (number::figure(client), number::figure(server), number::figure(rest));
    Some(if rest >= 0.0 {
        format!("client TTFT {client} ms = server {server} ms + network and client {share} ms")
    } else {
        format!("client TTFT {client} ms is below the server's {server} ms: the server counts other requests too")
    })
}
