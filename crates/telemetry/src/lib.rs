//! Memory and processor of processes and their host, and a server's own metrics.
//!
//! Nothing here fails: what cannot be read is a [`Measured`](sagellm_core::Measured) without a value but with the reason.

mod energy;
mod host;
mod monitor;
mod process;
mod processors;
pub mod prometheus;
mod scraper;
pub mod server_metrics;
mod server_window;
mod slots;
mod tree;
mod vllm_cache;

pub use host::{Host, host};
pub use monitor::{Monitor, Observation};
pub use process::{process_cpu_seconds, process_cpu_seconds_of, thread_cpu_seconds};
pub use scraper::{Fetch, SCRAPE_INTERVAL, Scraper};
pub use tree::process_runs;
