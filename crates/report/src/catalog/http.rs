//! The entries about requests over HTTP.

use super::List;
use crate::registry::{Better, Group, Stat, Unit, statistic};

const ENGINE: &str = "the engine runs in this process";

impl List {
    pub(super) fn visible(&mut self) {
        let formula = "successful requests of the time from sent to the first token of the visible answer, after any \
                       reasoning";
        self.times(Group::Latency, &Stat::VISIBLE, "ttft_visible", formula, "no answer has a visible token");
    }

    /// Between the client and the server.
    pub(super) fn wire(&mut self) {
        let formula = "all chunks of the time from the kernel's receive stamp to this program's read";
        self.times(Group::Client, &Stat::DELAY, "client_delay", formula, "stamps are not the kernel's");
        for (name, of) in [("client_error", "TTFT"), ("client_error_tbt", "TBT")] {
            let formula =
                format!("the errors of this client's {of} that a calibration at a load like this found before the run");
            let stats = [Stat::P50, Stat::P99, Stat::Max];
            self.times(Group::Client, &stats, name, &formula, "the client was not calibrated");
        }
        let formula =
            "the requests that had to set up a connection of the time that this took, which is not part of the TTFT";
        self.times(Group::Client, &Stat::DELAY, "connect", formula, "every request found a connection ready");
        let counts = [
            ("merged_chunks", "chunks that shared a read, and so a stamp, with a later one"),
            ("retries", "times that a request was sent again"),
        ];
        for (key, definition) in counts {
            self.add(Group::Client, key, Unit::Count, Better::Lower, definition, ENGINE);
        }
    }

    fn times(&mut self, group: Group, stats: &[Stat], name: &str, formula: &str, undefined: &str) {
        for stat in stats {
            let (key, definition) = (stat.key(name), statistic(*stat, formula));
            let undefined = format!("{undefined}, or {ENGINE}");
            self.add(group, &key, Unit::Milliseconds, Better::Lower, &definition, &undefined);
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
            ("server_prefill_ms", "mean time of prefill, the wait for it left out, likewise"),
            (
                "server_decode_ms",
                "mean time of decoding by the server's `/metrics`, else mean time of generation by the answers",
            ),
            ("network_client_ms", "avg_ttft_ms − server_ttft_ms: what network and client add to the server's own time"),
        ];
        for (key, definition) in times {
            self.add(Group::Server, key, Unit::Milliseconds, Better::Lower, definition, &untold);
        }
        self.add(
            Group::Server,
            "server_cpu_percent",
            Unit::Percent,
            Better::Lower,
            "share of one core that the server's processes used over the window, more than 100 with several cores",
            &format!("the server's process is not known (`--launch` or `--server-pid` tell it), or {ENGINE}"),
        );
        self.add(
            Group::Server,
            "spec_accept_length",
            Unit::MeanTokens,
            Better::Higher,
            "tokens per step of speculative decoding by the server's `/metrics`: 1 + accepted tokens / steps, or the mean of \
             the server's own gauge",
            &format!("the server does not speculate or does not tell, or {ENGINE}"),
        );
        self.add(
            Group::Server,
            "server_weights_mb",
            Unit::Mebibytes,
            Better::Lower,
            "memory that the weights take on the server's devices by its `/metrics`, over all ranks",
            &untold,
        );
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
            "difference between the server's and the tokenizer's count over the answers that have both, as a share of the \
             larger one: that of the sums, or that of each answer less one token, summed, whichever is more",
            &format!("no answer has both counts, or {ENGINE}"),
        );
    }
}
