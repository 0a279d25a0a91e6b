//! A connection and what it is used for.

use sagellm_core::Nanos;

use crate::answer::Answer;
use crate::flight::Flight;
use crate::transport::Transport;

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is being set up.
    Opening,
    /// It waits for a request.
    Idle,
    /// It carries a request.
    Busy,
    /// It carries a request whose stream is over, but whose body is not.
    Settled,
    /// It carries the end of a body that nobody waits for.
    Draining,
}

/// A connection, what it carries, and how long that may take.
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) answer: Answer,
    pub(super) flight: Option<Flight>,
    pub(super) used_for: Use,
    /// Whether more waits to be read than was its turn.
    pub(super) unread: bool,
    /// When it began to be set up.
    pub(super) opened: Nanos,
    /// Place of its address in the route.
    pub(super) address: usize,
    /// Whether someone waits to hear that it stands.
    pub(super) awaited: bool,
    /// Requests that it served.
    pub(super) served: u32,
    /// When waiting for what comes next has lasted too long.
    pub(super) deadline: Nanos,
}
