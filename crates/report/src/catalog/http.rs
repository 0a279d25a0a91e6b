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
            ("merged_chunks", "chunks that were read together with later bytes, so that their time is an interval"),
            (
                "held_back_chunks",
                "chunks that came behind a gap in the stream of bytes: the time of the read counts for them, since nobody \
                 could read them when the kernel stamped them",
            ),
            ("out_of_order_segments", "TCP segments of answers that came out of order: others were lost or overtaken"),
            ("retransmitted_segments", "TCP segments of requests that were transmitted again"),
            ("retries", "times that a request was sent again"),
            (
                "stale_connections",
                "retries because the server had closed the idle connection before the request could have reached it",
            ),
        ];
        for (key, definition) in counts {
            self.add(Group::Client, key, Unit::Count, Better::Lower, definition, ENGINE);
        }
        self.uncertainty();
        self.stalls();
    }

    /// What reading late costs.
    fn uncertainty(&mut self) {
        let none = format!("no request succeeded, or {ENGINE}");
        let widths = "the time within which its first token came: from when the connection was last empty to the stamp where \
                      chunks were read together, else 0";
        let times = [
            ("ttft_uncertainty_ms", format!("mean over successful requests of {widths}")),
            ("p99_ttft_uncertainty_ms", format!("99th percentile over successful requests of {widths}")),
            (
                "tbt_uncertainty_ms",
                "mean over successful requests of the widths for first and last token, over n − n1".to_owned(),
            ),
        ];
        for (key, definition) in times {
            self.add(Group::Client, key, Unit::Milliseconds, Better::Lower, &definition, &none);
        }
        let shares = [
            ("uncertain_first_tokens", "share of first tokens whose time is an interval"),
            ("uncertain_gaps", "share of gaps between chunks of which an end is an interval"),
        ];
        for (key, definition) in shares {
            self.add(Group::Client, key, Unit::Share, Better::Lower, definition, &none);
        }
    }

    /// When the client did not run.
    fn stalls(&mut self) {
        let none = "the journal has no closing line, or the program that wrote it did not watch for this";
        let times = [
            ("client_stall_ms", "time for which the sending thread ran more than 10 ms late, in sum"),
            ("max_client_stall_ms", "the longest of these times"),
            ("journal_wait_ms", "time for which the sending thread waited for the journal to be written"),
            ("suspended_ms", "time for which the machine was suspended during the run"),
        ];
        for (key, definition) in times {
            self.add(Group::Client, key, Unit::Milliseconds, Better::Lower, definition, none);
        }
        let none = "the load is not a closed loop, or nothing was sent";
        let definition = "requests of the time from when their slot of a closed loop became free until they were sent";
        self.add(
            Group::Client,
            "avg_slot_refill_ms",
            Unit::Milliseconds,
            Better::Lower,
            &format!("mean over all {definition}"),
            none,
        );
        self.add(
            Group::Client,
            "max_slot_refill_ms",
            Unit::Milliseconds,
            Better::Lower,
            &format!("largest over all {definition}"),
            none,
        );
        let definition = "share of the time of all slots of a closed loop, from the first request sent to the last end, in which \
                          they waited for the client to refill them";
        self.add(Group::Client, "empty_slot_share", Unit::Share, Better::Lower, definition, none);
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
            (
                "tokenizer_output_tokens",
                "the same by the tokenizer, over the text that came; where the server counts as well, only a sample of the \
                 answers is counted (the first 64 requests and every 16th)",
            ),
        ];
        for (key, definition) in counts {
            let undefined = format!("a successful answer was not counted so, or {ENGINE}");
            self.add(Group::Server, key, Unit::Tokens, Better::Neither, definition, &undefined);
        }
        let undefined = format!("no request succeeded, or {ENGINE}");
        let definition = "successful answers that both the server and the tokenizer counted";
        self.add(Group::Server, "checked_token_counts", Unit::Count, Better::Neither, definition, &undefined);
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
