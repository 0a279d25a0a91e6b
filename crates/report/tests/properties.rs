//! Whatever the records are: no panic, no number that is not finite, every unknown with its reason.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use proptest::prelude::*;
use sagellm_core::{Arrival, Chunk, HttpFacts, Mode, OutcomeKind, Record, Stamp};
use sagellm_report::render::{Format, Look, render};
use sagellm_report::{Sample, WorkloadSummary, load, registry};
use support::*;

fn outcome() -> impl Strategy<Value = OutcomeKind> {
    use OutcomeKind::*;
    prop_oneof![
        4 => Just(Success),
        1 => prop::sample::select(vec![Refused, ServerError, Truncated, Connection, Empty, Timeout, Protocol, Censored]),
    ]
}

/// What HTTP adds, with all that a server may leave out or make up.
fn http() -> impl Strategy<Value = HttpFacts> {
    let counts = prop::array::uniform2(prop::option::of(0..9_u32));
    let times = prop::array::uniform4(prop::option::of(-5.0..50.0_f64));
    (prop::option::of(0..MS), counts, times, prop::option::of("[a-z`|]{0,3}"), 0..3_u32, 0..9_u32).prop_map(
        |(connect_ns, counts, times, answered_model, retries, content_chunks)| HttpFacts {
            connect_ns,
            usage_tokens: counts[0],
            tokenizer_tokens: counts[1],
            server_ttft_ms: times[0],
            server_queue_ms: times[1],
            server_prefill_ms: times[2],
            server_generation_ms: times[3],
            answered_model,
            retries,
            content_chunks,
            ..HttpFacts::default()
        },
    )
}

/// A record that `run` could have written: stamps in order, also all at once, and any number of tokens, also none.
fn record() -> impl Strategy<Value = Record> {
    let gaps = prop::collection::vec((0..3_u64, 1..4_u32), 0..6);
    (outcome(), 0..50_u64, 0..50_u64, gaps, 0..3_u64, any::<bool>(), prop::option::of(http())).prop_map(
        |(outcome, scheduled, wait, gaps, rest, ignore_eos, http)| {
            let sent = scheduled + wait;
            let mut at = sent;
            let chunks: Vec<Chunk> = gaps
                .into_iter()
                .map(|(gap, tokens)| {
                    at += gap;
                    let delay_ns = http.as_ref().map(|_| (gap * MS) as u32);
                    Chunk { at_ns: at * MS / 7, tokens, delay_ns, uncertainty_ns: 0 }
                })
                .collect();
            Record {
                scheduled_ns: scheduled * MS / 7,
                sent_ns: Some(sent * MS / 7),
                first_token_ns: chunks.first().map(|chunk| chunk.at_ns),
                last_token_ns: chunks.last().map(|chunk| chunk.at_ns),
                end_ns: (at + rest) * MS / 7,
                output_tokens: chunks.iter().map(|chunk| chunk.tokens).sum(),
                chunks,
                outcome,
                ignore_eos,
                stamp: if http.is_some() { Stamp::Kernel } else { Stamp::Engine },
                http,
                ..success(0, 0, 0, 0)
            }
        },
    )
}

fn summary() -> impl Strategy<Value = WorkloadSummary> {
    let arrivals = prop::sample::select(vec![Arrival::Immediate, Arrival::Gamma { rate: 10.0, burstiness: 0.5 }]);
    let cap = prop::option::of(1..8_u32);
    (prop::collection::vec(record(), 0..40), arrivals, cap, any::<bool>(), any::<bool>()).prop_map(
        |(mut records, arrival, cap, batch, closed)| {
            for (id, record) in records.iter_mut().enumerate() {
                record.id = id as u64;
            }
            let mut header = header("w", records.len() as u32);
            header.workload.arrival = arrival;
            header.workload.max_concurrency = cap;
            header.workload.mode = if batch { Mode::Batch } else { Mode::Traffic };
            let close = close();
            summarize(header, &records, closed.then_some(&close))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_key_has_a_finite_number_or_a_reason(summary in summary()) {
        let value = serde_json::to_value(&summary).unwrap();
        for metric in registry::all() {
            let figure = &value[&metric.key];
            let reason = value["reasons"].get(&metric.key);
            prop_assert!(figure.is_number() != reason.is_some(), "{}: {figure}, {reason:?}", metric.key);
            if let Some(reason) = reason {
                prop_assert!(!reason.as_str().unwrap().is_empty(), "{}", metric.key);
            }
        }
        for (key, interval) in &summary.details.intervals {
            prop_assert_eq!(interval.low.is_some(), interval.reason.is_none(), "{}", key);
            if let (Some(low), Some(high)) = (interval.low, interval.high) {
                prop_assert!(low.is_finite() && high.is_finite() && low <= high);
            }
        }
    }

    #[test]
    fn json_comes_back_as_it_went(summary in summary()) {
        let text = serde_json::to_string(&summary).unwrap();
        prop_assert!(!text.contains("NaN") && !text.contains(":inf") && !text.contains(":-inf"));
        prop_assert_eq!(serde_json::from_str::<WorkloadSummary>(&text).unwrap(), summary);
    }

    #[test]
    fn order_statistics_are_in_order(summary in summary()) {
        for quantity in ["ttft", "tbt", "tpot", "itl", "e2e"] {
            let keys = ["min", "p50", "p90", "p95", "p99", "p99.9", "max"].map(|stat| format!("{stat}_{quantity}_ms"));
            let values: Vec<f64> = keys.iter().filter_map(|key| summary.get(key)).collect();
            prop_assert!(values.is_sorted(), "{quantity}: {values:?}");
        }
    }

    #[test]
    fn any_numbers_in_a_record_are_taken_or_refused(
        stamps in prop::array::uniform5(prop::option::of(any::<u64>())),
        chunks in prop::collection::vec((any::<u64>(), 0..9_u32), 0..4),
        output_tokens: u32,
    ) {
        let record = Record {
            scheduled_ns: stamps[0].unwrap_or(0),
            sent_ns: stamps[1],
            first_token_ns: stamps[2],
            last_token_ns: stamps[3],
            end_ns: stamps[4].unwrap_or(u64::MAX),
            chunks: chunks.into_iter().map(|(at_ns, tokens)| Chunk { at_ns, tokens, delay_ns: None, uncertainty_ns: 0 }).collect(),
            output_tokens,
            ..success(0, 0, 0, 0)
        };
        let mut sample = Sample::new(header("w", 1)).unwrap();
        if sample.push(&record).is_ok() {
            let value = serde_json::to_value(sample.finish(Some(&close()))).unwrap();
            prop_assert!(value["avg_ttft_ms"].as_f64().is_none_or(f64::is_finite));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn every_format_renders(records in prop::collection::vec(record(), 0..20)) {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<Record> =
            records.into_iter().enumerate().map(|(id, record)| Record { id: id as u64, ..record }).collect();
        write_journal(folder.path(), header("w", 20), &records, Some(close()));
        let summary = load(folder.path()).unwrap();
        for format in Format::ALL.into_iter().filter(|format| *format != Format::Parquet) {
            let text = render(&summary, format, Look::default()).unwrap();
            prop_assert!(!text.contains("NaN"));
            if format == Format::Json {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}
