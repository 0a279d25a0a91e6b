//! Readings of a server's metrics over one window, summed up.

use sagellm_core::journal::Memory;
use sagellm_core::{BackendStats, Measured, Nanos, ServerSample, ServerWindow, ms};

use crate::server_metrics::{Counter, Dialect, Reading};

/// Samples that are kept. Once there are more, every second one is dropped and only every second one is taken: a long
/// run keeps its whole course at a coarser grain, and peaks are kept apart.
const MOST_SAMPLES: usize = 7200;

/// Share of the window that may be missing at its end when the last reading failed: it is what the figures may be off by.
const MOST_MISSING: f64 = 0.05;

/// A reading, or why there is none.
pub(crate) type Scrape = Result<Reading, String>;

/// What was read since the window began.
#[derive(Debug)]
pub(crate) struct Window {
    first: Scrape,
    last: Scrape,
    /// The last that succeeded.
    latest: Option<Reading>,
    /// When the last was taken, whether it succeeded or not.
    reached: Option<Nanos>,
    restarted: bool,
    samples: Vec<ServerSample>,
    /// One in so many readings is kept as a sample.
    stride: u64,
    readings: u64,
    peak_kv_tokens: Option<f64>,
    peak_memory: Option<f64>,
    memory_sum: f64,
    memory_readings: u64,
    /// Whether every reading said that speculative decoding is off.
    speculation_off: bool,
    /// Rates and lengths of the readings while it was at work.
    spec_sums: (f64, f64),
    spec_readings: u64,
}

impl Window {
    /// Begins with what is read before the first request.
    pub(crate) fn new(first: Scrape) -> Self {
        let mut window = Self {
            first: first.clone(),
            last: first.clone(),
            latest: None,
            reached: None,
            restarted: false,
            samples: Vec::new(),
            stride: 1,
            readings: 0,
            peak_kv_tokens: None,
            peak_memory: None,
            memory_sum: 0.0,
            memory_readings: 0,
            speculation_off: true,
            spec_sums: (0.0, 0.0),
            spec_readings: 0,
        };
        window.add(first);
        window
    }

    /// Takes the next one.
    pub(crate) fn add(&mut self, scrape: Scrape) {
        if let Ok(reading) = &scrape {
            self.restarted |= self.latest.as_ref().is_some_and(|before| was_restarted(before, reading));
            self.sum_up(&reading.sample);
            self.speculation_off &= reading.speculation_off;
            if let Some((rate, length)) = reading.spec_gauges.filter(|(_, length)| *length > 0.0) {
                self.spec_sums = (self.spec_sums.0 + rate, self.spec_sums.1 + length);
                self.spec_readings += 1;
            }
            self.latest = Some(reading.clone());
        }
        self.last = scrape;
    }

    /// Notes the time at which the last reading was taken or failed.
    pub(crate) fn reach(&mut self, at: Nanos) {
        self.reached = Some(at);
    }

    /// The reading that ends the window: the last, or, where that failed, the one before if hardly anything is missing
    /// then.
    fn end(&self) -> Result<&Reading, String> {
        let failed = match &self.last {
            Ok(last) => return Ok(last),
            Err(reason) => format!("when the window ended, {reason}"),
        };
        let latest = self.latest.as_ref().filter(|_| self.missing().is_some_and(|share| share <= MOST_MISSING));
        latest.ok_or(failed)
    }

    /// Share of the window that is missing when it ends with the latest reading.
    fn missing(&self) -> Option<f64> {
        let (first, latest, reached) = (self.first.as_ref().ok()?.at(), self.latest.as_ref()?.at(), self.reached?);
        (latest > first).then(|| reached.saturating_sub(latest) as f64 / (reached - first) as f64)
    }

    /// Says that the end is missing, where it is.
    fn cut(&self) -> Option<String> {
        let (reason, latest) = (self.last.as_ref().err()?, self.latest.as_ref()?);
        let early = ms(self.reached?.saturating_sub(latest.at()));
        self.end().ok()?;
        Some(format!("its counters end {early:.0} ms before the window, because {reason}"))
    }

    fn sum_up(&mut self, sample: &ServerSample) {
        let higher =
            |peak: Option<f64>, now: Option<f64>| now.map(|now| peak.map_or(now, |peak| peak.max(now))).or(peak);
        self.peak_kv_tokens = higher(self.peak_kv_tokens, sample.kv_used_tokens);
        self.peak_memory = higher(self.peak_memory, sample.memory_bytes);
        if let Some(bytes) = sample.memory_bytes {
            self.memory_sum += bytes;
            self.memory_readings += 1;
        }
        if self.readings.is_multiple_of(self.stride) {
            self.samples.push(sample.clone());
            if self.samples.len() > MOST_SAMPLES {
                let mut index = 0;
                self.samples.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.stride *= 2;
            }
        }
        self.readings += 1;
    }

    /// The figures of the window.
    pub(crate) fn stats(&self) -> BackendStats {
        let ends = match self.ends() {
            Ok(ends) => ends,
            Err(reason) => {
                let server = self.server(None, |_, _| Measured::unknown(&reason));
                return BackendStats { server, ..BackendStats::unknown(&reason) };
            }
        };
        let count = |counter| ends.delta(counter).map(whole);
        let (evict_count, evict_kind) = ends.evictions();
        let kv_used_tokens =
            self.peak_kv_tokens.map_or_else(|| ends.hidden("the tokens in its KV cache"), Measured::known);
        let capacity = self.latest.as_ref().and_then(|latest| latest.kv_capacity_tokens);
        let capacity_bytes = self.latest.as_ref().and_then(|latest| latest.kv_capacity_bytes);
        let kv_used_bytes = match (self.peak_kv_tokens, capacity, capacity_bytes) {
            (Some(peak), Some(tokens), Some(bytes)) if tokens > 0.0 => Measured::known(whole(peak / tokens * bytes)),
            _ => ends.hidden("the size of its KV cache in bytes"),
        };
        BackendStats {
            kv_used_tokens: kv_used_tokens.map(whole),
            kv_used_bytes,
            kv_capacity_tokens: capacity
                .map_or_else(|| ends.hidden("the capacity of its KV cache"), |tokens| Measured::known(whole(tokens))),
            prefix_lookup_tokens: ends.prefix_lookups().map(whole),
            prefix_hit_tokens: count(Counter::PrefixHits),
            evict_count,
            evict_kind,
            evict_ms: ends.delta(Counter::EvictSeconds).map(|seconds| seconds * 1e3),
            preemptions: count(Counter::Preemptions),
            spec_drafted_tokens: count(Counter::Drafted),
            spec_accepted_tokens: count(Counter::Accepted),
            steps: None,
            samples: Vec::new(),
            server: self.server(Some(&ends), |sum, count| ends.mean_ms(sum, count)),
        }
    }

    /// Resident memory of the server's process by its own word.
    pub(crate) fn memory(&self) -> Memory {
        const METRIC: &str = "process_resident_memory_bytes";
        let (peak_bytes, avg_bytes) = match self.peak_memory {
            Some(peak) => {
                (Measured::known(whole(peak)), Measured::known(self.memory_sum / self.memory_readings as f64))
            }
            None => {
                let reason = match &self.last {
                    Ok(_) => format!("the server does not expose `{METRIC}`"),
                    Err(reason) => reason.clone(),
                };
                (Measured::unknown(reason.clone()), Measured::unknown(reason))
            }
        };
        let samples = self.memory_readings;
        // Nothing is taken off: a server is counted whole.
        Memory { kind: METRIC.into(), samples, baseline_bytes: Measured::known(0), peak_bytes, avg_bytes }
    }

    /// What only a server tells, given how to make a mean; `None` when it never told anything.
    fn server(
        &self,
        ends: Option<&Ends<'_>>,
        mean: impl Fn(Counter, Counter) -> Measured<f64>,
    ) -> Option<ServerWindow> {
        let told = |sum: f64| (self.spec_readings > 0).then(|| sum / self.spec_readings as f64);
        let weights = |latest: &Reading| match (latest.weight_bytes, latest.dialect) {
            (Some(bytes), _) => Measured::known(bytes),
            (None, Some(dialect)) => Measured::unknown(format!("{} has no such metric", dialect.name())),
            (None, None) => Measured::unknown("the server's metrics are of no kind known here"),
        };
        self.latest.as_ref().map(|latest| ServerWindow {
            spec_accept_rate: told(self.spec_sums.0),
            spec_accept_length: match (told(self.spec_sums.1), ends) {
                (Some(length), _) => Measured::known(length),
                (None, Some(ends)) => ends.accept_length(),
                (None, None) => mean(Counter::Accepted, Counter::Drafts),
            },
            weight_bytes: weights(latest),
            ttft_ms: mean(Counter::TtftSum, Counter::TtftCount),
            queue_ms: mean(Counter::QueueSum, Counter::QueueCount),
            prefill_ms: mean(Counter::PrefillSum, Counter::PrefillCount),
            decode_ms: mean(Counter::DecodeSum, Counter::DecodeCount),
            restarted: self.restarted,
            cut: self.cut(),
            samples: self.samples.clone(),
        })
    }

    /// Both ends of the window, or why no difference can be taken.
    fn ends(&self) -> Result<Ends<'_>, String> {
        let first = self.first.as_ref().map_err(|reason| format!("when the window began, {reason}"))?;
        let last = self.end()?;
        match last.dialect {
            Some(dialect) => {
                let speculation_off = self.speculation_off;
                Ok(Ends { first, last, dialect, restarted: self.restarted, speculation_off })
            }
            None => Err("the server's metrics are of no kind known here".into()),
        }
    }
}

/// A counter that went down or away, or another time of start.
///
/// A server that exposes a counter only once there is something to count keeps it as long as it lives.
fn was_restarted(before: &Reading, after: &Reading) -> bool {
    let fell = |(counter, was): (&Counter, &f64)| after.counters.get(counter).is_none_or(|now| now < was);
    let moved = before.process_started.zip(after.process_started).is_some_and(|(was, now)| was != now);
    moved || before.counters.iter().any(fell)
}

struct Ends<'a> {
    first: &'a Reading,
    last: &'a Reading,
    dialect: Dialect,
    restarted: bool,
    speculation_off: bool,
}

impl Ends<'_> {
    /// How much was counted within the window.
    ///
    /// A counter that appeared within it began at zero: servers expose some only once there is something to count.
    fn delta(&self, counter: Counter) -> Measured<f64> {
        let (first, last) = (self.first.counters.get(&counter), self.last.counters.get(&counter));
        if self.restarted && first.or(last).is_some() {
            return Measured::unknown("the server was restarted within the window");
        }
        let Some(last) = last else {
            return match (self.dialect, counter, counter.names(self.dialect)) {
                (_, Counter::Drafts | Counter::Drafted | Counter::Accepted, _) if self.speculation_off => {
                    Measured::known(0.0)
                }
                (Dialect::Sglang, Counter::Drafts | Counter::Drafted | Counter::Accepted, _) => {
                    self.hidden("counts of speculative decoding, only the rate of the latest steps")
                }
                (Dialect::Vllm | Dialect::Lmdeploy, Counter::Drafts | Counter::Drafted | Counter::Accepted, _) => {
                    self.hidden("speculative decoding, which it may count only when that is on")
                }
                (Dialect::Sglang, Counter::PrefixHits, _) => self.hidden("any prompt token found in its prefix cache"),
                (_, _, [name, ..]) => Measured::unknown(format!("the server does not expose `{name}`")),
                (_, _, []) => Measured::unknown(format!("{} has no such metric", self.dialect.name())),
            };
        };
        Measured::known(last - first.copied().unwrap_or(0.0))
    }

    /// Difference of sums over difference of counts: the exact mean of what was counted within the window.
    fn mean_ms(&self, sum: Counter, count: Counter) -> Measured<f64> {
        let (sum, count) = (self.delta(sum), self.delta(count));
        match (sum.value, count.value) {
            (Some(sum), Some(count)) if count > 0.0 => Measured::known(sum / count * 1e3),
            (Some(_), Some(_)) => Measured::unknown("the server counted no request within the window"),
            _ => Measured { value: None, reason: sum.reason.or(count.reason) },
        }
    }

    /// Tokens per step of speculative decoding: those accepted, and the one that each step gives anyway.
    fn accept_length(&self) -> Measured<f64> {
        let (accepted, drafts) = (self.delta(Counter::Accepted), self.delta(Counter::Drafts));
        match (accepted.value, drafts.value) {
            (Some(accepted), Some(drafts)) if drafts > 0.0 => Measured::known(1.0 + accepted / drafts),
            (Some(_), Some(_)) => Measured::unknown("there was no step of speculative decoding within the window"),
            _ => Measured { value: None, reason: drafts.reason.or(accepted.reason) },
        }
    }

    fn prefix_lookups(&self) -> Measured<f64> {
        let misses = self.delta(Counter::PrefixMisses);
        match (misses.value, self.delta(Counter::PrefixHits).value) {
            (Some(misses), Some(hits)) => Measured::known(misses + hits),
            _ => self.delta(Counter::PrefixLookups),
        }
    }

    /// Evicted tokens where they are told, else requests that were put back, and which of the two it is.
    fn evictions(&self) -> (Measured<u64>, Option<String>) {
        let evicted = self.delta(Counter::EvictedTokens);
        if evicted.value.is_some() {
            return (evicted.map(whole), Some("evicted_tokens".into()));
        }
        let preemptions = self.delta(Counter::Preemptions);
        let kind = preemptions.value.is_some().then(|| "preemptions".into());
        (preemptions.map(whole), kind)
    }

    fn hidden<T>(&self, what: &str) -> Measured<T> {
        Measured::unknown(format!("{} does not expose {what}", self.dialect.name()))
    }
}

/// Counts come as floating-point numbers.
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::parse;

    fn scrape(text: &str, at_ns: u64) -> Scrape {
        Ok(Reading::new(&parse(text).unwrap(), at_ns))
    }

    fn between(first: &str, last: &str) -> BackendStats {
        let mut window = Window::new(scrape(first, 1));
        window.add(scrape(last, 2));
        window.stats()
    }

    fn captured(server: &str) -> BackendStats {
        let read =
            |name: &str| std::fs::read_to_string(format!("../../testdata/servers/{server}/{name}.prom")).unwrap();
        between(&read("metrics_before"), &read("metrics"))
    }

    fn near(value: &Measured<f64>, expected: f64) {
        let value = value.value.unwrap();
        assert!((value / expected - 1.0).abs() < 1e-9, "{value}, not {expected}");
    }

    #[test]
    fn vllm_in_a_real_window() {
        let stats = captured("vllm");
        assert_eq!(stats.kv_capacity_tokens, Measured::known(46592));
        assert_eq!(stats.prefix_lookup_tokens, Measured::known(10367));
        assert_eq!(stats.prefix_hit_tokens, Measured::known(8832));
        assert_eq!((stats.evict_count, stats.evict_kind), (Measured::known(0), Some("preemptions".into())));
        assert_eq!(stats.evict_ms, Measured::unknown("vLLM has no such metric"));
        assert_eq!((stats.spec_drafted_tokens, stats.spec_accepted_tokens), (Measured::known(0), Measured::known(0)));
        let server = stats.server.unwrap();
        near(&server.ttft_ms, 196.536_612_272_262_57 / 28.0 * 1e3);
        near(&server.queue_ms, 0.000_914_198_001_282_784_4 / 28.0 * 1e3);
        near(&server.prefill_ms, 158.079_792_400_995_76 / 28.0 * 1e3);
        near(&server.decode_ms, 440.178_767_607_001_65 / 28.0 * 1e3);
        assert!(!server.restarted);
        assert_eq!(server.samples.iter().map(|sample| sample.at_ns).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn sglang_in_a_real_window() {
        let stats = captured("sglang");
        assert_eq!(stats.kv_capacity_tokens, Measured::known(16384));
        assert_eq!(stats.prefix_hit_tokens, Measured::known(9443), "the counter appeared within the window");
        assert_eq!(stats.evict_count.value, None);
        assert_eq!(stats.evict_kind, None);
        assert_eq!(
            stats.evict_ms,
            Measured::unknown("the server does not expose `sglang:eviction_duration_seconds_sum`")
        );
        let server = stats.server.unwrap();
        near(&server.ttft_ms, 139.493_527_918_996_73 / 29.0 * 1e3);
        near(&server.queue_ms, (0.033_316_156_995_169_88 - 0.004_972_127_999_280_929) / 30.0 * 1e3);
        assert_eq!(server.prefill_ms, Measured::unknown("SGLang has no such metric"));
        assert_eq!(server.weight_bytes, Measured::known(0.157_459_259_033_203_12 * f64::from(1 << 30)));
        assert_eq!((stats.spec_drafted_tokens, server.spec_accept_rate), (Measured::known(0), None), "it is off");
    }

    #[test]
    fn llamacpp_in_a_real_window() {
        let stats = captured("llama-server");
        assert_eq!(stats.prefix_hit_tokens, Measured::known(8565));
        assert_eq!(stats.prefix_lookup_tokens, Measured::known(1801 + 8565), "its prompt tokens exclude cached ones");
        assert_eq!((stats.spec_drafted_tokens, stats.spec_accepted_tokens), (Measured::known(0), Measured::known(0)));
        assert_eq!(stats.kv_used_tokens, Measured::unknown("llama.cpp does not expose the tokens in its KV cache"));
        assert_eq!(stats.server.unwrap().ttft_ms, Measured::unknown("llama.cpp has no such metric"));
    }

    #[test]
    fn the_peak_of_the_kv_cache_is_the_highest_reading_and_its_bytes_follow() {
        let info = "vllm:cache_config_info{kv_cache_size_tokens=\"1000\",kv_cache_memory_bytes=\"64000\"} 1\n";
        let mut window = Window::new(scrape(&format!("{info}vllm:kv_cache_usage_perc 0.1"), 0));
        window.add(scrape(&format!("{info}vllm:kv_cache_usage_perc 0.7"), 1));
        window.add(Err("`/metrics` timed out".into()));
        window.add(scrape(&format!("{info}vllm:kv_cache_usage_perc 0.2"), 3));
        let stats = window.stats();
        assert_eq!((stats.kv_used_tokens, stats.kv_used_bytes), (Measured::known(700), Measured::known(44800)));
        assert_eq!(stats.server.unwrap().samples.len(), 3);
    }

    #[test]
    fn evicted_tokens_are_preferred_to_requests_put_back() {
        let text = |tokens, requests| {
            format!("sglang:evicted_tokens_total {tokens}\nsglang:num_retracted_requests_total {requests}\n")
        };
        let stats = between(&text(10, 1), &text(50, 3));
        assert_eq!((stats.evict_count, stats.evict_kind), (Measured::known(40), Some("evicted_tokens".into())));
        assert_eq!(stats.preemptions, Measured::known(2));
    }

    #[test]
    fn speculative_decoding_is_told_by_counts_or_by_gauges() {
        let vllm = |drafts: u32| {
            format!(
                "vllm:kv_cache_usage_perc 0\nvllm:spec_decode_num_drafts_total {drafts}\n\
                 vllm:spec_decode_num_draft_tokens_total {}\nvllm:spec_decode_num_accepted_tokens_total {}\n",
                drafts * 4,
                drafts * 3
            )
        };
        let stats = between(&vllm(10), &vllm(30));
        assert_eq!((stats.spec_drafted_tokens, stats.spec_accepted_tokens), (Measured::known(80), Measured::known(60)));
        assert_eq!(stats.server.unwrap().spec_accept_length, Measured::known(4.0));

        let sglang =
            |rate: f64, length: f64| format!("sglang:spec_accept_rate {rate}\nsglang:spec_accept_length {length}\n");
        let mut window = Window::new(scrape(&sglang(0.0, 0.0), 0));
        window.add(scrape(&sglang(0.5, 2.5), 1));
        window.add(scrape(&sglang(0.75, 3.5), 2));
        let stats = window.stats();
        let server = stats.server.unwrap();
        assert_eq!((server.spec_accept_rate, server.spec_accept_length), (Some(0.625), Measured::known(3.0)));
        let reason = "SGLang does not expose counts of speculative decoding, only the rate of the latest steps";
        assert_eq!(stats.spec_drafted_tokens, Measured::unknown(reason));

        let llama = |drafts: u32| {
            format!(
                "llamacpp:spec_decode_num_drafts_total {drafts}\nllamacpp:spec_decode_num_accepted_tokens_total {}\n",
                drafts * 2
            )
        };
        assert_eq!(between(&llama(10), &llama(30)).server.unwrap().spec_accept_length, Measured::known(3.0));

        let old = "vllm:gpu_cache_usage_perc 0.5\n";
        let reason = "vLLM does not expose speculative decoding, which it may count only when that is on";
        assert_eq!(between(old, old).spec_drafted_tokens, Measured::unknown(reason));
    }

    #[test]
    fn a_restart_shows_even_when_the_counters_have_caught_up() {
        let text = |value| format!("vllm:prefix_cache_hits_total {value}\nvllm:kv_cache_usage_perc 0.5\n");
        let mut window = Window::new(scrape(&text(10), 0));
        window.add(Err("connection refused".into()));
        window.add(scrape(&text(3), 2));
        window.add(scrape(&text(30), 3));
        let stats = window.stats();
        assert!(stats.server.unwrap().restarted);
        assert_eq!(stats.prefix_hit_tokens, Measured::unknown("the server was restarted within the window"));

        let text = |start| format!("vllm:prefix_cache_hits_total 1\nprocess_start_time_seconds {start}\n");
        assert!(between(&text(1), &text(2)).server.unwrap().restarted, "by the time of start");
        assert!(!between(&text(2), &text(2)).server.unwrap().restarted);
    }

    #[test]
    fn a_restart_shows_by_counters_that_are_gone_until_they_are_used_again() {
        let gauge = "sglang:token_usage 0.5\n";
        let used = |value| Some(format!("{gauge}sglang:cached_tokens_total {value}\n"));
        // Lower than before, as high again, and not yet there when the window ends.
        for ends in [used(50), used(1500), None] {
            let mut window = Window::new(scrape(&used(1000).unwrap(), 0));
            window.add(scrape(gauge, 1));
            window.add(scrape(&ends.unwrap_or_else(|| gauge.into()), 2));
            let stats = window.stats();
            assert!(stats.server.unwrap().restarted);
            assert_eq!(stats.prefix_hit_tokens, Measured::unknown("the server was restarted within the window"));
        }
        let stats = between(gauge, &used(50).unwrap());
        assert_eq!(stats.prefix_hit_tokens, Measured::known(50), "it is used for the first time");
        assert!(!stats.server.unwrap().restarted);
    }

    #[test]
    fn no_difference_is_taken_without_both_ends() {
        let mut window = Window::new(Err("`/metrics` answered 404".into()));
        let stats = window.stats();
        assert_eq!(stats.kv_used_tokens, Measured::unknown("when the window began, `/metrics` answered 404"));
        assert_eq!(stats.server, None);
        window.add(scrape("vllm:kv_cache_usage_perc 0.5", 1));
        window.add(Err("the connection was refused".into()));
        assert_eq!(window.stats().prefix_hit_tokens.reason.unwrap(), "when the window began, `/metrics` answered 404");

        let mut window = Window::new(scrape("vllm:kv_cache_usage_perc 0.5", 1));
        window.add(Err("the connection was refused".into()));
        let stats = window.stats();
        assert_eq!(stats.evict_count.reason.unwrap(), "when the window ended, the connection was refused");
        assert_eq!(stats.server.unwrap().samples.len(), 1, "what was read is kept");
    }

    #[test]
    fn a_last_reading_that_fails_costs_little_where_one_is_near() {
        let seconds = 1_000_000_000;
        let text = |count: u32| format!("vllm:num_preemptions_total {count}\n");
        let ended = |last_at: u64| {
            let mut window = Window::new(scrape(&text(1), 0));
            window.add(scrape(&text(5), last_at));
            window.add(Err("`/metrics` timed out".into()));
            window.reach(20 * seconds);
            window.stats()
        };
        let near = ended(19 * seconds);
        assert_eq!(near.preemptions, Measured::known(4));
        let cut = near.server.unwrap().cut.unwrap();
        assert_eq!(cut, "its counters end 1000 ms before the window, because `/metrics` timed out");
        let far = ended(18 * seconds);
        assert_eq!(far.preemptions, Measured::unknown("when the window ended, `/metrics` timed out"));
        assert_eq!(far.server.unwrap().cut, None);
    }

    #[test]
    fn a_mean_of_no_request_is_unknown() {
        let text = "vllm:time_to_first_token_seconds_sum 4\nvllm:time_to_first_token_seconds_count 2\n";
        let mean = between(text, text).server.unwrap().ttft_ms;
        assert_eq!(mean, Measured::unknown("the server counted no request within the window"));
    }

    #[test]
    fn the_servers_memory_is_its_own_word() {
        let mut window = Window::new(scrape("process_resident_memory_bytes 100", 0));
        window.add(scrape("process_resident_memory_bytes 300", 1));
        let memory = window.memory();
        assert_eq!((memory.peak_bytes, memory.avg_bytes), (Measured::known(300), Measured::known(200.0)));
        assert_eq!((memory.samples, memory.kind.as_str()), (2, "process_resident_memory_bytes"));
        let none = Window::new(scrape("up 1", 0)).memory();
        assert_eq!(none.peak_bytes.reason.unwrap(), "the server does not expose `process_resident_memory_bytes`");
    }

    #[test]
    fn a_long_run_keeps_its_course_in_bounded_memory() {
        let mut window = Window::new(scrape("vllm:num_requests_running 0", 0));
        for at in 1..40_000 {
            window.add(scrape("vllm:num_requests_running 1", at));
        }
        let samples = window.stats().server.unwrap().samples;
        assert!((MOST_SAMPLES / 2..=MOST_SAMPLES).contains(&samples.len()), "{}", samples.len());
        let gaps: Vec<_> = samples.windows(2).map(|pair| pair[1].at_ns - pair[0].at_ns).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "evenly spaced");
        assert!(samples[0].at_ns == 0 && samples.last().unwrap().at_ns > 39_980);
    }
}
