//! A queue before the answers: a few servers, each busy with one request for the same time. With Poisson arrivals this is
//! the queue M/D/c, whose capacity and waiting times are known.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sagellm_core::Nanos;

use crate::ServerError;

/// Settings of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Requests that are served at once. Together they do `servers / service` requests per second.
    pub servers: u32,
    /// How long each occupies its server, however many tokens it asks for. Its answer begins to be made when its turn
    /// comes.
    pub service: Duration,
}

/// When each server is free.
#[derive(Debug)]
pub(crate) struct Queue {
    service: Nanos,
    free: Mutex<BinaryHeap<Reverse<Nanos>>>,
}

impl Queue {
    pub(crate) fn new(options: QueueOptions) -> Result<Self, ServerError> {
        if options.servers == 0 {
            return Err(ServerError::Setting("a queue needs at least one server".into()));
        }
        let service = u64::try_from(options.service.as_nanos()).unwrap_or(u64::MAX);
        let free = (0..options.servers).map(|_| Reverse(0)).collect();
        Ok(Self { service, free: Mutex::new(free) })
    }

    /// When the turn of a request comes that arrived at `arrival`: first come, first served.
    pub(crate) fn enter(&self, arrival: Nanos) -> Nanos {
        // A heap of numbers is whole even if a thread panicked over it.
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = free.pop().map_or(arrival, |Reverse(free)| free.max(arrival));
        free.push(Reverse(turn.saturating_add(self.service)));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_order_and_servers_are_busy_for_the_same_time() {
        let queue = Queue::new(QueueOptions { servers: 2, service: Duration::from_nanos(10) }).unwrap();
        let turns: Vec<Nanos> = [100, 101, 102, 103, 150].into_iter().map(|arrival| queue.enter(arrival)).collect();
        assert_eq!(turns, [100, 101, 110, 111, 150]);
        assert!(Queue::new(QueueOptions { servers: 0, service: Duration::ZERO }).is_err());
    }
}
