//! The words and places of a sweep's page: latency over throughput, load by load.

use serde::Serialize;

use super::axis::marks;
use crate::Verdict;
use crate::render::number;
use crate::sweep::{Axis, Figures, KEPT, Point, Sweep};

/// Size of a plot in its own units, and its margins.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 40.0;

/// Room for the name of a load, in letters that a phone can show.
const NAME_WIDTH: f64 = 60.0;
const NAME_HEIGHT: f64 = 24.0;

/// What the template reads.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    axis: &'static str,
    capacity: Option<String>,
    workloads: Vec<Workload>,
}

#[derive(Debug, Serialize)]
struct Workload {
    name: String,
    plots: Vec<Plot>,
    rows: Vec<Row>,
}

/// One latency over the output throughput.
#[derive(Debug, Serialize)]
struct Plot {
    title: &'static str,
    /// The loads in their order.
    curve: String,
    /// Those on the front.
    front: String,
    dots: Vec<Dot>,
    across: Vec<Tick>,
    up: Vec<Tick>,
}

#[derive(Debug, Serialize)]
struct Dot {
    x: f64,
    y: f64,
    load: String,
    on_front: bool,
    tip: String,
}

#[derive(Debug, Serialize)]
struct Tick {
    at: f64,
    text: String,
}

#[derive(Debug, Serialize)]
struct Row {
    load: String,
    cells: Vec<String>,
    on_front: bool,
    valid: bool,
    standing: &'static str,
    runs: u32,
}

pub(super) fn page(sweep: &Sweep) -> Page {
    let workloads = sweep.workloads().into_iter().map(|name| {
        let rows: Vec<(&Point, &Figures)> = sweep.rows(name).collect();
        Workload {
            name: name.to_owned(),
            plots: [("TTFT p99 (ms)", "p99_ttft_ms"), ("TBT mean (ms)", "avg_tbt_ms")]
                .into_iter()
                .filter_map(|(title, key)| plot(title, key, &rows))
                .collect(),
            rows: rows.iter().map(|(point, figures)| row(point, figures)).collect(),
        }
    });
    Page {
        axis: match sweep.axis {
            Axis::RequestRate => "requests/s asked",
            Axis::MaxConcurrency => "at once",
        },
        capacity: sweep.capacity.as_ref().map(|capacity| capacity.words()),
        workloads: workloads.collect(),
    }
}

fn row(point: &Point, figures: &Figures) -> Row {
    let cell = |key: &&str| match figures.values.get(*key) {
        None => "–".into(),
        Some(share) if *key == "error_rate" => number::percent(*share),
        Some(value) => number::figure(*value),
    };
    Row {
        load: point.load.to_string(),
        cells: KEPT.iter().map(cell).collect(),
        on_front: figures.on_front,
        valid: figures.verdict == Verdict::Valid,
        standing: point.standing.map_or("", |standing| standing.word()),
        runs: point.runs,
    }
}

fn plot(title: &'static str, key: &str, rows: &[(&Point, &Figures)]) -> Option<Plot> {
    let of = |figures: &Figures, key: &str| figures.values.get(key).copied().filter(|value| value.is_finite());
    let places: Vec<(&Point, &Figures, f64, f64)> = rows
        .iter()
        .filter_map(|(point, figures)| {
            Some((*point, *figures, of(figures, "output_throughput_tps")?, of(figures, key).filter(|it| *it > 0.0)?))
        })
        .collect();
    let most = places.iter().map(|place| place.2).fold(0.0, f64::max);
    let low = places.iter().map(|place| place.3).fold(f64::INFINITY, f64::min);
    let high = places.iter().map(|place| place.3).fold(0.0, f64::max);
    if places.is_empty() || most <= 0.0 {
        return None;
    }
    // Latencies beyond the knee are many times those before it: a logarithmic axis shows both.
    let decades = || (-6..9).flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(power)));
    // From one mark to another, so that at least two say how high the curve is.
    let bottom = decades().take_while(|mark| *mark <= low).last().unwrap_or(low).log10();
    let top = decades().find(|mark| *mark >= high * 1.02).unwrap_or(high).log10();
    let rounded = |value: f64| (value * 10.0).round() / 10.0;
    let x = |value: f64| rounded(LEFT + (WIDTH - LEFT - RIGHT) * value / (1.05 * most));
    let y = |value: f64| rounded(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value.log10() - bottom) / (top - bottom));
    let line = |chosen: &dyn Fn(&Figures) -> bool, places: &[(&Point, &Figures, f64, f64)]| {
        let points = places.iter().filter(|place| chosen(place.1));
        points.map(|place| format!("{},{}", x(place.2), y(place.3))).collect::<Vec<_>>().join(" ")
    };
    let mut by_throughput = places.clone();
    by_throughput.sort_by(|one, other| one.2.total_cmp(&other.2));
    let mut named: Vec<(f64, f64)> = Vec::new();
    let dots = by_throughput.iter().map(|(point, figures, throughput, latency)| {
        let (x, y) = (x(*throughput), y(*latency));
        // Loads that a search tried side by side have no room for their names; tooltip and table tell them.
        let free = named.iter().all(|(left, above)| x - left >= NAME_WIDTH || (y - above).abs() >= NAME_HEIGHT);
        if free {
            named.push((x, y));
        }
        Dot {
            x,
            y,
            load: if free { point.load.to_string() } else { String::new() },
            on_front: figures.on_front,
            tip: format!(
                "{}: {} output tokens/s, {key} = {}",
                point.load,
                number::figure(*throughput),
                number::figure(*latency)
            ),
        }
    });
    let dots = dots.collect();
    Some(Plot {
        title,
        curve: line(&|_| true, &places),
        front: if key == "p99_ttft_ms" { line(&|figures| figures.on_front, &by_throughput) } else { String::new() },
        dots,
        across: marks(0.0, 1.05 * most, 4).into_iter().map(|(value, text)| Tick { at: x(value), text }).collect(),
        up: decades()
            .filter(|value| (bottom..=top).contains(&value.log10()))
            .map(|value| Tick { at: y(value), text: format!("{value}") })
            .collect(),
    })
}
