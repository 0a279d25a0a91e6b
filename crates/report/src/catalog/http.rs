//! The entries about requests over HTTP.

use super::List;
use crate::registry::{Better, Group, Stat, Unit, statistic};

const ENGINE: &str = "the engine runs in this process";

impl List {
    pub(super) fn visible(&mut self) {
        let formula = "successful requests of the time from sent to the first token of the visible answer, after any \
                       reasoning";
        for stat in Stat::VISIBLE {
            let undefined = format!("no answer has a visible token, or {ENGINE}");
            let key = stat.key("ttft_visible");
            let definition = statistic(stat, formula);
            self.add(Group::Latency, &key, Unit::Milliseconds, Better::Lower, &definition, &undefined);
        }
    }

    /// Between the client and the server.
    pub(super) fn wire(&mut self) {
        let spread = |stats: &'static [Stat], name: &'static str, formula: &'static str, undefined: &'static str| {
            stats.iter().map(move |stat| (stat.key(name), statistic(*stat, formula), undefined))
        };
        let times = spread(
            &Stat::DELAY,
            "client_delay",
            "all chunks of the time from the kernel's receive stamp to this program's read",
            "stamps are not the kernel's",
        )
        .chain([
            (
                "p50_client_error_ms".to_owned(),
                "error of the TTFT that this client measures, found by calibration at a load like this: median"
                    .to_owned(),
                "the client was not calibrated",
            ),
            ("p99_client_error_ms".into(), "the same: 99th percentile".into(), "the client was not calibrated"),
            ("max_client_error_ms".into(), "the same: largest".into(), "the client was not calibrated"),
            (
                "p50_client_error_tbt_ms".into(),
                "error of the TBT that this client measures, found likewise: median".into(),
                "the client was not calibrated",
            ),
            ("p99_client_error_tbt_ms".into(), "the same: 99th percentile".into(), "the client was not calibrated"),
            ("max_client_error_tbt_ms".into(), "the same: largest".into(), "the client was not calibrated"),
        ])
        .chain(spread(
            &[Stat::Avg, Stat::Max],
            "connect",
            "the requests that had to set up a connection of the time that this took, which is not part of the TTFT",
            "every request found a connection ready",
        ));
        let times: Vec<_> = times.collect();
        for (key, definition, undefined) in times {
            let undefined = format!("{undefined}, or {ENGINE}");
            self.add(Group::Client, &key, Unit::Milliseconds, Better::Lower, &definition, &undefined);
        }
        let counts = [
            ("merged_chunks", "chunks that shared a read, and so a stamp, with a later one"),
            ("retries", "times that a request was sent again"),
        ];
        for (key, definition) in counts {
            self.add(Group::Client, key, Unit::Count, Better::Lower, definition, ENGINE);
        }
    }

    pub(super) fn server(&mut self) {
        let untold = format!("the server does not tell, or {ENGINE}");
        let times = [
            (
                "server_ttft_ms",
                "mean time to the first token as the server has it: by its `/metrics` over the window (difference of \
                 sums over difference of counts), else by the answers that tell; `server_source` says which",
            ),
            ("server_queue_ms", "mean time in the server's queue, likewise"),
            ("server_prefill_ms", "mean time of prefill by the server's `/metrics`"),
            (
                "server_decode_ms",
                "mean time of decoding by the server's `/metrics`, else mean time of generation by the answers",
            ),
            ("network_client_ms", "avg_ttft_ms − server_ttft_ms: what network and client add to the server's own time"),
        ];
        for (key, definition) in times {
            self.add(Group::Server, key, Unit::Milliseconds, Better::Lower, definition, &untold);
        }
        let counts = [
            ("usage_output_tokens", "output tokens of successful requests by the server's usage"),
            ("tokenizer_output_tokens", "the same by the tokenizer, over the text that came"),
        ];
        for (key, definition) in counts {
            let undefined = format!("a successful answer was not counted so, or {ENGINE}");
            self.add(Group::Server, key, Unit::Tokens, Better::Neither, definition, &undefined);
        }
        let undefined = format!("no request succeeded, or {ENGINE}");
        let definition = "chunks with tokens of successful requests";
        self.add(Group::Server, "content_chunks", Unit::Count, Better::Neither, definition, &undefined);
        self.add(
            Group::Server,
            "output_tokens_discrepancy",
            Unit::Share,
            Better::Lower,
            "difference between the server's and the tokenizer's count over the answers that have both, as a share of \
             the larger",
            &format!("no answer has both counts, or {ENGINE}"),
        );
    }
}
