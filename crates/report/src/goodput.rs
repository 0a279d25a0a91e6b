//! Which requests kept the service level objective, gathered one after the other.

use sagellm_core::{Limited, Slo};

use crate::latency::Times;

/// The objective and how many kept it.
#[derive(Clone, Debug)]
pub(crate) struct Goodput {
    pub(crate) slo: Slo,
    /// Requests that succeeded and kept every limit.
    pub(crate) good: u64,
    /// Requests that succeeded and kept each limit, in the order of [`Limited::ALL`].
    pub(crate) kept: [u64; 3],
}

impl Goodput {
    pub(crate) fn new(slo: Slo) -> Self {
        Self { slo, good: 0, kept: [0; 3] }
    }

    /// Takes a success; says whether it is good. One without a token keeps no limit, one whose answer came in one chunk
    /// any limit of TBT, as in vLLM.
    pub(crate) fn push(&mut self, times: Option<&Times>) -> bool {
        let kept = Limited::ALL.map(|limited| {
            let Some(limit) = self.slo.limit(limited) else { return true };
            times.is_some_and(|times| match limited {
                Limited::Ttft => times.ttft <= limit,
                Limited::Tbt => times.tbt.is_none_or(|tbt| tbt <= limit),
                Limited::E2e => times.e2e <= limit,
            })
        });
        for (count, kept) in self.kept.iter_mut().zip(kept) {
            *count += u64::from(kept);
        }
        let good = kept.iter().all(|kept| *kept);
        self.good += u64::from(good);
        good
    }
}
