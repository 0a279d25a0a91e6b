//! The entries about the ends of answers, and about their second tokens.

use super::List;
use crate::registry::{Better, Group, Stat, Unit, statistic};

impl List {
    pub(super) fn answers(&mut self) {
        let undefined = "no request succeeded";
        let shares = [(
            "output_length_share",
            Unit::Share,
            "output tokens of successful requests / requested output tokens; below 1 if responses end early",
        )];
        for (key, unit, definition) in shares {
            self.add(Group::Throughput, key, unit, Better::Neither, definition, undefined);
        }
        let definition = "successful requests with fewer output tokens than requested";
        self.add(Group::Throughput, "shorter_answers", Unit::Count, Better::Neither, definition, undefined);
        let times = [
            (
                "ttst",
                "successful requests of the time from sent to the second arrival of tokens",
                "no response has a second arrival",
            ),
            (
                "handoff_excess",
                "successful requests of the first gap between arrivals less the median of the later gaps; negative if the \
                 second token arrived earlier than usual. With disaggregated prefill it is the cost of the hand-off, provided that \
                 the prefill server sends the first token",
                "no response has three arrivals",
            ),
        ];
        for (name, formula, undefined) in times {
            for stat in Stat::VISIBLE {
                let definition = statistic(stat, formula);
                self.add(Group::Latency, &stat.key(name), Unit::Milliseconds, Better::Lower, &definition, undefined);
            }
        }
    }
}
