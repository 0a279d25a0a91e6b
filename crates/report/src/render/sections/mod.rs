//! What is shown: sections of rows and columns.

mod course;
mod endings;
mod http;
mod intervals;

use sagellm_core::Arrival;

use super::footnotes::{FEW, Footnotes, UNKNOWN};
use super::number;
use crate::registry::{self, Group, Stat};
use crate::{Interval, Summary, WorkloadSummary};

/// A table with a title.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
}

/// A row of a section.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: String,
    /// What the row is about; empty when the section says it.
    pub(crate) label: &'static str,
    pub(crate) cells: Vec<String>,
}

/// How a figure is written.
#[derive(Clone, Copy)]
enum Style {
    Number,
    Whole,
    Percent,
    /// Bytes, written as MiB.
    Mebibytes,
    /// Seconds since the beginning of the run, to the millisecond.
    Moment,
}

/// Half of the 95 % interval, as a share of the figure.
const PLUS_MINUS: &str = "± 95 %";

/// Title, key and style.
type Column = (&'static str, &'static str, Style);

const THROUGHPUT: [Column; 5] = [
    ("req/s", "request_throughput_rps", Style::Number),
    ("in tok/s", "input_throughput_tps", Style::Number),
    ("out tok/s", "output_throughput_tps", Style::Number),
    ("total tok/s", "total_throughput_tps", Style::Number),
    ("user tok/s", "avg_throughput_tps", Style::Number),
];

const REQUESTS: [Column; 7] = [
    ("total", "total_requests", Style::Whole),
    ("ok", "successful_requests", Style::Whole),
    ("failed", "failed_requests", Style::Whole),
    ("errors", "error_rate", Style::Percent),
    ("in tokens", "total_input_tokens", Style::Whole),
    ("out tokens", "total_output_tokens", Style::Whole),
    ("time s", "total_time_s", Style::Number),
];

const MEMORY: [Column; 5] = [
    ("peak MiB", "peak_mem_mb", Style::Number),
    ("mean MiB", "avg_mem_mb", Style::Number),
    ("idle MiB", "mem_baseline_mb", Style::Number),
    ("most at once", "peak_concurrency", Style::Whole),
    ("mean at once", "avg_concurrency", Style::Number),
];

const CACHE: [Column; 7] = [
    ("tokens", "kv_used_tokens", Style::Whole),
    ("MiB", "kv_used_bytes", Style::Mebibytes),
    ("prefix hit", "prefix_hit_rate", Style::Percent),
    ("evicted", "evict_count", Style::Whole),
    ("evict ms", "evict_ms", Style::Number),
    ("preempt", "preemptions", Style::Whole),
    ("spec", "spec_accept_rate", Style::Percent),
];

const HEADLINE: [Column; 7] = [
    ("TTFT ms", "avg_ttft_ms", Style::Number),
    ("TTFT p99", "p99_ttft_ms", Style::Number),
    ("TBT ms (= TPOT of vLLM/SGLang)", "avg_tbt_ms", Style::Number),
    ("TPOT ms incl. first token", "avg_tpot_ms", Style::Number),
    ("out tok/s", "output_throughput_tps", Style::Number),
    ("total tok/s", "total_throughput_tps", Style::Number),
    ("errors", "error_rate", Style::Percent),
];

/// How much there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// 80 columns.
    Narrow,
    /// As many columns as the former, and as many lines as wanted.
    Long,
    /// More of both.
    Wide,
}

/// The sections that the terminal and Markdown share.
pub(crate) fn sections(summary: &Summary, room: Room, notes: &mut Footnotes) -> Vec<Section> {
    let mut sections = vec![latency(summary, room == Room::Wide, notes)];
    if room != Room::Narrow {
        sections.extend(intervals::section(summary, notes));
    }
    sections.extend([throughput(summary, notes)]);
    sections.extend(offered(summary, notes));
    sections.push(plain("Requests", &REQUESTS, summary, notes));
    sections.extend(endings::section(summary));
    sections
        .extend([plain("Memory and concurrency", &MEMORY, summary, notes), plain("KV cache", &CACHE, summary, notes)]);
    sections.extend(course::sections(summary, notes));
    if summary.workloads.iter().any(WorkloadSummary::over_http) {
        sections.extend(http::sections(summary, notes));
    }
    sections
}

/// The figures to look at first, one row per workload. All of them come again in [`sections`], with their footnotes.
pub(crate) fn headline(summary: &Summary) -> Section {
    plain("Headline", &HEADLINE, summary, &mut Footnotes::default())
}

fn plain(title: &'static str, columns: &[Column], summary: &Summary, notes: &mut Footnotes) -> Section {
    let rows = summary.workloads.iter().map(|workload| Row {
        workload: workload.name().to_owned(),
        label: "",
        cells: columns.iter().map(|column| cell(workload, *column, notes)).collect(),
    });
    Section { title, columns: columns.iter().map(|column| column.0).collect(), rows: rows.collect() }
}

fn cell(workload: &WorkloadSummary, (_, key, style): (&str, &str, Style), notes: &mut Footnotes) -> String {
    let Some(value) = workload.get(key) else {
        notes.unknown(workload.name(), &format!("`{key}`"), workload.reason(key));
        return UNKNOWN.into();
    };
    let text = match style {
        Style::Number => number::figure(value),
        Style::Moment => number::figure((value * 1e3).round() / 1e3),
        Style::Whole => format!("{value:.0}"),
        Style::Percent => number::percent(value),
        Style::Mebibytes => number::figure(value / 1_048_576.0),
    };
    // Percentiles of latencies are of requests; those of the client are of chunks, or of a calibration.
    let of_requests = registry::find(key).is_some_and(|metric| metric.group == Group::Latency);
    let percentile = if of_requests { key.split('_').next().unwrap_or_default() } else { "" };
    match workload.details.tail_samples.get(percentile).filter(|tail| tail.missing > 0) {
        Some(tail) => {
            notes.few(workload.name(), percentile, tail.missing);
            text + FEW
        }
        None => text,
    }
}

/// The mean with its interval, and percentiles; what is `wide` has the whole distribution, also of the gaps between chunks.
fn latency(summary: &Summary, wide: bool, notes: &mut Footnotes) -> Section {
    const QUANTITIES: [(&str, &str); 4] = [("TTFT", "ttft"), ("TBT", "tbt"), ("TPOT", "tpot"), ("E2E", "e2e")];
    const PERCENTILES: [(&str, Stat); 4] =
        [("p50", Stat::P50), ("p90", Stat::P90), ("p95", Stat::P95), ("p99", Stat::P99)];
    let (mut quantities, mut stats) = (QUANTITIES.to_vec(), PERCENTILES.to_vec());
    if wide {
        quantities.insert(3, ("ITL", "itl"));
        stats = [vec![("std", Stat::Std), ("min", Stat::Min)], stats].concat();
        stats.extend([("p99.9", Stat::P999), ("max", Stat::Max)]);
    }
    notes.tpot();
    let mut rows = Vec::new();
    for workload in summary.workloads.iter() {
        for (label, quantity) in &quantities {
            let mean = Stat::Avg.key(quantity);
            let mut cells = Vec::new();
            match workload.get(&mean) {
                Some(_) => {
                    cells.push(cell(workload, ("", &mean, Style::Number), notes));
                    cells.push(plus_minus(workload, &mean, notes));
                    for (_, stat) in &stats {
                        cells.push(cell(workload, ("", &stat.key(quantity), Style::Number), notes));
                    }
                }
                None => {
                    notes.unknown(workload.name(), label, workload.reason(&mean));
                    cells.resize(2 + stats.len(), UNKNOWN.into());
                }
            }
            rows.push(Row { workload: workload.name().to_owned(), label, cells });
        }
    }
    let columns = ["mean", PLUS_MINUS].into_iter().chain(stats.iter().map(|stat| stat.0)).collect();
    Section { title: "Latency (ms)", columns, rows }
}

fn throughput(summary: &Summary, notes: &mut Footnotes) -> Section {
    let mut section = plain("Throughput", &THROUGHPUT, summary, notes);
    let rows = std::mem::take(&mut section.rows);
    for (row, workload) in rows.into_iter().zip(summary.workloads.iter()) {
        section.rows.push(row);
        let cells: Vec<String> = THROUGHPUT.iter().map(|(_, key, _)| plus_minus(workload, key, notes)).collect();
        // A row of dashes would say no more than the footnote does.
        if cells.iter().any(|cell| cell != UNKNOWN) {
            section.rows.push(Row { workload: workload.name().to_owned(), label: PLUS_MINUS, cells });
        }
    }
    section
}

/// What an open loop asked for, what was offered, and what the server achieved, in requests per second. The achieved rate
/// counts until the last answer, so a short run of long answers stays below the offered one on any server.
fn offered(summary: &Summary, notes: &mut Footnotes) -> Option<Section> {
    const RATES: [Column; 3] = [
        ("drawn", "planned_arrival_rate_rps", Style::Number),
        ("offered", "arrival_rate_rps", Style::Number),
        ("achieved", "request_throughput_rps", Style::Number),
    ];
    let is_open = |workload: &&WorkloadSummary| workload.details.workload.arrival != Arrival::Immediate;
    let rows = summary.workloads.iter().filter(is_open).map(|workload| {
        let asked = match workload.details.workload.arrival {
            Arrival::Constant { rate } | Arrival::Poisson { rate } | Arrival::Gamma { rate, .. } => {
                number::figure(rate)
            }
            // Its rate changes with time.
            _ => "varies".into(),
        };
        let cells = RATES.iter().map(|column| cell(workload, *column, notes));
        Row { workload: workload.name().to_owned(), label: "", cells: std::iter::once(asked).chain(cells).collect() }
    });
    let rows: Vec<Row> = rows.collect();
    let columns = std::iter::once("asked").chain(RATES.iter().map(|column| column.0)).collect();
    (!rows.is_empty()).then_some(Section { title: "Arrivals (requests/s)", columns, rows })
}

/// The half-width of the interval of a figure, or why there is none.
fn plus_minus(workload: &WorkloadSummary, key: &str, notes: &mut Footnotes) -> String {
    let interval = workload.details.intervals.get(key);
    let ends = interval.and_then(|it| it.low.zip(it.high)).zip(workload.get(key)).filter(|(_, value)| *value > 0.0);
    match ends {
        Some(((low, high), value)) => {
            notes.interval();
            number::percent((high - low) / 2.0 / value)
        }
        None => {
            // Without the figure itself the footnote about the figure is enough.
            if let Some(Interval { reason: Some(reason), .. }) = interval.filter(|_| workload.get(key).is_some()) {
                notes.unknown(workload.name(), PLUS_MINUS, reason);
            }
            UNKNOWN.into()
        }
    }
}
