//! Memory and processor, watched while a window is open. Lets `run` use `telemetry` without knowing it.

use std::sync::{Arc, Mutex, PoisonError};

use sagellm_core::{Clock, Failure};
use sagellm_http::Launched;
use sagellm_run::{Observed, Watch};
use sagellm_telemetry::{Monitor, Scraper};

use crate::signals::{ExitHook, Interrupt};

/// This process, in which the engine runs.
pub(super) struct ProcessWatch(pub(super) Monitor);

impl Watch for ProcessWatch {
    fn begin(&mut self) {
        self.0.begin();
    }

    fn end(&mut self) -> Observed {
        let seen = self.0.end();
        Observed {
            memory: seen.memory,
            client_cpu_percent: seen.client_cpu_percent,
            server_cpu_percent: seen.server_cpu_percent,
            host: seen.host,
        }
    }
}

/// A server that was launched for this run; it is stopped when this is dropped, and by a signal.
pub(super) struct Launch {
    pub(super) launched: Option<Arc<Launched>>,
    _hook: Option<ExitHook>,
}

impl Launch {
    /// Nothing was launched.
    pub(super) fn none() -> Self {
        Self { launched: None, _hook: None }
    }

    /// Launches a server. `then` is what a signal does after it has stopped it.
    pub(super) fn start(
        launch: impl FnOnce() -> Result<Launched, Failure>,
        interrupt: &Interrupt,
        then: impl Fn() + Send + 'static,
    ) -> Result<Self, Failure> {
        let slot: Arc<Mutex<Option<Arc<Launched>>>> = Arc::default();
        let started = Arc::clone(&slot);
        // A signal that comes while it is started waits for the slot, and then finds the server in it.
        let hook = interrupt.while_kept(move || {
            if let Some(launched) = &*started.lock().unwrap_or_else(PoisonError::into_inner) {
                launched.stop();
                then();
            }
        });
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let launched = Arc::new(launch()?);
        *slot = Some(Arc::clone(&launched));
        drop(slot);
        Ok(Self { launched: Some(launched), _hook: Some(hook) })
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        if let Some(launched) = &self.launched {
            launched.stop();
        }
    }
}

/// A server: its processes where they can be seen, else its own word.
pub(super) struct ServerWatch {
    monitor: Monitor,
    /// Asked for the server's memory where the monitor cannot see it.
    scraper: Option<Arc<Scraper>>,
    _launch: Launch,
}

impl ServerWatch {
    pub(super) fn new(pid: Option<u32>, scraper: Option<Arc<Scraper>>, launch: Launch, clock: Clock) -> Self {
        const UNSEEN: &str = "the server's process is not known: give `--server-pid` when it runs on this machine";
        match pid {
            Some(pid) => Self { monitor: Monitor::of_tree(pid, clock), scraper: None, _launch: launch },
            None => Self { monitor: Monitor::of_client(UNSEEN, clock), scraper, _launch: launch },
        }
    }
}

impl Watch for ServerWatch {
    fn begin(&mut self) {
        self.monitor.begin();
    }

    fn end(&mut self) -> Observed {
        let seen = self.monitor.end();
        let told = self.scraper.as_ref().and_then(|scraper| scraper.memory());
        Observed {
            memory: told.filter(|told| told.peak_bytes.value.is_some()).unwrap_or(seen.memory),
            client_cpu_percent: seen.client_cpu_percent,
            server_cpu_percent: seen.server_cpu_percent,
            host: seen.host,
        }
    }
}
