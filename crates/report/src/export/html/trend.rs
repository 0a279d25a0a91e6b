//! The words and places of a trend's page: a figure run by run, and where its level changed.

use sagellm_stats::mean;
use serde::Serialize;

use super::axis::marks;
use crate::history::{Course, Trend};
use crate::render::number;

/// Size of a plot in its own units, and its margins.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 100.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 40.0;

/// What the template reads.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    key: String,
    unit: &'static str,
    definition: String,
    workloads: Vec<Workload>,
    left_out: usize,
}

#[derive(Debug, Serialize)]
struct Workload {
    name: String,
    summary: String,
    curve: String,
    levels: Vec<Level>,
    dots: Vec<Dot>,
    up: Vec<Tick>,
    across: Vec<Tick>,
    rows: Vec<Row>,
}

/// The mean from one change to the next.
#[derive(Debug, Serialize)]
struct Level {
    from: f64,
    to: f64,
    at: f64,
}

#[derive(Debug, Serialize)]
struct Dot {
    x: f64,
    y: f64,
    changed: bool,
    tip: String,
}

#[derive(Debug, Serialize)]
struct Tick {
    at: f64,
    text: String,
    anchor: &'static str,
}

#[derive(Debug, Serialize)]
struct Row {
    run: i64,
    name: String,
    began: String,
    commit: String,
    value: String,
    change: String,
}

fn row(course: &Course<'_>, place: usize) -> Row {
    let (entry, value) = course.points[place];
    Row {
        run: entry.id,
        name: entry.name.clone(),
        began: entry.began().replace('T', " "),
        commit: entry.git_commit.as_deref().unwrap_or("–").chars().take(10).collect(),
        value: number::figure(value),
        change: course.change(place).unwrap_or_default(),
    }
}

pub(super) fn page(trend: &Trend<'_>) -> Page {
    Page {
        key: trend.metric.key.clone(),
        unit: trend.metric.unit.symbol(),
        definition: trend.metric.definition.clone(),
        workloads: trend.courses.iter().map(workload).collect(),
        left_out: trend.left_out,
    }
}

fn workload(course: &Course<'_>) -> Workload {
    let values: Vec<f64> = course.points.iter().map(|(_, value)| *value).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // What hardly varies shall not look as if it did.
    let room = ((high - low) * 0.1).max(high.abs() * 0.02).max(f64::MIN_POSITIVE);
    let (bottom, top) = (low - room, high + room);
    let rounded = |value: f64| (value * 10.0).round() / 10.0;
    let last = values.len().saturating_sub(1).max(1) as f64;
    let x = |place: usize| rounded(LEFT + 10.0 + (WIDTH - LEFT - RIGHT - 20.0) * place as f64 / last);
    let y = |value: f64| rounded(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - bottom) / (top - bottom));
    let rows: Vec<Row> = (0..values.len()).map(|place| row(course, place)).collect();
    let places: Vec<String> =
        values.iter().enumerate().map(|(place, value)| format!("{},{}", x(place), y(*value))).collect();
    let mut cuts: Vec<usize> = course.changes.iter().map(|change| change.at).collect();
    cuts.insert(0, 0);
    cuts.push(values.len());
    let levels = cuts.windows(2).filter_map(|cut| {
        let level = mean(&values[cut[0]..cut[1]])?;
        Some(Level { from: x(cut[0]), to: x(cut[1] - 1), at: y(level) })
    });
    let dots = course.points.iter().zip(&rows).enumerate().map(|(place, ((_, value), row))| Dot {
        x: x(place),
        y: y(*value),
        changed: !row.change.is_empty(),
        tip: format!("run {} of {}, {}: {} {}", row.run, row.name, row.began, row.value, row.change),
    });
    let ends = [(0, "start"), (values.len().saturating_sub(1), "end")];
    let began = |place: usize| rows.get(place).map_or("", |row: &Row| row.began.as_str());
    // Of runs of one day the time tells them apart.
    let of_a_day = began(0).get(..10) == began(ends[1].0).get(..10);
    let across = ends.into_iter().take(values.len()).filter_map(|(place, anchor)| {
        let text = if of_a_day { began(place).get(..16) } else { began(place).get(..10) };
        Some(Tick { at: x(place), text: text?.to_owned(), anchor })
    });
    Workload {
        name: course.workload.to_owned(),
        summary: course.summary(),
        curve: places.join(" "),
        levels: levels.collect(),
        dots: dots.collect(),
        up: marks(bottom, top, 4).into_iter().map(|(value, text)| Tick { at: y(value), text, anchor: "end" }).collect(),
        across: across.collect(),
        rows,
    }
}
