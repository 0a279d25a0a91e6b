//! Rates that change with time.

use sagellm_core::{Arrival, RampShape};

use crate::portable::ln;

/// A stretch of time and its rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) seconds: f64,
    pub(super) shape: RampShape,
}

impl Piece {
    pub(super) fn flat(rate: f64, seconds: f64) -> Self {
        Self { from: rate, to: rate, seconds, shape: RampShape::Linear }
    }

    /// The integral of the rate: how many requests it holds in the mean.
    pub(super) fn requests(&self) -> f64 {
        let Self { from, to, seconds, shape } = *self;
        match shape {
            RampShape::Exponential if from != to => seconds * (to - from) / ln(to / from),
            _ => seconds * (from + to) / 2.0,
        }
    }

    /// The integral of the rate over its first `time` seconds. For numbers that are looked at, not planned with: the
    /// exponential is the system's.
    fn requests_until(&self, time: f64) -> f64 {
        let Self { from, to, seconds, shape } = *self;
        match shape {
            RampShape::Exponential if from != to => {
                let k = ln(to / from);
                from * seconds / k * (k * time / seconds).exp_m1()
            }
            _ => from * time + (to - from) * time * time / (2.0 * seconds),
        }
    }

    /// Seconds from its beginning until the integral of the rate is `requests`, which is at most that of the piece.
    fn time_of(&self, requests: f64) -> f64 {
        let Self { from, to, seconds, shape } = *self;
        let time = match shape {
            _ if from == to => requests / from,
            // from (s/k) (exp(k t/s) − 1) = requests, where k = ln(to/from).
            RampShape::Exponential => {
                let k = ln(to / from);
                seconds / k * ln((1.0 + k * requests / (from * seconds)).max(f64::MIN_POSITIVE))
            }
            // from t + (to − from) t²/(2 s) = requests, in the form that does not cancel.
            RampShape::Linear => {
                let square = from * from + 2.0 * (to - from) * requests / seconds;
                2.0 * requests / (from + square.max(0.0).sqrt())
            }
        };
        time.min(seconds)
    }
}

/// A rate over time.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pieces: Vec<Piece>,
    /// Whether the pieces come again and again; otherwise the last rate stays.
    repeat: bool,
    /// The piece that was reached, when it began, and what the integral was then.
    at: usize,
    begun: f64,
    before: f64,
}

impl Profile {
    /// The rate of a process; `count` is the number of requests, for a ramp that ends with the last of them.
    pub(super) fn of(arrival: &Arrival, count: u64) -> Self {
        let (pieces, repeat) = match *arrival {
            Arrival::OnOff { rate, on_s, off_s, .. } => (vec![Piece::flat(rate, on_s), Piece::flat(0.0, off_s)], true),
            Arrival::Ramp { from_rate, to_rate, over_s, shape, .. } => {
                let mut piece = Piece { from: from_rate, to: to_rate, seconds: 1.0, shape };
                piece.seconds = over_s.unwrap_or(count as f64 / piece.requests());
                (vec![piece], false)
            }
            Arrival::Phases { ref phases, .. } => {
                (phases.iter().map(|phase| Piece::flat(phase.rate, phase.for_s)).collect(), false)
            }
            Arrival::Constant { rate } | Arrival::Poisson { rate } | Arrival::Gamma { rate, .. } => {
                (vec![Piece::flat(rate, 1.0)], false)
            }
            Arrival::Burst { size, every_s } => (vec![Piece::flat(f64::from(size) / every_s, 1.0)], false),
            Arrival::Immediate | Arrival::Trace => (vec![], false),
        };
        Self { pieces, repeat, at: 0, begun: 0.0, before: 0.0 }
    }

    /// The integral of the rate up to `time`. Asked with ascending times.
    pub(super) fn requests_until(&mut self, time: f64) -> f64 {
        loop {
            let Some(piece) = self.pieces.get(self.at) else {
                let rate = self.pieces.last().map_or(1.0, |piece| piece.to);
                return self.before + (time - self.begun) * rate;
            };
            if time - self.begun <= piece.seconds {
                return self.before + piece.requests_until(time - self.begun);
            }
            self.begun += piece.seconds;
            self.before += piece.requests();
            self.at += 1;
            if self.repeat && self.at == self.pieces.len() {
                self.at = 0;
            }
        }
    }

    /// When the integral of the rate is `requests`. Asked with ascending numbers.
    pub(super) fn time_of(&mut self, requests: f64) -> f64 {
        if self.repeat && self.at == 0 {
            let (time, held) =
                self.pieces.iter().fold((0.0, 0.0), |(t, n), piece| (t + piece.seconds, n + piece.requests()));
            let rounds = ((requests - self.before) / held).floor();
            self.begun += rounds * time;
            self.before += rounds * held;
        }
        loop {
            let Some(piece) = self.pieces.get(self.at) else {
                let rate = self.pieces.last().map_or(1.0, |piece| piece.to);
                return self.begun + (requests - self.before) / rate;
            };
            let held = piece.requests();
            if requests - self.before <= held && held > 0.0 {
                return self.begun + piece.time_of(requests - self.before);
            }
            self.begun += piece.seconds;
            self.before += held;
            self.at += 1;
            if self.repeat && self.at == self.pieces.len() {
                self.at = 0;
            }
        }
    }
}
