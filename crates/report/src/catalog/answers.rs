//! The entries about the ends of answers, and about their second tokens.

use super::List;
use crate::registry::{Better, Group, Stat, Unit, statistic};

impl List {
    pub(super) fn answers(&mut self) {
        let undefined = "no request succeeded";
        let shares = [(
            "output_length_share",
            Unit::Share,
            "output tokens of successful requests / output tokens that they asked for: below 1 where answers end by themselves",
        )];
        for (key, unit, definition) in shares {
            self.add(Group::Throughput, key, unit, Better::Neither, definition, undefined);
        }
        let definition = "successful requests with fewer output tokens than they asked for";
        self.add(Group::Throughput, "shorter_answers", Unit::Count, Better::Neither, definition, undefined);
        let times = [
            (
                "ttst",
                "successful requests of the time from sent to the second arrival of tokens",
                "no answer has a second arrival",
            ),
            (
                "handoff_excess",
                "successful requests of the first gap between arrivals less the median of the later gaps; negative where the \
                 second token came sooner than usual. With disaggregated prefill it is what the hand-off costs, provided that the \
                 prefill server sends the first token",
                "no answer has three arrivals",
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
