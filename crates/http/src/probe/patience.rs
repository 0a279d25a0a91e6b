//! How long a probe waits for one answer.

use std::time::Duration;

use sagellm_core::Clock;

use super::ProbeOptions;

/// A page of a server that is ready takes no longer.
const PAGE: Duration = Duration::from_secs(30);
/// Nor does a tiny request, although the first one after loading may have to compile kernels.
const REQUEST: Duration = Duration::from_secs(300);

/// What a person is willing to wait: for one answer as long as for a measured one, and in any case until the server has
/// had the time to get ready.
pub(super) struct Patience {
    clock: Clock,
    ready: Duration,
    whole: Duration,
    first: Option<Duration>,
}

impl Patience {
    /// Begins with the wait for the server.
    pub(super) fn new(options: &ProbeOptions) -> Self {
        let ProbeOptions { ready_timeout: ready, timeout: whole, timeout_first_token: first, .. } = *options;
        Self { clock: Clock::start(), ready, whole, first }
    }

    /// For a page that tells of the server.
    pub(super) fn page(&self) -> Duration {
        self.at_least(self.whole.min(PAGE))
    }

    /// For the whole answer to a tiny request.
    pub(super) fn answer(&self) -> Duration {
        self.at_least(self.whole.min(REQUEST))
    }

    /// For the head of that answer.
    pub(super) fn head(&self) -> Duration {
        self.at_least(self.first.unwrap_or(REQUEST).min(self.whole).min(REQUEST))
    }

    fn at_least(&self, limit: Duration) -> Duration {
        let left = self.ready.saturating_sub(Duration::from_nanos(self.clock.now()));
        limit.max(Duration::from_secs_f64((left.as_secs_f64() * 10.0).ceil() / 10.0))
    }
}
