//! Reads a server's metrics while a window is open.

use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use sagellm_core::journal::Memory;
use sagellm_core::{BackendStats, Clock};

use crate::prometheus::parse;
use crate::server_metrics::{Dialect, Reading};
use crate::server_window::{Scrape, Window};

/// Time between two readings unless told otherwise.
pub const SCRAPE_INTERVAL: Duration = Duration::from_millis(500);

/// Gets a path of the server, such as `/metrics`: the body, or why there is none, as the end of a sentence.
///
/// It has to give up within some seconds and to bound the body, because the run waits for it at both ends of a window.
pub type Fetch = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// Reads a server's metrics before, during and after each window.
///
/// Its readings are stamped when they have come. They cost the server some work, which is the price of knowing.
pub struct Scraper {
    server: Arc<Server>,
    interval: Duration,
    open: Mutex<Option<Open>>,
}

struct Server {
    fetch: Box<Fetch>,
    path: String,
    clock: Clock,
    /// Held while a reading is taken, so that readings are added in the order of time.
    window: Mutex<Option<Window>>,
}

struct Open {
    /// Dropped to end the readings.
    open: Sender<()>,
    thread: JoinHandle<()>,
}

impl Scraper {
    /// Reads `path`, usually `/metrics`, every `interval`.
    pub fn new(
        fetch: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static,
        path: &str,
        interval: Duration,
        clock: Clock,
    ) -> Self {
        let server = Server { fetch: Box::new(fetch), path: path.into(), clock, window: Mutex::new(None) };
        Self { server: Arc::new(server), interval, open: Mutex::new(None) }
    }

    /// Opens a window with a first reading, for which it waits. One that is still open is given up.
    pub fn begin(&self) {
        self.close();
        *self.server.window() = Some(Window::new(self.server.scrape()));
        let (open, closed) = mpsc::channel();
        let (server, interval) = (Arc::clone(&self.server), self.interval);
        let thread = std::thread::spawn(move || {
            let mut due = server.clock.now();
            loop {
                // By absolute time; what was missed because the server took long is left out.
                let now = server.clock.now();
                let step = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
                due += step * ((now - due) / step + 1);
                if closed.recv_timeout(server.clock.until(due)) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                server.add();
            }
        });
        *lock(&self.open) = Some(Open { open, thread });
    }

    /// Takes a last reading, for which it waits, and tells what the window held so far.
    pub fn window(&self) -> BackendStats {
        self.server.add();
        match &*self.server.window() {
            Some(window) => window.stats(),
            None => BackendStats::unknown("no window was open"),
        }
    }

    /// The server's memory over the window, by its own word: that of the process which answers.
    pub fn memory(&self) -> Option<Memory> {
        self.server.window().as_ref().map(Window::memory)
    }

    fn close(&self) {
        if let Some(Open { open, thread }) = lock(&self.open).take() {
            drop(open);
            // It holds nothing that is needed any more, so how it ended does not matter.
            let _ = thread.join();
        }
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Scraper {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Scraper").field("path", &self.server.path).field("interval", &self.interval).finish()
    }
}

/// What is guarded here is whole between any two of its changes, so a panic elsewhere does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    fn window(&self) -> MutexGuard<'_, Option<Window>> {
        lock(&self.window)
    }

    fn add(&self) {
        if let Some(window) = self.window().as_mut() {
            window.add(self.scrape());
            window.reach(self.clock.now());
        }
    }

    fn scrape(&self) -> Scrape {
        let text = (self.fetch)(&self.path)?;
        let at = self.clock.now();
        let exposition = parse(&text).map_err(|error| error.to_string())?;
        let mut reading = Reading::new(&exposition, at);
        if reading.dialect == Some(Dialect::LlamaCpp) {
            // Without slots (`--no-slots`) the tokens in use stay unknown; the rest of the reading is good.
            let _ = (self.fetch)("/slots").and_then(|json| reading.add_slots(&json));
        }
        Ok(reading)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A server whose every answer counts one more token found.
    fn counting() -> (Arc<AtomicU64>, impl Fn(&str) -> Result<String, String> + Send + Sync + 'static) {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let fetch = move |path: &str| {
            assert_eq!(path, "/metrics");
            Ok(format!("vllm:prefix_cache_hits_total {}\n", counter.fetch_add(1, Ordering::SeqCst)))
        };
        (asked, fetch)
    }

    #[test]
    fn a_window_is_read_at_both_ends_and_between() {
        let clock = Clock::start();
        let (asked, fetch) = counting();
        let scraper = Scraper::new(fetch, "/metrics", Duration::from_millis(20), clock);
        let before = clock.now();
        scraper.begin();
        assert_eq!(asked.load(Ordering::SeqCst), 1, "the first reading is done before the run goes on");
        std::thread::sleep(Duration::from_millis(250));
        let stats = scraper.window();
        let after = clock.now();
        let samples = stats.server.unwrap().samples;
        assert_eq!(stats.prefix_hit_tokens.value, Some(samples.len() as u64 - 1), "last less first");
        let most = 2 + (after - before) / 20_000_000;
        assert!((7..=most).contains(&(samples.len() as u64)), "{} samples, at most {most} are due", samples.len());
        assert!(samples.is_sorted_by_key(|sample| sample.at_ns));
        assert!(samples[0].at_ns >= before && samples.last().unwrap().at_ns <= after);
    }

    #[test]
    fn each_window_is_counted_by_itself() {
        let (_, fetch) = counting();
        let scraper = Scraper::new(fetch, "/metrics", Duration::from_secs(60), Clock::start());
        for _ in 0..2 {
            scraper.begin();
            assert_eq!(scraper.window().prefix_hit_tokens.value, Some(1));
        }
    }

    #[test]
    fn nothing_is_read_once_it_is_gone() {
        let (asked, fetch) = counting();
        let scraper = Scraper::new(fetch, "/metrics", Duration::from_millis(1), Clock::start());
        scraper.begin();
        drop(scraper);
        let seen = asked.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(asked.load(Ordering::SeqCst), seen);
    }

    #[test]
    fn a_slow_server_is_not_asked_more_often_for_it() {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let fetch = move |_: &str| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(50));
            Ok("vllm:num_requests_running 1\n".into())
        };
        let clock = Clock::start();
        let scraper = Scraper::new(fetch, "/metrics", Duration::from_millis(20), clock);
        scraper.begin();
        std::thread::sleep(Duration::from_millis(300));
        drop(scraper);
        let most = 1 + clock.now() / 60_000_000 + 1;
        assert!(asked.load(Ordering::SeqCst) <= most, "{} > {most}", asked.load(Ordering::SeqCst));
    }

    #[test]
    fn without_metrics_or_a_window_there_is_a_reason() {
        let refuse = |_: &str| Err("`/metrics` answered 404 Not Found".to_owned());
        let scraper = Scraper::new(refuse, "/metrics", SCRAPE_INTERVAL, Clock::start());
        assert_eq!(scraper.window().evict_count.reason.unwrap(), "no window was open");
        assert_eq!(scraper.memory(), None);
        scraper.begin();
        let reason = "when the window began, `/metrics` answered 404 Not Found";
        assert_eq!(scraper.window().evict_count.reason.unwrap(), reason);
        assert_eq!(scraper.memory().unwrap().peak_bytes.reason.unwrap(), "`/metrics` answered 404 Not Found");

        let scraper = Scraper::new(|_: &str| Ok("<html>".into()), "/metrics", SCRAPE_INTERVAL, Clock::start());
        scraper.begin();
        let reason = scraper.window().evict_count.reason.unwrap();
        assert_eq!(reason, "when the window began, line 1 of the metrics: it does not begin with the name of a metric");
    }

    #[test]
    fn llamacpp_is_asked_for_its_slots() {
        let fetch = |path: &str| match path {
            "/metrics" => Ok("llamacpp:requests_processing 1\n".to_owned()),
            "/slots" => Ok(r#"[{"is_processing": true, "n_prompt_tokens": 5, "n_prompt_tokens_processed": 5,
                "next_token": [{"n_decoded": 2}]}]"#
                .to_owned()),
            other => Err(format!("`{other}` was not to be asked for")),
        };
        let scraper = Scraper::new(fetch, "/metrics", SCRAPE_INTERVAL, Clock::start());
        scraper.begin();
        assert_eq!(scraper.window().kv_used_tokens.value, Some(7));
    }
}
