//! OpenAI-compatible servers: scripted, simulated, and over the CPU engine.
//!
//! - [`Scripted`] answers by a [`Script`], which prescribes every byte and time: for tests of clients.
//! - [`Simulator`] answers thousands of streams with exact timing: for measuring clients.
//! - [`EngineServer`] puts the CPU engine behind the API that vLLM serves: for trying everything on any machine.
//!
//! Each keeps to one [`Clock`](sagellm_core::Clock). The first two tell by it what they truly did.

mod engine;
mod error;
mod limits;
mod running;
mod script;
mod simulate;
mod socket;
mod wire;

pub use engine::{EngineServer, EngineServerOptions};
pub use error::ServerError;
pub use limits::ConnectionLimits;
pub use script::{Case, Ending, Exchange, Script, Scripted, Write, conformance};
pub use simulate::{ColdOptions, QueueOptions, SimulateOptions, Simulator, Truth};
pub use socket::Arrival;
