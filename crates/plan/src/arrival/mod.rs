//! When requests are due.
//!
//! Every process is a rate, which may change with time, and gaps of unit mean. The n-th request is due when the integral of
//! the rate reaches the sum of the first n gaps: so the gaps keep their law whatever the rate does (the time-rescaling
//! theorem for renewal processes).

mod gaps;
mod profile;
mod rescaled;
#[cfg(test)]
mod tests;

use sagellm_core::{Arrival, Nanos};

use crate::{PlanError, random};
use gaps::Gaps;
use profile::Profile;
pub(crate) use rescaled::Rescaled;

/// About one request a day: below it, a run would hardly end.
const SLOWEST: f64 = 1e-5;
/// Above it, nanoseconds could not tell requests apart.
const FASTEST: f64 = 1e9;

/// The offsets of requests in nanoseconds, ascending and without end: a pure function of the process, its parameters and the
/// seed, equal to the last bit on every machine.
///
/// Random gaps are independent, and the first request comes after the first of them. Nothing is rescaled, so the rate that
/// a plan achieves differs from the one asked by chance, as real arrivals do.
#[derive(Clone, Debug)]
pub struct Offsets(Course);

#[derive(Clone, Debug)]
enum Course {
    /// `size` at once, every so many seconds; a constant rate is bursts of one.
    Even { next: u64, size: u64, every: f64 },
    /// Random gaps at one rate.
    Flat { gaps: Gaps, rate: f64, seconds: f64 },
    /// Random gaps at a rate that changes.
    Varying { gaps: Gaps, passed: f64, profile: Profile },
}

impl Offsets {
    /// The offsets of `arrival`. `count` is the number of requests, for a ramp that ends with the last of them.
    pub fn new(arrival: &Arrival, count: u64, seed: u64) -> Self {
        let gaps = |burstiness| Gaps::new(random::stream(seed, &["arrival"], 0), burstiness);
        Self(match *arrival {
            // The source of a trace has its own offsets.
            Arrival::Immediate | Arrival::Trace => Course::Even { next: 0, size: 1, every: 0.0 },
            Arrival::Constant { rate } => Course::Even { next: 0, size: 1, every: 1.0 / rate },
            Arrival::Burst { size, every_s } => Course::Even { next: 0, size: u64::from(size), every: every_s },
            Arrival::Poisson { rate } => Course::Flat { gaps: gaps(1.0), rate, seconds: 0.0 },
            Arrival::Gamma { rate, burstiness } => Course::Flat { gaps: gaps(burstiness), rate, seconds: 0.0 },
            Arrival::OnOff { burstiness, .. }
            | Arrival::Ramp { burstiness, .. }
            | Arrival::Phases { burstiness, .. } => {
                Course::Varying { gaps: gaps(burstiness), passed: 0.0, profile: Profile::of(arrival, count) }
            }
        })
    }
}

impl Iterator for Offsets {
    type Item = Nanos;

    fn next(&mut self) -> Option<Nanos> {
        let seconds = match &mut self.0 {
            Course::Even { next, size, every } => {
                let burst = *next / *size;
                *next += 1;
                burst as f64 * *every
            }
            Course::Flat { gaps, rate, seconds } => {
                *seconds += gaps.next() / *rate;
                *seconds
            }
            Course::Varying { gaps, passed, profile } => {
                *passed += gaps.next();
                profile.time_of(*passed)
            }
        };
        Some((seconds * 1e9) as Nanos)
    }
}

/// Refuses parameters under which the process would not be one.
pub(crate) fn check(arrival: &Arrival) -> Result<(), PlanError> {
    let refuse = |option, value: f64, range| Err(PlanError::Value { option, value: value.to_string(), range });
    let rate = |option, value: f64| match value {
        _ if (SLOWEST..=FASTEST).contains(&value) => Ok(()),
        _ => refuse(option, value, "a number of requests per second from 0.00001 to 1e9"),
    };
    let span = |option, value: f64| match value {
        _ if (1e-6..=1e9).contains(&value) => Ok(()),
        _ => refuse(option, value, "a number of seconds from 0.000001 to 1e9"),
    };
    let burst = |value: f64| match value {
        _ if value.is_finite() && value > 0.0 => Ok(()),
        _ => refuse("burstiness", value, "a number above 0 (1 is a Poisson process)"),
    };
    match *arrival {
        Arrival::Immediate | Arrival::Trace => Ok(()),
        Arrival::Constant { rate: value } | Arrival::Poisson { rate: value } => rate("rate", value),
        Arrival::Gamma { rate: value, burstiness } => rate("rate", value).and_then(|()| burst(burstiness)),
        Arrival::Burst { size: 0, .. } => refuse("size", 0.0, "at least 1"),
        Arrival::Burst { every_s, .. } => span("every_s", every_s),
        Arrival::OnOff { rate: value, on_s, off_s, burstiness } => {
            rate("rate", value)?;
            span("on_s", on_s)?;
            span("off_s", off_s)?;
            burst(burstiness)
        }
        Arrival::Ramp { from_rate, to_rate, over_s, burstiness, .. } => {
            rate("from_rate", from_rate)?;
            rate("to_rate", to_rate)?;
            over_s.map_or(Ok(()), |over| span("over_s", over))?;
            burst(burstiness)
        }
        Arrival::Phases { ref phases, burstiness } => {
            for phase in phases {
                span("for_s", phase.for_s)?;
                if phase.rate != 0.0 {
                    rate("rate", phase.rate)?;
                }
            }
            match phases.last() {
                None => refuse("phases", 0.0, "at least one"),
                Some(last) => rate("rate of the last phase", last.rate),
            }?;
            burst(burstiness)
        }
    }
}
