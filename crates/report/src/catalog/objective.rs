//! The entries about the service level objective and the steady window.

use super::List;
use crate::registry::{Better, Group, Stat, Unit, statistic};

const NO_LIMITS: &str = "no limits were set (`--goodput`)";

impl List {
    pub(super) fn objective(&mut self) {
        let undefined = format!("{NO_LIMITS}, or the window has no length");
        let definition = "successful requests that keep every limit / total_time_s";
        self.add(Group::Objective, "goodput_rps", Unit::RequestsPerSecond, Better::Higher, definition, &undefined)
            .headline = true;
        let undefined = format!("{NO_LIMITS}, or no request succeeded or failed");
        let definition = "successful requests that keep every limit / successful and failed requests. An answer without a \
                          token keeps no limit, one that came in one chunk any limit of TBT";
        self.add(Group::Objective, "slo_attainment", Unit::Share, Better::Higher, definition, &undefined);
        for (name, of) in [("ttft", "TTFT (f − a)"), ("tbt", "TBT ((l − f)/(n − n1))"), ("e2e", "E2E (l − a)")]
        {
            let key = format!("slo_attainment_{name}");
            let definition = format!("the same share for the limit of {of} alone");
            let undefined = format!("there is no limit of it, or {undefined}");
            self.add(Group::Objective, &key, Unit::Share, Better::Higher, &definition, &undefined);
        }
    }

    pub(super) fn steady(&mut self) {
        const NEVER: &str =
            "no part of the run was steady, or it is too short to tell (a closed loop: fewer than three rounds)";
        let entries = [
            (
                "steady_start_s",
                Unit::Seconds,
                Better::Neither,
                "from the first sent to the beginning of the steady window. In a closed loop that is the first \
                 end once 95 % of the cap ran at once; else when the number of requests in flight, taken whenever one was sent, has settled (MSER-5)",
            ),
            (
                "steady_time_s",
                Unit::Seconds,
                Better::Neither,
                "from there to when 95 % of the cap last ran, or to the last request sent before it ceases to be settled",
            ),
            (
                "steady_requests",
                Unit::Requests,
                Better::Neither,
                "successful requests that ended within the steady window",
            ),
            (
                "steady_request_throughput_rps",
                Unit::RequestsPerSecond,
                Better::Higher,
                "steady_requests / steady_time_s",
            ),
            (
                "steady_output_throughput_tps",
                Unit::TokensPerSecond,
                Better::Higher,
                "output tokens of the steady_requests / steady_time_s",
            ),
        ];
        for (key, unit, better, definition) in entries {
            self.add(Group::Steady, key, unit, better, definition, NEVER);
        }
        for (name, of) in [("ttft", "f − a"), ("tbt", "(l − f)/(n − n1)"), ("e2e", "l − a")] {
            for stat in Stat::STEADY {
                let key = format!("steady_{}", stat.key(name));
                let definition =
                    statistic(stat, &format!("{of} of the successful requests sent within the steady window"));
                let undefined = format!("{NEVER}, or no such request has one");
                self.add(Group::Steady, &key, Unit::Milliseconds, Better::Lower, &definition, &undefined);
            }
        }
        self.add(
            Group::Steady,
            "littles_law_residual",
            Unit::Share,
            Better::Lower,
            "the difference between L and λW as a share of L, over the steady window: L requests in flight on average, λ sent per time, W their mean time from \
             sent to end. By Little's law 0 for a long steady window; requests that reach over its ends make the rest",
            NEVER,
        );
    }
}
