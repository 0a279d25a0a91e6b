//! Journals for the tests, made as `run` makes them.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub(crate) mod queue;
pub(crate) mod sides;

use std::collections::BTreeMap;
use std::path::Path;

use sagellm_core::journal::{Calibration, Close, ErrorSpread, Header, HostWindow, Line, Memory, Stalls};
use sagellm_core::{
    Arrival, BackendInfo, BackendStats, Chunk, FinishReason, HttpFacts, Measured, Mode, ModelInfo, OutcomeKind, Record,
    SCHEMA_VERSION, ServerWindow, Source, Stamp, StepTimes, TokenSource, WallTime, Workload,
};
use sagellm_report::{Host, Manifest, Sample, WorkloadSummary, journal_file, write_json};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const STARTED: WallTime = WallTime { unix_ns: 1_769_851_800_125_000_000 };

pub(crate) fn header(name: &str, num_prompts: u32) -> Header {
    Header {
        schema_version: SCHEMA_VERSION,
        workload: Workload {
            name: name.into(),
            mode: Mode::Traffic,
            num_prompts,
            source: Source::Text { input_tokens: 128, output_tokens: 4, shared_prefix_tokens: 16 },
            duration_s: None,
            max_concurrency: Some(1),
            arrival: Arrival::Immediate,
            num_warmups: Some(1),
            seed: 42,
            goodput: None,
        },
        clock_started: STARTED,
        start_ns: 1000 * MS,
        warmup: None,
        max_error_rate: 0.05,
        calibration: None,
    }
}

/// A success that is sent at `sent_ms` and gives four tokens: the first after `ttft_ms`, then one every `gap_ms`.
pub(crate) fn success(id: u64, sent_ms: u64, ttft_ms: u64, gap_ms: u64) -> Record {
    let sent = sent_ms * MS;
    let chunks: Vec<Chunk> = (0..4)
        .map(|place| Chunk {
            at_ns: sent + (ttft_ms + place * gap_ms) * MS,
            tokens: 1,
            delay_ns: None,
            uncertainty_ns: 0,
        })
        .collect();
    let last = chunks[3].at_ns;
    Record {
        id,
        worker: 0,
        session: None,
        warmup: false,
        scheduled_ns: sent,
        sent_ns: Some(sent),
        first_token_ns: Some(chunks[0].at_ns),
        last_token_ns: Some(last),
        end_ns: last + MS,
        chunks,
        stamp: Stamp::Engine,
        input_tokens: 128,
        planned_input_tokens: Some(128),
        cached_tokens: Some(0),
        max_tokens: 4,
        ignore_eos: true,
        output_tokens: 4,
        output_tokens_source: TokenSource::Engine,
        output_digest: None,
        preemptions: 0,
        outcome: OutcomeKind::Success,
        reason: None,
        finish_reason: Some(FinishReason::Length),
        http: None,
    }
}

pub(crate) fn failure(id: u64, sent_ms: u64, outcome: OutcomeKind) -> Record {
    Record {
        first_token_ns: None,
        last_token_ns: None,
        chunks: Vec::new(),
        output_tokens: 0,
        outcome,
        reason: Some("made to fail".into()),
        finish_reason: None,
        http: None,
        ..success(id, sent_ms, 1, 1)
    }
}

/// The same request over HTTP: stamped by the kernel, counted by the server's usage, each chunk read 20 µs late.
pub(crate) fn over_http(record: Record) -> Record {
    let chunks: Vec<Chunk> = record.chunks.iter().map(|chunk| Chunk { delay_ns: Some(20_000), ..*chunk }).collect();
    let http = HttpFacts {
        status: Some(200),
        sent_kernel_ns: record.sent_ns,
        first_visible_ns: record.first_token_ns,
        usage_tokens: Some(record.output_tokens),
        tokenizer_tokens: Some(record.output_tokens),
        content_chunks: chunks.len() as u32,
        ..HttpFacts::default()
    };
    Record { stamp: Stamp::Kernel, output_tokens_source: TokenSource::Usage, chunks, http: Some(http), ..record }
}

pub(crate) fn calibration(ttft_p99: f64, tbt_p99: f64) -> Calibration {
    let spread = |p99| ErrorSpread { p50: p99 / 4.0, p99, max: p99 * 2.0 };
    Calibration {
        streams: 8,
        arrival: Arrival::Immediate,
        itl_ms: 5.0,
        ttft_error_ms: spread(ttft_p99),
        tbt_error_ms: spread(tbt_p99),
    }
}

pub(crate) fn server_window(ttft_ms: f64) -> ServerWindow {
    ServerWindow {
        ttft_ms: Measured::known(ttft_ms),
        queue_ms: Measured::known(0.4),
        prefill_ms: Measured::known(ttft_ms - 0.5),
        decode_ms: Measured::known(14.9),
        spec_accept_rate: None,
        spec_accept_length: Measured::unknown("vLLM does not expose it"),
        weight_bytes: Measured::unknown("vLLM has no such metric"),
        restarted: false,
        cut: None,
        samples: Vec::new(),
    }
}

pub(crate) fn warmup() -> Record {
    Record { warmup: true, ..success(1_000_000, 500, 20, 5) }
}

pub(crate) fn close() -> Close {
    Close {
        unsent: 0,
        end_ns: 9_000 * MS,
        interrupted: false,
        wall_drift_ns: Some(0),
        stalls: Some(Stalls::default()),
        backend: BackendStats {
            kv_used_tokens: Measured::known(132),
            kv_used_bytes: Measured::known(132 * 73_728),
            kv_capacity_tokens: Measured::known(4096),
            prefix_lookup_tokens: Measured::known(640),
            prefix_hit_tokens: Measured::known(64),
            evict_count: Measured::known(0),
            evict_kind: Some("blocks".into()),
            evict_ms: Measured::known(0.0),
            preemptions: Measured::known(0),
            spec_drafted_tokens: Measured::known(0),
            spec_accepted_tokens: Measured::known(0),
            steps: Some(StepTimes {
                steps: 40,
                tokens: 132,
                attention_ms: 500.0,
                matmul_ms: 6_000.0,
                sampling_ms: 250.0,
                scheduling_ms: 1.0,
                other_ms: 125.0,
            }),
            samples: Vec::new(),
            server: None,
        },
        memory: Memory {
            kind: "pss".into(),
            samples: 40,
            baseline_bytes: Measured::known(12 << 20),
            peak_bytes: Measured::known(512 << 20),
            avg_bytes: Measured::known(500.0 * 1_048_576.0),
        },
        client_cpu_percent: Measured::unknown("the engine runs in this process"),
        server_cpu_percent: Measured::unknown("the engine runs in this process"),
        host: HostWindow {
            other_cpu_share: Measured::known(0.01),
            energy_joules: Measured::unknown("the system shows no energy counters"),
        },
    }
}

/// The summary of records, warm-up included.
pub(crate) fn summarize(header: Header, records: &[Record], close: Option<&Close>) -> WorkloadSummary {
    let mut sample = Sample::new(header).unwrap();
    sample.push(&warmup()).unwrap();
    for record in records {
        sample.push(record).unwrap();
    }
    sample.finish(close)
}

pub(crate) fn manifest(workloads: &[&str]) -> Manifest {
    let backend = BackendInfo {
        name: "cpu".into(),
        version: Some("0.1.0".into()),
        model: ModelInfo {
            name: "synthetic:gpt2".into(),
            path: None,
            architecture: Some("gpt2".into()),
            parameters: Some(124_439_808),
            dtype: Some("f32".into()),
            context_length: Some(1024),
            synthetic: true,
            fingerprint: Some("ab12".into()),
        },
        stamp: Stamp::Engine,
        settings: BTreeMap::from([("isa".into(), "avx2".into()), ("threads".into(), "2".into())]),
    };
    let host = Host {
        os: "linux".into(),
        kernel: Some("6.1.0".into()),
        cpu_model: Some("Example CPU".into()),
        logical_cpus: 2,
        memory_bytes: Some(8 << 30),
        governor: None,
        fingerprint: "cd34".into(),
    };
    let mut manifest = Manifest::new("0.1.0", STARTED, backend, host);
    manifest.command_line =
        ["sagellm-benchmark", "run", "--workload", "m1", "-o", "my results"].map(str::to_owned).to_vec();
    manifest.hashes.plans = workloads.iter().map(|name| ((*name).to_owned(), "ef56".to_owned())).collect();
    manifest.finished = true;
    manifest
}

pub(crate) fn write_manifest(folder: &Path, manifest: &Manifest) {
    write_json(&folder.join("manifest.json"), manifest).unwrap();
}

pub(crate) fn journal_text(header: Header, records: &[Record], close: Option<Close>) -> String {
    let mut lines = vec![Line::Header(header), Line::Request(warmup())];
    lines.extend(records.iter().cloned().map(Line::Request));
    lines.extend(close.map(Line::Close));
    lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

pub(crate) fn write_journal(folder: &Path, header: Header, records: &[Record], close: Option<Close>) {
    let path = folder.join(journal_file(&header.workload.name));
    std::fs::write(path, journal_text(header, records, close)).unwrap();
}
