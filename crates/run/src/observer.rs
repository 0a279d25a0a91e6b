//! Who may look on while a workload runs.

use sagellm_core::journal::{Close, HostWindow, Memory, Warmup};
use sagellm_core::{Event, Measured, Record, Workload};

/// Looks on. Every method is called on the dispatching thread, between two requests: what is slow in it makes requests
/// late, and the lateness is recorded.
pub trait Observer {
    /// A workload begins, warm-up first.
    fn on_begin(&mut self, _workload: &Workload) {}

    /// The warm-up is over and the measured requests follow.
    fn on_start(&mut self, _warmup: &Warmup) {}

    /// Something happened to a request whose record is open; its `End` is told too, unless it was cut off before.
    fn on_event(&mut self, _event: &Event, _warmup: bool) {}

    /// A request is over; a measured one is in the journal. Called once for every request of the plan, the warm-ups
    /// included, also for those that were never sent.
    fn on_request_end(&mut self, _record: &Record) {}

    /// The workload is over.
    fn on_end(&mut self, _close: &Close) {}
}

/// Looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Watches the process while the window is open: memory and the client's own use of the processor.
///
/// Both methods are called on the dispatching thread.
pub trait Watch {
    /// The window opens.
    fn begin(&mut self);
    /// The window is closed; what was seen.
    fn end(&mut self) -> Observed;
}

/// What a [`Watch`] saw.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Memory over the window.
    pub memory: Memory,
    /// Share of one core used beside the backend's own work, in percent.
    pub client_cpu_percent: Measured<f64>,
    /// Share of one core that the server and its children used, in percent.
    pub server_cpu_percent: Measured<f64>,
    /// What the machine as a whole did.
    pub host: HostWindow,
}
