//! The entries of the registry.

mod answers;
mod host;
mod http;
mod objective;
mod stimulus;
mod warmup;

use crate::registry::{Better, Group, Metric, Stat, Unit, statistic};

/// A quantity of which every statistic is reported: its name in keys, its formula, and when a request has none.
struct Quantity {
    name: &'static str,
    formula: &'static str,
    undefined: &'static str,
}

const LATENCIES: [Quantity; 9] = [
    Quantity {
        name: "ttft",
        formula: "successful requests of f − a: time to the first token",
        undefined: "no successful request has a token",
    },
    Quantity {
        name: "tbt",
        formula: "successful requests of (l − f)/(n − n1): time between tokens after the first chunk; of an answer \
                  whose server tells only n, n1 = n/chunks. vLLM and SGLang call this TPOT",
        undefined: "every answer came in one chunk (n = n1)",
    },
    Quantity {
        name: "tpot",
        formula: "successful requests of (l − a)/n: time per output token, the first included; what vLLM and SGLang call TPOT is `tbt`",
        undefined: "no successful request has a token",
    },
    Quantity {
        name: "itl",
        formula: "the gaps between the chunks of all successful requests, pooled",
        undefined: "every answer came in one chunk",
    },
    Quantity {
        name: "itl_token",
        formula: "the same gaps, each shared equally among the tokens of the chunk that ends it",
        undefined: "every answer came in one chunk, or the server put several tokens into a chunk without saying how many",
    },
    Quantity {
        name: "e2e",
        formula: "successful requests of l − a: time to the last token",
        undefined: "no successful request has a token",
    },
    Quantity {
        name: "ttft_from_schedule",
        formula: "successful requests of f − s: time to the first token as a user felt it, waiting in the client included",
        undefined: "no successful request has a token, or the workload is a closed loop, which has no schedule",
    },
    Quantity {
        name: "tpot_from_schedule",
        formula: "successful requests of (l − s)/n",
        undefined: "no successful request has a token, or the workload is a closed loop, which has no schedule",
    },
    Quantity {
        name: "e2e_from_schedule",
        formula: "successful requests of l − s",
        undefined: "no successful request has a token, or the workload is a closed loop, which has no schedule",
    },
];

const DELAYS: [Quantity; 2] = [
    Quantity {
        name: "queue_client",
        formula: "sent requests of a − s: time that a request waited in the client",
        undefined: "nothing was sent, or the workload is a closed loop, which has no schedule",
    },
    Quantity {
        name: "schedule_lag",
        formula: "sent requests of a − s where no concurrency cap holds requests back (more than half of its places stayed \
                  free): how late the client was",
        undefined: "nothing was sent, or a concurrency cap holds requests back on purpose",
    },
];

/// All entries, by part of the report and then in the order of reading.
pub(crate) fn metrics() -> Vec<Metric> {
    let mut list = List(Vec::new());
    list.latencies();
    list.throughput();
    list.reliability();
    list.load();
    list.stimulus();
    list.objective();
    list.steady();
    list.memory();
    list.host();
    list.cache();
    list.engine();
    list.client();
    list.server();
    list.0
}

struct List(Vec<Metric>);

impl List {
    fn add(
        &mut self,
        group: Group,
        key: &str,
        unit: Unit,
        better: Better,
        definition: &str,
        undefined: &str,
    ) -> &mut Metric {
        let place = self.0.len();
        self.0.push(Metric {
            key: key.into(),
            unit,
            definition: definition.into(),
            undefined: undefined.into(),
            better,
            group,
            headline: false,
        });
        &mut self.0[place]
    }

    fn latencies(&mut self) {
        for quantity in LATENCIES {
            for stat in Stat::ALL {
                let undefined = match stat {
                    Stat::Std => format!("{}, or only one value exists", quantity.undefined),
                    _ => quantity.undefined.to_owned(),
                };
                let key = stat.key(quantity.name);
                let headline = match quantity.name {
                    "ttft" => matches!(key.as_str(), "avg_ttft_ms" | "p50_ttft_ms" | "p95_ttft_ms" | "p99_ttft_ms"),
                    "tbt" | "tpot" | "e2e" => stat == Stat::Avg,
                    _ => false,
                };
                let definition = statistic(stat, quantity.formula);
                self.add(Group::Latency, &key, Unit::Milliseconds, Better::Lower, &definition, &undefined).headline =
                    headline;
            }
        }
        self.visible();
        self.answers();
        self.inflated();
    }

    /// Percentiles over the failed requests too.
    fn inflated(&mut self) {
        let all = [("ttft", "f − a"), ("tbt", "(l − f)/(n − n1)"), ("tpot", "(l − a)/n"), ("e2e", "l − a")];
        for (name, of) in all {
            let formula = format!("{of} of the successful requests and of the failed ones, each of which took forever");
            for stat in Stat::INFLATED {
                let key = stat.key(&format!("{name}_inflated"));
                let undefined = "so many requests failed that the percentile lies among them, or none succeeded";
                self.add(
                    Group::Latency,
                    &key,
                    Unit::Milliseconds,
                    Better::Lower,
                    &statistic(stat, &formula),
                    undefined,
                );
            }
        }
    }

    fn throughput(&mut self) {
        let entries = [
            (
                "avg_throughput_tps",
                Unit::TokensPerSecond,
                "mean over successful requests of n/(l − a): the rate that one user sees",
                "no successful request took time for its tokens",
            ),
            (
                "request_throughput_rps",
                Unit::RequestsPerSecond,
                "successful requests / total_time_s",
                "the window has no length",
            ),
            (
                "input_throughput_tps",
                Unit::TokensPerSecond,
                "prompt tokens of successful requests / total_time_s",
                "the window has no length",
            ),
            (
                "output_throughput_tps",
                Unit::TokensPerSecond,
                "output tokens of successful requests / total_time_s",
                "the window has no length",
            ),
            (
                "total_throughput_tps",
                Unit::TokensPerSecond,
                "prompt and output tokens of successful requests / total_time_s",
                "the window has no length",
            ),
        ];
        for (key, unit, definition, undefined) in entries {
            self.add(Group::Throughput, key, unit, Better::Higher, definition, undefined).headline = true;
        }
        self.add(
            Group::Throughput,
            "peak_output_throughput_tps",
            Unit::TokensPerSecond,
            Better::Higher,
            "most output tokens of successful requests in one of the whole seconds since the workload began",
            "no successful request has a token",
        );
        self.add(
            Group::Throughput,
            "total_time_s",
            Unit::Seconds,
            Better::Lower,
            "the window: first sent to last end of the measured requests",
            "nothing was sent",
        );
    }

    fn reliability(&mut self) {
        const ALWAYS: &str = "never";
        let mut count = |key: &str, unit, better, definition: &str| {
            self.add(Group::Reliability, key, unit, better, definition, ALWAYS);
        };
        count(
            "total_requests",
            Unit::Requests,
            Better::Neither,
            "measured requests with a record, whatever became of them",
        );
        count(
            "successful_requests",
            Unit::Requests,
            Better::Higher,
            "requests whose whole answer came and ended properly",
        );
        count(
            "failed_requests",
            Unit::Requests,
            Better::Lower,
            "requests that failed; those cut off by the end of the run (`censored`) or never sent are not among them",
        );
        count("total_input_tokens", Unit::Tokens, Better::Neither, "prompt tokens of successful requests");
        count("total_output_tokens", Unit::Tokens, Better::Neither, "output tokens of successful requests");
        self.add(
            Group::Reliability,
            "error_rate",
            Unit::Share,
            Better::Lower,
            "failed_requests / total_requests",
            "there was no request",
        );
    }

    fn load(&mut self) {
        const NO_SPAN: &str = "no request took any time";
        self.add(
            Group::Load,
            "peak_concurrency",
            Unit::Requests,
            Better::Neither,
            "most measured requests between sent and end at one moment, exactly",
            NO_SPAN,
        );
        self.add(
            Group::Load,
            "avg_concurrency",
            Unit::MeanRequests,
            Better::Neither,
            "mean number of them over the window, weighed by time",
            NO_SPAN,
        );
        const UNTOLD: &str = "no chunk came, or the server put several tokens into a chunk without saying how many";
        for stat in Stat::ALL {
            let definition = statistic(stat, "the tokens per chunk of successful requests");
            let key = format!("{}_chunk_tokens", stat.prefix());
            let (unit, undefined) = match stat {
                Stat::Min | Stat::Max => (Unit::Tokens, UNTOLD),
                Stat::Std => {
                    (Unit::MeanTokens, "no chunk came, or only one did, or the server did not say what it holds")
                }
                Stat::Avg => (Unit::MeanTokens, "no chunk came"),
                Stat::Percentile(..) => (Unit::MeanTokens, UNTOLD),
            };
            self.add(Group::Load, &key, unit, Better::Neither, &definition, undefined);
        }
    }

    fn memory(&mut self) {
        const UNREAD: &str = "the memory of what is measured could not be read";
        let entries = [
            (
                "peak_mem_mb",
                "largest sample less the baseline: what running the workload took. A server's memory counts in full",
            ),
            ("avg_mem_mb", "mean of the samples less the baseline, a server's in full"),
            ("mem_baseline_mb", "memory of the idle process, before a model was loaded"),
            ("mem_peak_raw_mb", "largest sample, baseline included"),
            ("mem_avg_raw_mb", "mean of the samples, baseline included"),
        ];
        for (key, definition) in entries {
            self.add(Group::Memory, key, Unit::Mebibytes, Better::Lower, definition, UNREAD);
        }
    }

    fn cache(&mut self) {
        const UNTOLD: &str = "the backend does not tell, or the journal has no closing line";
        let entries = [
            (
                "kv_used_tokens",
                Unit::Tokens,
                Better::Neither,
                "most tokens held in the KV cache at one moment of the window",
            ),
            (
                "kv_used_bytes",
                Unit::Bytes,
                Better::Lower,
                "the same in bytes; of a vLLM that spreads over several GPUs, on one of them",
            ),
            ("kv_capacity_tokens", Unit::Tokens, Better::Neither, "tokens that the KV cache can hold"),
            (
                "prefix_hit_rate",
                Unit::Share,
                Better::Higher,
                "prompt tokens found in the prefix cache / prompt tokens looked up. Where a server's `/metrics` do not \
                 tell: cached tokens by the answers / prompt tokens of the answers that tell",
            ),
            ("evict_count", Unit::Count, Better::Lower, "KV blocks evicted; `evict_kind` says what is counted"),
            ("evict_ms", Unit::Milliseconds, Better::Lower, "time spent on evictions"),
            ("preemptions", Unit::Count, Better::Lower, "requests put back to be recomputed"),
            (
                "spec_accept_rate",
                Unit::Share,
                Better::Higher,
                "drafted tokens that were accepted / drafted tokens; 0 when speculative decoding is off; where a server tells no \
                 counts but a rate (SGLang), the mean of its readings while it speculates",
            ),
        ];
        for (key, unit, better, definition) in entries {
            let undefined = match key {
                "prefix_hit_rate" => "the backend does not tell, or no prompt token was looked up",
                _ => UNTOLD,
            };
            self.add(Group::Cache, key, unit, better, definition, undefined);
        }
    }

    fn engine(&mut self) {
        const UNTOLD: &str = "a server does not tell, or the journal has no closing line";
        let time = |part| (part, Unit::Milliseconds, Better::Lower);
        let entries = [
            (("engine_steps", Unit::Count, Better::Neither), "forward passes of the window, warm-up left out"),
            (
                ("engine_step_tokens", Unit::MeanTokens, Better::Higher),
                "tokens computed in a step, on average: of prompts, of answers, and drafted ones",
            ),
            (time("engine_attention_ms"), "time of all steps that attention took, writing to the KV cache included"),
            (time("engine_matmul_ms"), "time of all steps that products with weights took"),
            (time("engine_sampling_ms"), "time of all steps from logits to tokens that are sent"),
            (
                time("engine_scheduling_ms"),
                "time of all steps for choosing what to compute and putting away what has ended",
            ),
            (time("engine_other_ms"), "time of all steps for the rest: embedding, norms, positions, activations"),
        ];
        for ((key, unit, better), definition) in entries {
            self.add(Group::Engine, key, unit, better, definition, UNTOLD);
        }
    }

    fn client(&mut self) {
        for quantity in DELAYS {
            for stat in Stat::DELAY {
                let definition = statistic(stat, quantity.formula);
                let key = stat.key(quantity.name);
                self.add(Group::Client, &key, Unit::Milliseconds, Better::Lower, &definition, quantity.undefined);
            }
        }
        self.add(
            Group::Client,
            "client_cpu_percent",
            Unit::Percent,
            Better::Lower,
            "share of one core that this program used beside the engine's own work",
            "it cannot be told apart from the engine's work",
        );
        self.wire();
        self.warmup();
    }
}
