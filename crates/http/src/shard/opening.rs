//! Setting connections up, keeping some in readiness, giving them up.

use std::io;

use mio::{Interest, Token};
use nix::errno::Errno;
use sagellm_core::{Nanos, OutcomeKind};

use super::Shard;
use super::connection::{Connection, Use};
use crate::answer::Answer;
use crate::flight::Flight;
use crate::transport::Transport;

/// A connection that was closed before it lived so long and served a request is not replaced, or a server that turns
/// away connections would be asked without end.
const YOUNG: Nanos = 1_000_000_000;

impl Shard {
    /// Sets up a connection, for a request or in advance.
    pub(super) fn open(&mut self, mut flight: Option<Flight>, address: usize, awaited: bool) {
        let clock = self.clock();
        let opened = clock.now();
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        if let Some(flight) = &flight {
            self.flights.insert(flight.request.id, place);
        }
        let connected = self.common.route.addresses.get(address).ok_or(io::ErrorKind::AddrNotAvailable.into());
        let transport = connected.and_then(|&to| Transport::connect(to, clock)).and_then(|mut transport| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(transport.source(), Token(place), both)?;
            Ok(transport)
        });
        let deadline = self.common.timeouts.connected(opened);
        match transport {
            Ok(transport) => {
                self.open += 1;
                self.coming += usize::from(flight.is_none());
                self.remember(deadline);
                self.connections[place] = Some(Box::new(Connection {
                    transport,
                    answer: Answer::new(self.common.reading.max_line),
                    flight,
                    used_for: Use::Opening,
                    unread: false,
                    opened,
                    address,
                    awaited,
                    served: 0,
                    deadline,
                }));
            }
            Err(error) => {
                self.vacant.push(place);
                self.cannot_open(flight.take(), address, awaited, &error);
            }
        }
    }

    /// A connection could not be set up: the next address, or the end.
    pub(super) fn cannot_open(&mut self, flight: Option<Flight>, address: usize, awaited: bool, error: &io::Error) {
        // A limit of this process holds for every address.
        let limit =
            error.raw_os_error().is_some_and(|code| [Errno::EMFILE as i32, Errno::ENFILE as i32].contains(&code));
        if !limit && address + 1 < self.common.route.addresses.len() {
            return self.open(flight, address + 1, awaited);
        }
        let hint = if limit { "; raise the limit of open files (`ulimit -n`)" } else { "" };
        if awaited && let Some(opener) = &self.opener {
            // Who waited may have given up.
            let _ = opener.send(Err(format!("{error}{hint}")));
        }
        if let Some(flight) = flight {
            let now = self.clock().now();
            let mut answer = Answer::new(self.common.reading.max_line);
            let reason = format!("cannot connect to {}: {error}{hint}", self.common.name);
            answer.give_up(now, OutcomeKind::Connection, reason);
            self.land(flight, &mut answer);
        }
    }

    /// Does the next step of setting a connection up.
    pub(super) fn go_on_opening(&mut self, place: usize) {
        let Some(connection) = &mut self.connections[place] else { return };
        match connection.transport.open(&self.common.route, &mut self.buffers) {
            Ok(false) => {}
            Ok(true) => {
                if std::mem::take(&mut connection.awaited)
                    && let Some(opener) = &self.opener
                {
                    // Who waited may have given up.
                    let _ = opener.send(Ok(()));
                }
                let took = self.common.route.clock.now().saturating_sub(connection.opened);
                match connection.flight.take() {
                    Some(mut flight) => {
                        flight.connected_in(took);
                        self.begin(place, flight);
                    }
                    None => {
                        self.coming -= 1;
                        self.make_idle(place);
                    }
                }
            }
            Err(error) => self.broke(place, &error),
        }
    }

    /// Sets up a connection in the stead of one that was taken, so that those who come next find theirs ready.
    pub(super) fn keep_reserve(&mut self) {
        if self.idle.len() + self.coming < self.stock.reserve && self.open < self.stock.room {
            self.open(None, 0, false);
        }
    }

    /// Lays a connection ready for the next request.
    pub(super) fn make_idle(&mut self, place: usize) {
        if let Some(connection) = &mut self.connections[place] {
            connection.used_for = Use::Idle;
            connection.deadline = Nanos::MAX;
            self.idle.push(place);
        }
    }

    /// Closes a connection.
    pub(super) fn forget(&mut self, place: usize) {
        if let Some(connection) = self.connections[place].take() {
            self.open -= 1;
            self.vacant.push(place);
            if connection.used_for == Use::Idle {
                self.idle.retain(|&idle| idle != place);
            }
        }
    }

    /// Closes a connection and sets up another in its stead, if it is one of those kept in readiness.
    pub(super) fn discard(&mut self, place: usize) {
        let Some(connection) = &self.connections[place] else { return };
        let lived = self.clock().now().saturating_sub(connection.opened);
        let lasting = connection.served > 0 || lived >= YOUNG;
        self.forget(place);
        if lasting && self.open < self.stock.ahead {
            self.open(None, 0, false);
        }
    }
}
