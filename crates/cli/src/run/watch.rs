//! This process, watched while a window is open.

use sagellm_run::{Observed, Watch};
use sagellm_telemetry::Monitor;

/// Lets `run` use `telemetry` without knowing it.
pub(super) struct ProcessWatch(pub(super) Monitor);

impl Watch for ProcessWatch {
    fn begin(&mut self) {
        self.0.begin();
    }

    fn end(&mut self) -> Observed {
        let seen = self.0.end();
        Observed { memory: seen.memory, client_cpu_percent: seen.client_cpu_percent }
    }
}
