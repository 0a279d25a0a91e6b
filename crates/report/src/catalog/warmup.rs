//! The entries about the warm-up.

use super::List;
use crate::registry::{Better, Group, Unit};

impl List {
    pub(super) fn warmup(&mut self) {
        let entries = [
            ("warmup_requests", Unit::Count, "warm-up requests sent"),
            ("warmup_waves", Unit::Count, "warm-up waves: groups of requests sent at the concurrency of the load"),
            ("warmup_at_once", Unit::Count, "maximum number of warm-up requests in flight"),
            ("warmup_longest_output", Unit::Tokens, "maximum number of output tokens requested by a warm-up request"),
            ("warmup_s", Unit::Seconds, "time from the first warm-up request to the end of the last one"),
        ];
        let undefined = "the program that wrote the journal did not keep it";
        for (key, unit, definition) in entries {
            self.add(Group::Client, key, unit, Better::Neither, definition, undefined);
        }
    }
}
