//! Time measured by what should happen in it.

use sagellm_core::{Arrival, Nanos};

use super::profile::Profile;

/// Turns offsets back into the sums of unit gaps that they were made from: the integral of the rate up to each. Whatever
/// the rate does, the differences have mean 1 and the law of the process's gaps.
#[derive(Clone, Debug)]
pub(crate) struct Rescaled {
    profile: Profile,
    burstiness: f64,
}

impl Rescaled {
    /// `None` for a process without random gaps. `count` is the number of requests.
    pub(crate) fn new(arrival: &Arrival, count: u64) -> Option<Self> {
        let burstiness = match *arrival {
            Arrival::Poisson { .. } => 1.0,
            Arrival::Gamma { burstiness, .. }
            | Arrival::OnOff { burstiness, .. }
            | Arrival::Ramp { burstiness, .. }
            | Arrival::Phases { burstiness, .. } => burstiness,
            Arrival::Immediate | Arrival::Trace | Arrival::Constant { .. } | Arrival::Burst { .. } => return None,
        };
        Some(Self { profile: Profile::of(arrival, count), burstiness })
    }

    /// The same for every process with a rate, its gaps random or not: what it should bring up to an offset.
    pub(crate) fn expected(arrival: &Arrival, count: u64) -> Option<Self> {
        match arrival {
            Arrival::Immediate | Arrival::Trace => None,
            _ => Some(Self { profile: Profile::of(arrival, count), burstiness: 1.0 }),
        }
    }

    /// The sum of the unit gaps up to an offset. Asked with ascending offsets.
    pub(crate) fn passed(&mut self, at: Nanos) -> f64 {
        self.profile.requests_until(at as f64 / 1e9)
    }

    /// Shape of the gamma distribution of the unit gaps.
    pub(crate) fn burstiness(&self) -> f64 {
        self.burstiness
    }
}
