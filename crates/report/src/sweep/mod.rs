//! One workload at many loads: the curve of throughput and latency, and the capacity under limits.

mod bracket;
mod crossing;
mod evidence;
mod limits;
mod search;

use std::collections::BTreeMap;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use bracket::Bracket;
pub use evidence::Timing;
pub use limits::{Limit, Limits};
pub use search::{Measure, Search, Trial};

use crate::compare::GateReport;
use crate::render::number;
use crate::{Error, Summary, Verdict};

/// A sweep: `sweep.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// Version of this format.
    pub schema_version: u32,
    /// Equal for equal settings of the runs, whatever the loads.
    pub settings: String,
    /// What is varied.
    pub axis: Axis,
    /// Runs that were started so far: the next one takes prompts of its own by this number.
    #[serde(default)]
    pub runs_started: u32,
    /// The loads in the order of size.
    pub points: Vec<Point>,
    /// The highest rate within the limits, where limits were given.
    pub capacity: Option<Capacity>,
}

/// What a sweep varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Requests per second.
    RequestRate,
    /// Requests in flight at most.
    MaxConcurrency,
}

/// One load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// The rate or the concurrency.
    pub load: f64,
    /// Folder of its runs, below that of the sweep.
    pub folder: String,
    /// Runs of this load.
    pub runs: u32,
    /// Of these, INVALID ones.
    pub invalid_runs: u32,
    /// How it stands to the limits; `null` without limits.
    pub standing: Option<Standing>,
    /// The workloads of its last run.
    pub workloads: Vec<Figures>,
    /// Conditions of `--fail-on` that its last run passed, in words.
    #[serde(default)]
    pub passed_gates: Vec<String>,
    /// Those that it failed, in words.
    #[serde(default)]
    pub failed_gates: Vec<String>,
    /// Those of which it is not known, in words.
    #[serde(default)]
    pub undecided_gates: Vec<String>,
}

/// How a load stands to the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Surely within all of them.
    Within,
    /// Surely beyond one of them.
    Beyond,
    /// Not known after as many runs as were allowed.
    Open,
}

/// The figures of one workload at one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// Name of the workload.
    pub workload: String,
    /// Whether the figures can be believed.
    pub verdict: Verdict,
    /// Figures by key; what is unknown is left out.
    pub values: BTreeMap<String, f64>,
    /// Whether no other load gives as much throughput at as little latency (`output_throughput_tps`, `p99_ttft_ms`).
    pub on_front: bool,
}

/// The highest rate within limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Capacity {
    /// The limits, as they were given.
    pub limits: String,
    /// Probability that any of the decisions behind it is wrong, at most.
    pub error: f64,
    /// Where the limit is reached, as nearly as all runs together can tell; `null` unless rates are surely on both sides.
    pub estimate_rps: Option<f64>,
    /// The 95 % interval of the estimate; `null` without one.
    pub interval_rps: Option<(f64, f64)>,
    /// Highest rate that is surely within; `null` when none is.
    pub within_rps: Option<f64>,
    /// Lowest rate that is surely beyond; `null` when none is.
    pub beyond_rps: Option<f64>,
    /// Runs behind it.
    pub runs: u32,
    /// Of these, INVALID ones.
    pub invalid_runs: u32,
    /// Of these, such as say nothing of the load, and were left out: all but those that are INVALID for their failures.
    #[serde(default)]
    pub left_out_runs: u32,
    /// Why the first of them was.
    #[serde(default)]
    pub left_out_because: Option<String>,
}

/// Name of the file of a sweep in its folder.
pub const SWEEP_FILE: &str = "sweep.json";

/// Figures that are kept of every load.
pub(crate) const KEPT: [&str; 9] = [
    "arrival_rate_rps",
    "request_throughput_rps",
    "output_throughput_tps",
    "p50_ttft_ms",
    "p99_ttft_ms",
    "avg_tbt_ms",
    "p99_tbt_ms",
    "p99_e2e_ms",
    "error_rate",
];

impl Figures {
    /// What is kept of a run.
    pub fn of(summary: &Summary) -> Vec<Self> {
        let workloads = summary.workloads.iter().map(|workload| Self {
            workload: workload.name().to_owned(),
            verdict: workload.details.validity.verdict,
            values: KEPT.iter().filter_map(|key| Some(((*key).to_owned(), workload.get(key)?))).collect(),
            on_front: false,
        });
        workloads.collect()
    }

    fn trade(&self) -> Option<(f64, f64)> {
        Some((*self.values.get("output_throughput_tps")?, *self.values.get("p99_ttft_ms")?))
    }
}

impl Point {
    /// A load that was not run yet.
    pub fn new(axis: Axis, load: f64) -> Self {
        Self {
            load,
            folder: axis.folder(load),
            runs: 0,
            invalid_runs: 0,
            standing: None,
            workloads: Vec::new(),
            passed_gates: Vec::new(),
            failed_gates: Vec::new(),
            undecided_gates: Vec::new(),
        }
    }

    /// Notes what became of the conditions of `--fail-on`.
    pub fn gate(&mut self, report: GateReport) {
        (self.passed_gates, self.failed_gates, self.undecided_gates) = (report.passed, report.failed, report.undecided);
    }
}

impl Axis {
    /// Both.
    pub const ALL: [Self; 2] = [Self::RequestRate, Self::MaxConcurrency];

    /// What the folder names of its loads begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::RequestRate => "rate-",
            Self::MaxConcurrency => "concurrency-",
        }
    }

    /// Name of the folder of a load's runs.
    pub fn folder(self, load: f64) -> String {
        format!("{}{load}", self.prefix())
    }
}

impl Sweep {
    /// Takes a load in, in its place, or in place of what was known of it.
    pub fn put(&mut self, point: Point) {
        self.points.retain(|known| known.load != point.load);
        self.points.push(point);
        self.points.sort_by(|one, other| one.load.total_cmp(&other.load));
        self.mark_front();
    }

    /// Marks the loads that no other beats in both throughput and latency.
    fn mark_front(&mut self) {
        let all: Vec<(String, (f64, f64))> = self
            .points
            .iter()
            .flat_map(|point| &point.workloads)
            .filter_map(|figures| Some((figures.workload.clone(), figures.trade()?)))
            .collect();
        for figures in self.points.iter_mut().flat_map(|point| &mut point.workloads) {
            figures.on_front = figures.trade().is_some_and(|(throughput, latency)| {
                !all.iter().any(|(name, (more, less))| {
                    *name == figures.workload
                        && *more >= throughput
                        && *less <= latency
                        && (*more > throughput || *less < latency)
                })
            });
        }
    }

    /// As text for a terminal.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let head = match self.axis {
            Axis::RequestRate => "asked req/s",
            Axis::MaxConcurrency => "concurrency",
        };
        for name in self.workloads() {
            let _ = writeln!(
                text,
                "{name}\n{head:<12}{:>9}{:>9}{:>11}{:>10}{:>10}{:>9}{:>8}  ",
                "offered", "achieved", "out tok/s", "TTFT p50", "TTFT p99", "TBT", "errors"
            );
            for (point, figures) in self.rows(name) {
                let of = |key: &str| figures.values.get(key).map_or_else(|| "–".into(), |value| number::figure(*value));
                let errors = figures.values.get("error_rate").map_or_else(|| "–".into(), |it| number::percent(*it));
                let front = if figures.on_front { "front " } else { "" };
                let standing = point.standing.map_or("", Standing::word);
                let invalid = if figures.verdict == Verdict::Invalid { "INVALID " } else { "" };
                let line = format!(
                    "{:<12}{:>9}{:>9}{:>11}{:>10}{:>10}{:>9}{errors:>8}  {front}{invalid}{standing}",
                    point.load,
                    of("arrival_rate_rps"),
                    of("request_throughput_rps"),
                    of("output_throughput_tps"),
                    of("p50_ttft_ms"),
                    of("p99_ttft_ms"),
                    of("avg_tbt_ms"),
                );
                let _ = writeln!(text, "{}", line.trim_end());
            }
            text.push('\n');
        }
        text.push_str(
            "times in ms; front: no other load gives more output tokens per second at a lower TTFT p99\noffered: requests per \
             second as they were sent, of at least 30 arrivals; achieved: successful ones per second until the last answer\n",
        );
        for point in &self.points {
            let [passed, failed, undecided] = [&point.passed_gates, &point.failed_gates, &point.undecided_gates];
            for line in crate::compare::gate_lines(passed, failed, undecided) {
                let _ = writeln!(text, "{}: {line}", point.folder);
            }
        }
        if let Some(capacity) = &self.capacity {
            let _ = writeln!(text, "{}", capacity.words());
        }
        text
    }

    /// As a page for a browser, which loads nothing.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn html(&self) -> Result<String, Error> {
        crate::export::html::sweep(self)
    }

    /// Names of the workloads, each once.
    pub(crate) fn workloads(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for figures in self.points.iter().flat_map(|point| &point.workloads) {
            if !names.contains(&figures.workload.as_str()) {
                names.push(&figures.workload);
            }
        }
        names
    }

    /// The loads of a workload.
    pub(crate) fn rows<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = (&'a Point, &'a Figures)> {
        self.points.iter().filter_map(move |point| {
            Some((point, point.workloads.iter().find(|figures| figures.workload == workload)?))
        })
    }
}

impl Standing {
    /// As in every output.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Beyond => "beyond",
            Self::Open => "not sure",
        }
    }
}

impl Capacity {
    /// In a sentence.
    pub fn words(&self) -> String {
        let rate = |rate: Option<f64>| rate.map(number::figure);
        let about = rate(self.estimate_rps).zip(self.interval_rps).map(|(about, (low, high))| {
            format!("{about} requests/s, 95 % interval {} to {}", number::figure(low), number::figure(high))
        });
        let found = match (rate(self.within_rps), rate(self.beyond_rps)) {
            (Some(within), Some(beyond)) => {
                let found = about.unwrap_or_else(|| format!("{within} requests/s"));
                format!("{found}; surely between {within} and {beyond}")
            }
            (Some(within), None) => format!("at least {within} requests/s; no rate was surely beyond"),
            (None, Some(beyond)) => format!("below {beyond} requests/s; no rate was surely within"),
            (None, None) if self.left_out_runs == self.runs => "not found: no run could be used".into(),
            (None, None) => "not found: no rate was surely within or beyond".into(),
        };
        let mut text =
            format!("capacity under {}: {found} (wrong with a probability of at most {})", self.limits, self.error);
        let overloaded = self.invalid_runs.saturating_sub(self.left_out_runs);
        if overloaded > 0 {
            let _ = write!(text, "; {overloaded} of the {} runs behind it are INVALID", self.runs);
        }
        if let Some(because) = &self.left_out_because {
            let _ =
                write!(text, "; {} of the {} runs were left out as INVALID: {because}", self.left_out_runs, self.runs);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(load: f64, throughput: f64, latency: f64) -> Point {
        let values = [("output_throughput_tps".into(), throughput), ("p99_ttft_ms".into(), latency)].into();
        let figures = Figures { workload: "w".into(), verdict: Verdict::Valid, values, on_front: false };
        Point { runs: 1, workloads: vec![figures], ..Point::new(Axis::RequestRate, load) }
    }

    #[test]
    fn a_capacity_says_when_its_runs_are_invalid() {
        let mut capacity = Capacity {
            limits: "p99_ttft_ms<500".into(),
            error: 0.05,
            estimate_rps: None,
            interval_rps: None,
            within_rps: Some(4.0),
            beyond_rps: Some(5.0),
            runs: 9,
            invalid_runs: 0,
            left_out_runs: 0,
            left_out_because: None,
        };
        let sound = "capacity under p99_ttft_ms<500: 4.00 requests/s; surely between 4.00 and 5.00 \
                     (wrong with a probability of at most 0.05)";
        assert_eq!(capacity.words(), sound);
        (capacity.estimate_rps, capacity.interval_rps) = (Some(4.6), Some((4.4, 4.8)));
        let found = ": 4.60 requests/s, 95 % interval 4.40 to 4.80; surely between 4.00 and 5.00";
        assert!(capacity.words().contains(found), "{}", capacity.words());
        (capacity.estimate_rps, capacity.interval_rps) = (None, None);
        capacity.invalid_runs = 2;
        assert_eq!(capacity.words(), format!("{sound}; 2 of the 9 runs behind it are INVALID"));
    }

    #[test]
    fn the_front_holds_what_nothing_beats() {
        let mut sweep = Sweep {
            schema_version: 1,
            settings: String::new(),
            axis: Axis::RequestRate,
            runs_started: 0,
            points: Vec::new(),
            capacity: None,
        };
        for (load, throughput, latency) in
            [(4.0, 390.0, 80.0), (1.0, 100.0, 20.0), (8.0, 380.0, 900.0), (2.0, 200.0, 20.0)]
        {
            sweep.put(point(load, throughput, latency));
        }
        let front: Vec<f64> =
            sweep.points.iter().filter(|point| point.workloads[0].on_front).map(|point| point.load).collect();
        assert_eq!(front, [2.0, 4.0]);
        assert_eq!(sweep.points.iter().map(|point| point.load).collect::<Vec<_>>(), [1.0, 2.0, 4.0, 8.0]);
        sweep.put(point(2.0, 50.0, 30.0));
        assert_eq!(sweep.points.len(), 4);
        assert!(sweep.points[0].workloads[0].on_front);
    }
}
