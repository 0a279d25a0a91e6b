//! The file that a run leaves behind: `<workload>.records.jsonl`, one line of JSON per happening.
//!
//! First a header, then a line per request as it ends, then a closing line. A journal without the closing line is that
//! of a run that crashed or still goes on; everything it holds is good.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::tagged::{self, Tagged};
use crate::{Arrival, BackendStats, Measured, Nanos, Record, WallTime, Workload};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "line", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "lines are written and read one at a time, never stored in bulk")]
pub enum Line {
    /// The first.
    Header(Header),
    /// A finished request.
    Request(Record),
    /// The last.
    Close(Close),
}

impl<'de> Tagged<'de> for Line {
    const TAGS: &'static [&'static str] = &["header", "request", "close"];

    fn rest<D: Deserializer<'de>>(tag: &str, rest: D) -> Result<Option<Self>, D::Error> {
        Ok(Some(match tag {
            "header" => Self::Header(Header::deserialize(rest)?),
            "request" => Self::Request(Record::deserialize(rest)?),
            "close" => Self::Close(Close::deserialize(rest)?),
            _ => return Ok(None),
        }))
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tagged::read(deserializer)
    }
}

/// What the lines below it are about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// [`SCHEMA_VERSION`](crate::SCHEMA_VERSION).
    pub schema_version: u32,
    /// The workload that was run.
    pub workload: Workload,
    /// When the clock of the run read zero.
    pub clock_started: WallTime,
    /// When the workload began on that clock, warm-up excluded: offsets of the plan count from here.
    pub start_ns: Nanos,
    /// What was sent before; absent where the program that wrote the journal did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// Largest share of failed requests that is still accepted.
    pub max_error_rate: f64,
    /// The client's own error at this load, where it was calibrated before the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// The requests before the measured ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Warmup {
    /// Requests sent.
    pub requests: u64,
    /// Those of them that succeeded.
    pub succeeded: u64,
    /// Requests in flight at most.
    pub at_once: u64,
    /// Longest answer asked for, in tokens; 0 where nothing was sent.
    pub longest_output: u32,
    /// From the first request to the end of the last one, in nanoseconds.
    pub duration_ns: Nanos,
    /// Whether two waves agreed; `null` where it was not looked for, since a number of requests was given.
    pub stable: Option<bool>,
    /// Every wave, in their order.
    pub waves: Vec<Wave>,
}

/// Requests of a warm-up that were sent together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wave {
    /// Requests in flight at most.
    pub at_once: u64,
    /// Median of the time to the first token, in milliseconds; `null` where no request succeeded.
    pub p50_ttft_ms: Option<f64>,
    /// Median of the time between tokens, in milliseconds; `null` where no answer had a second arrival.
    pub p50_tbt_ms: Option<f64>,
}

/// The client's own error on this machine, found by running it against a server whose every moment is prescribed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// Streams at once; most of them at one moment, where requests came by an arrival process without a cap.
    pub streams: u32,
    /// When requests came: at once where all streams were kept busy.
    #[serde(default)]
    pub arrival: Arrival,
    /// Time between tokens of each stream, in milliseconds.
    pub itl_ms: f64,
    /// Error of the time to the first token, in milliseconds.
    pub ttft_error_ms: ErrorSpread,
    /// Error of the time between tokens, in milliseconds.
    pub tbt_error_ms: ErrorSpread,
}

/// How far measured values lie from the truth, in absolute terms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorSpread {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// How the workload ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Close {
    /// When, on the clock of the run.
    pub end_ns: Nanos,
    /// Whether a signal ended it early.
    pub interrupted: bool,
    /// By how much civil time, in which the kernel stamps, moved against the clock of the run from its start to this line,
    /// in nanoseconds; `null` where the program that wrote the journal did not keep it.
    #[serde(default)]
    pub wall_drift_ns: Option<i64>,
    /// Requests of the plan that were not sent, because its duration was over. They have no record.
    #[serde(default)]
    pub unsent: u64,
    /// Times at which this program did not run when it should have; `null` where the program that wrote the journal did
    /// not watch for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalls: Option<Stalls>,
    /// What the backend counted.
    pub backend: BackendStats,
    /// Memory of what was measured.
    pub memory: Memory,
    /// Share of one core that this process used beside the engine's own work, in percent; `null` where it cannot be told apart.
    pub client_cpu_percent: Measured<f64>,
    /// Processor time of the server and its children as a share of one core, in percent; `null` where they cannot be seen.
    #[serde(default = "Close::not_kept")]
    pub server_cpu_percent: Measured<f64>,
    /// What the machine as a whole did.
    #[serde(default = "HostWindow::not_kept")]
    pub host: HostWindow,
}

/// Times at which the thread that sends requests ran more than 10 ms late: the process was stopped, starved of processor
/// time, or waited for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Stalls {
    /// How many.
    pub count: u64,
    /// All of them together, in nanoseconds.
    pub total_ns: Nanos,
    /// The longest, in nanoseconds.
    pub worst_ns: Nanos,
    /// Time spent waiting for the journal to be written, in nanoseconds.
    pub journal_ns: Nanos,
    /// Time for which the machine was suspended during the run, in nanoseconds; 0 where it is not known.
    pub suspended_ns: Nanos,
}

const NOT_KEPT: &str = "the program that wrote the journal did not keep it";

impl Close {
    /// For journals written before this figure was kept.
    fn not_kept() -> Measured<f64> {
        Measured::unknown(NOT_KEPT)
    }
}

/// What the machine as a whole did over the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostWindow {
    /// Share of the processor time of the machine that went to others than this process and the server, from 0 to 1;
    /// `null` where it cannot be told.
    pub other_cpu_share: Measured<f64>,
    /// Energy in joules of all processor packages and their memory; `null` where they do not tell.
    pub energy_joules: Measured<f64>,
}

impl HostWindow {
    /// Nothing is known, for this reason.
    pub fn unknown(reason: &str) -> Self {
        Self { other_cpu_share: Measured::unknown(reason), energy_joules: Measured::unknown(reason) }
    }

    fn not_kept() -> Self {
        Self::unknown(NOT_KEPT)
    }
}

/// Resident memory of what is measured, sampled over the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// How it was read: `pss`, `rss`, or the name of a metric.
    pub kind: String,
    /// Samples taken.
    pub samples: u64,
    /// Bytes of the idle process, before a model was loaded.
    pub baseline_bytes: Measured<u64>,
    /// Largest sample in bytes, baseline included.
    pub peak_bytes: Measured<u64>,
    /// Mean of the samples in bytes, baseline included.
    pub avg_bytes: Measured<f64>,
}
