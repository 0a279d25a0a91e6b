//! The entries about the warm-up.

use super::List;
use crate::registry::{Better, Group, Unit};

impl List {
    pub(super) fn warmup(&mut self) {
        let entries = [
            ("warmup_requests", Unit::Count, "requests of the warm-up that were sent"),
            (
                "warmup_waves",
                Unit::Count,
                "waves of the warm-up: groups of requests that were sent at the concurrency of the load",
            ),
            ("warmup_at_once", Unit::Count, "requests of the warm-up in flight, at most"),
            ("warmup_longest_output", Unit::Tokens, "output tokens that a request of the warm-up asked for, at most"),
            ("warmup_s", Unit::Seconds, "time from the first request of the warm-up to the end of the last one"),
        ];
        let undefined = "the program that wrote the journal did not keep it";
        for (key, unit, definition) in entries {
            self.add(Group::Client, key, unit, Better::Neither, definition, undefined);
        }
    }
}
