//! The nouns of sagellm-benchmark.
//!
//! A [`Plan`] of [`Request`]s is dispatched to a [`Backend`]; the backend answers with [`Event`]s stamped on one
//! [`Clock`]; events become [`Record`]s in an append-only [`journal`]. Every later stage reads only those.

mod backend;
mod clock;
mod error;
mod event;
pub mod file;
pub mod journal;
mod measured;
mod panics;
mod plan;
mod progress;
mod record;
pub mod redact;
mod request;
mod sink;
mod slo;
mod tagged;
mod text;
mod workload;

pub use backend::{Backend, BackendInfo, BackendStats, ModelInfo, Prepared, ServerSample, ServerWindow, StepTimes};
pub use clock::{Clock, Nanos, WallTime, ms, seconds};
pub use error::{Exit, Failure, UserError};
pub use event::{End, Event, EventKind, FinishReason, HttpFacts, OutcomeKind, OutputText, Piece, TokenSource};
pub use measured::Measured;
pub use panics::{Panicked, caught, panics, report_panics};
pub use plan::{DataFile, Plan, PlanHeader, PlanLine, Requests, Warmups};
pub use progress::{NoProgress, Progress};
pub use record::{Chunk, Record, RecordBuilder, Stamp};
pub use request::{Answer, Message, Prompt, Request, Sampling};
pub use sink::{EventSink, Events, event_channel};
pub use slo::{Limited, Objective, Slo, SloError};
pub use text::{plain, plain_json};
pub use workload::{Arrival, Mode, RampShape, RatePhase, SharegptRules, Source, TraceFormat, Workload};

/// Version of every persisted format of this release. Raised when a reader of the former version would be misled.
pub const SCHEMA_VERSION: u32 = 1;
