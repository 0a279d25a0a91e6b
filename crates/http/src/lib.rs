//! Measures OpenAI-compatible servers over HTTP/1.1.
//!
//! Bytes come from a socket with the kernel's stamps; they pass the frame of the answer, the lines and events of the
//! stream, and the JSON of its chunks, and leave as events on the clock of the run.

mod answer;
mod backend;
mod blocking;
mod bounds;
mod cache;
#[cfg(test)]
mod captures;
mod chunk;
mod counting;
mod error;
mod excerpt;
mod flight;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod launch;
mod limits;
mod options;
mod parts;
mod pattern;
mod port;
mod probe;
mod profile;
mod request;
mod request_id;
mod response;
mod shard;
mod socket;
mod sse;
mod tally;
mod target;
mod tls;
mod transport;

pub use backend::{HttpBackend, StatsSource};
pub use blocking::{Access, Answer, BlockingClient, NoAnswer};
pub use cache::reset_cache;
pub use error::HttpError;
pub use launch::{LaunchError, Launched};
pub use limits::make_room_for;
pub use options::{
    CountTokens, EndpointType, HttpOptions, MaxTokensField, RequestFields, Secret, StampChoice, TlsOptions,
};
pub use probe::{Probe, ProbeError, ProbeOptions, ServedModel, Understood, prepare};
pub use profile::{Accepts, PROFILES, Profile};
pub use request_id::RequestIds;
pub use sagellm_sys::Priority;
pub use target::Target;
