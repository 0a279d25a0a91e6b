//! OpenAI-compatible servers: scripted, simulated, and over the CPU engine.
//!
//! - [`Scripted`] answers by a [`Script`], which prescribes every byte and time: for tests of clients.
//! - [`Simulator`] answers thousands of streams with exact timing: for measuring clients.
//!
//! All keep to one [`Clock`](sagellm_core::Clock) and tell the truth of each request by it.

mod error;
mod running;
mod script;
mod simulate;
mod socket;
mod wire;

pub use error::ServerError;
pub use script::{Case, Ending, Exchange, Script, Scripted, Write, conformance};
pub use simulate::{SimulateOptions, Simulator, Truth};
pub use socket::Arrival;
