//! Arrivals as a picture: their rate over time, and how long the gaps between them are.

use std::fmt::Write;

use sagellm_core::{Arrival, Nanos};

use super::gamma;
use crate::arrival::Rescaled;

/// Size of each of the two panels, and the room around it for numbers.
const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 40.0;
const PANEL: f64 = WIDTH + LEFT + 18.0;
const WHOLE_HEIGHT: f64 = TOP + HEIGHT + 44.0;
/// Stretches of time in the picture.
const STRETCHES: usize = 60;
/// Gaps are shown up to so many times their mean.
const LONGEST_GAP: f64 = 5.0;
/// Points of a curve.
const POINTS: usize = 200;

/// The arrivals at ascending offsets as an SVG picture: on the left how many came per second, in sixty stretches of time,
/// and the rate that the process states; on the right the share of gaps that are shorter than so many times their mean,
/// and the law of the process. Gaps of a rate that changes are each measured by the integral of the rate over it.
pub fn arrivals_svg(title: &str, arrival: &Arrival, offsets: &[Nanos]) -> String {
    let mut svg = String::new();
    let (width, height) = (2.0 * PANEL, WHOLE_HEIGHT);
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"#333\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{}</text>",
        escape(title)
    );
    rates(&mut svg, arrival, offsets);
    gaps(&mut svg, arrival, offsets);
    svg + "</svg>\n"
}

fn rates(svg: &mut String, arrival: &Arrival, offsets: &[Nanos]) {
    let last = offsets.last().copied().unwrap_or(0).max(1);
    let mut counts = [0_u32; STRETCHES];
    for at in offsets {
        counts[((u128::from(*at) * STRETCHES as u128 / u128::from(last)) as usize).min(STRETCHES - 1)] += 1;
    }
    let stretch = last as f64 / 1e9 / STRETCHES as f64;
    let edge = |nth: usize| (u128::from(last) * nth as u128 / STRETCHES as u128) as Nanos;
    let stated: Vec<f64> = match Rescaled::expected(arrival, offsets.len().max(1) as u64) {
        None => Vec::new(),
        Some(mut expected) => {
            let passed: Vec<f64> = (0..=STRETCHES).map(|nth| expected.passed(edge(nth))).collect();
            passed.windows(2).map(|pair| (pair[1] - pair[0]) / stretch).collect()
        }
    };
    let rate = |count: u32| f64::from(count) / stretch;
    let most = counts.iter().map(|count| rate(*count)).chain(stated.iter().copied()).fold(0.0, f64::max);
    let top = nice(most);
    let panel = Panel { left: LEFT, right_value: last as f64 / 1e9, top_value: top };
    panel.axes(svg, "seconds", "arrivals per second");
    for (nth, count) in counts.iter().enumerate() {
        let (x, y) = (panel.x(nth as f64 * stretch), panel.y(rate(*count)));
        let (width, height) = (WIDTH / STRETCHES as f64 - 0.6, TOP + HEIGHT - y);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"#7aa6d1\"/>"
        );
    }
    let centre = |nth: usize| (nth as f64 + 0.5) * stretch;
    panel.line(svg, stated.iter().enumerate().map(|(nth, rate)| (centre(nth), *rate)), "#c0392b");
}

fn gaps(svg: &mut String, arrival: &Arrival, offsets: &[Nanos]) {
    let panel = Panel { left: PANEL + LEFT, right_value: LONGEST_GAP, top_value: 1.0 };
    panel.axes(svg, "gap / mean gap", "share of shorter gaps");
    let count = offsets.len().max(1) as u64;
    let times: Vec<f64> = match Rescaled::expected(arrival, count) {
        Some(mut expected) => offsets.iter().map(|at| expected.passed(*at)).collect(),
        None => offsets.iter().map(|at| *at as f64).collect(),
    };
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    // Steps of the law are not to be hidden behind those of the sample: it is drawn first.
    let steps = |nth: usize| LONGEST_GAP * nth as f64 / POINTS as f64;
    let law: Option<Box<dyn Fn(f64) -> f64>> = match (Rescaled::new(arrival, count), arrival) {
        (Some(law), _) => Some(Box::new(move |gap| gamma::unit_mean_cdf(law.burstiness(), gap))),
        (None, Arrival::Constant { .. }) => Some(Box::new(|gap| f64::from(u8::from(gap >= 1.0)))),
        _ => None,
    };
    if mean.is_finite() && mean > 0.0 {
        let share = |gap: f64| gaps.partition_point(|other| *other <= gap * mean) as f64 / gaps.len() as f64;
        panel.line(svg, (0..=POINTS).map(|nth| (steps(nth), share(steps(nth)))), "#2c6fb0");
    }
    if let Some(law) = law {
        panel.dashes(svg, (0..=POINTS).map(|nth| (steps(nth), law(steps(nth)))), "#c0392b");
    }
}

/// A panel whose left lower corner is zero.
struct Panel {
    left: f64,
    right_value: f64,
    top_value: f64,
}

impl Panel {
    fn x(&self, value: f64) -> f64 {
        self.left + WIDTH * value / self.right_value
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT * (1.0 - value / self.top_value)
    }

    fn axes(&self, svg: &mut String, across: &str, up: &str) {
        let (left, bottom, right) = (self.left, TOP + HEIGHT, self.left + WIDTH);
        for part in 0..=4 {
            let share = f64::from(part) / 4.0;
            let (value, y) = (share * self.top_value, self.y(share * self.top_value));
            let _ = writeln!(
                svg,
                "<path d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                number(value)
            );
            let (value, x) = (share * self.right_value, self.x(share * self.right_value));
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                number(value)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{across}</text><text x=\"{left:.1}\" y=\"{:.1}\">{up}</text>",
            left + WIDTH / 2.0,
            bottom + 34.0,
            TOP - 7.0
        );
    }

    fn line(&self, svg: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
        self.path(svg, points, colour, "");
    }

    fn dashes(&self, svg: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
        self.path(svg, points, colour, " stroke-dasharray=\"5 4\"");
    }

    fn path(&self, svg: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str, style: &str) {
        let mut path = String::new();
        for (x, y) in points {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", self.x(x), self.y(y));
        }
        if !path.is_empty() {
            let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"{style}/>");
        }
    }
}

/// The least number that is not below a value and whose quarters are short.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

fn number(value: f64) -> String {
    let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offsets;

    fn drawn(arrival: &Arrival, count: usize) -> String {
        let offsets: Vec<Nanos> = Offsets::new(arrival, count as u64, 1).take(count).collect();
        arrivals_svg("a < b & c", arrival, &offsets)
    }

    #[test]
    fn pictures_hold_numbers_only_and_every_arrival() {
        let ramp =
            Arrival::Ramp { from_rate: 1.0, to_rate: 30.0, over_s: None, shape: Default::default(), burstiness: 1.0 };
        let burst = Arrival::Burst { size: 5, every_s: 2.0 };
        for arrival in
            [Arrival::Immediate, Arrival::Constant { rate: 7.0 }, Arrival::Poisson { rate: 3.0 }, ramp, burst]
        {
            for count in [0, 1, 2, 500] {
                let svg = drawn(&arrival, count);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{arrival:?} {count}: {svg}");
                assert!(svg.contains("a &lt; b &amp; c"));
                assert_eq!(svg.matches("fill=\"#7aa6d1\"").count(), STRETCHES);
            }
        }
    }

    #[test]
    fn bars_are_as_high_as_the_rate() {
        // 200/s for 3 s, and one more at its end: every stretch of 50 ms holds ten, the last eleven.
        let offsets: Vec<Nanos> = (0..600).map(|nth| 2_500_000 + nth * 5_000_000).chain([3_000_000_000]).collect();
        let svg = arrivals_svg("", &Arrival::Constant { rate: 200.0 }, &offsets);
        assert!(svg.contains(">240</text>"));
        assert!(svg.matches("y=\"70.0\" width=\"5.1\" height=\"150.0\"").count() == STRETCHES - 1, "{svg}");
    }

    #[test]
    fn scales_end_at_short_numbers() {
        assert_eq!([0.0, 1.0, 7.0, 199.0, 201.0].map(nice), [1.0, 1.0, 8.0, 200.0, 240.0]);
        assert_eq!([0.25, 50.0, 12.5, 400.0].map(number), ["0.25", "50", "12.5", "400"]);
    }
}
