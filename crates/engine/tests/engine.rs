//! The engine as its users see it: requests in, events out.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sagellm_core::{
    Backend, Clock, End, Event, EventKind, FinishReason, NoProgress, OutcomeKind, Prompt, Request, Sampling, UserError,
    event_channel,
};
use sagellm_engine::{CpuEngine, EngineOptions, likelihood};
use sagellm_model::{Model, OpenOptions};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Expected {
    prompts: Vec<ExpectedPrompt>,
}

#[derive(Deserialize)]
struct ExpectedPrompt {
    tokens: Vec<u32>,
    greedy: Vec<u32>,
    logits_last: Vec<f32>,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(name)
}

fn expected(name: &str) -> Vec<ExpectedPrompt> {
    let text = std::fs::read(folder(name).join("expected.json")).unwrap();
    serde_json::from_slice::<Expected>(&text).unwrap().prompts
}

fn model(spec: &str) -> Model {
    sagellm_model::open(spec, &OpenOptions::default(), &NoProgress).unwrap()
}

fn options() -> EngineOptions {
    EngineOptions {
        threads: 2,
        isa: None,
        dtype: None,
        kv_cache_tokens: 4096,
        max_num_batched_tokens: 256,
        max_num_seqs: 64,
        prefix_caching: true,
        draft_tokens: 0,
        stream_text: false,
    }
}

fn start(name: &str, options: &EngineOptions) -> CpuEngine {
    CpuEngine::start(model(folder(name).to_str().unwrap()), options, Clock::start(), &NoProgress).unwrap()
}

fn request(id: u64, tokens: &[u32], max_tokens: u32) -> Request {
    Request {
        id,
        offset_ns: 0,
        session: None,
        prompt: Prompt::tokenized(String::new(), tokens.to_vec()),
        max_tokens,
        sampling: Sampling::default(),
        ignore_eos: true,
        keep_answer: false,
    }
}

/// Fingerprint of output tokens, spelled out independently of the engine.
fn digest(tokens: &[u32]) -> String {
    let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
    let hex: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    hex[..16].to_owned()
}

/// Sends all requests at once and collects their events until each has ended.
fn run(engine: &CpuEngine, requests: Vec<Request>) -> BTreeMap<u64, Vec<Event>> {
    let (sink, mut events) = event_channel();
    let mut open = requests.len();
    for request in requests {
        engine.submit(Arc::new(request), &sink).unwrap();
    }
    let mut seen: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
    while open > 0 {
        let event = events.next_within(Duration::from_secs(120)).expect("the engine answers");
        open -= usize::from(matches!(event.kind, EventKind::End(_)));
        seen.entry(event.request).or_default().push(event);
    }
    seen
}

fn end_of(events: &[Event]) -> &End {
    match &events.last().unwrap().kind {
        EventKind::End(end) => end,
        other => panic!("not an end: {other:?}"),
    }
}

fn digest_of(events: &[Event]) -> String {
    let end = end_of(events);
    assert_eq!(end.outcome, OutcomeKind::Success, "{:?}", end.reason);
    end.output_digest.clone().unwrap()
}

fn digests(engine: &CpuEngine, requests: Vec<Request>) -> Vec<String> {
    run(engine, requests).values().map(|events| digest_of(events)).collect()
}

#[test]
fn ragged_requests_together_give_the_reference_tokens() {
    for name in ["gpt2", "opt", "opt-350m-style", "llama", "mistral", "qwen2", "qwen3"] {
        let prompts = expected(name);
        let want: Vec<String> = prompts.iter().map(|p| digest(&p.greedy)).collect();
        let requests = || prompts.iter().zip(0..).map(|(p, id)| request(id, &p.tokens, 32)).collect::<Vec<_>>();
        // In one step, in chunks that no block divides, and without prefix reuse.
        for (budget, prefix_caching) in [(256, true), (7, true), (256, false)] {
            let settings = EngineOptions { max_num_batched_tokens: budget, prefix_caching, ..options() };
            assert_eq!(digests(&start(name, &settings), requests()), want, "{name}, budget {budget}");
        }
        // One by one, in one engine.
        let engine = start(name, &options());
        let alone: Vec<String> = requests().into_iter().flat_map(|r| digests(&engine, vec![r])).collect();
        assert_eq!(alone, want, "{name}, one by one");
    }
}

#[test]
fn events_come_in_order_and_are_stamped_in_order() {
    let engine = start("llama", &options());
    let prompts = expected("llama");
    for events in run(&engine, prompts.iter().zip(0..).map(|(p, id)| request(id, &p.tokens, 9)).collect()).values() {
        assert!(events.is_sorted_by_key(|e| e.at));
        assert!(matches!(events[0].kind, EventKind::Sent));
        let chunks = events.iter().filter(|e| matches!(&e.kind, EventKind::Chunk(piece) if piece.tokens == 1)).count();
        assert_eq!((chunks, events.len()), (9, 11), "each token has an event of its own");
        let end = end_of(events);
        assert_eq!((end.finish_reason, end.output_tokens), (Some(FinishReason::Length), 9));
        assert!(end.input_tokens.is_some());
    }
}

/// Ten ragged requests that share a beginning.
fn ten(max_tokens: u32) -> Vec<Request> {
    let shared: Vec<u32> = (0..32).map(|i| i * 5 % 250).collect();
    (0..10)
        .map(|id| {
            let own = (0..20 + 3 * id as u32).map(|i| (i * 7 + 13 * id as u32) % 250);
            request(id, &shared.iter().copied().chain(own).collect::<Vec<_>>(), max_tokens)
        })
        .collect()
}

#[test]
fn a_short_cache_evicts_and_loses_nothing() {
    let roomy = start("llama", &EngineOptions { prefix_caching: false, ..options() });
    let want = digests(&roomy, ten(40));
    assert_eq!(roomy.window().evict_count.value, Some(0));
    // Room for about three of the ten.
    let tight = start("llama", &EngineOptions { kv_cache_tokens: 384, max_num_batched_tokens: 48, ..options() });
    let seen = run(&tight, ten(40));
    let got: Vec<String> = seen.values().map(|events| digest_of(events)).collect();
    assert_eq!(got, want);
    let stats = tight.window();
    assert!(stats.preemptions.value.unwrap() > 0 && stats.evict_count.value.unwrap() > 0, "{stats:?}");
    assert!(stats.kv_used_tokens.value.unwrap() <= 384);
    let told = seen.values().flatten().filter(|e| matches!(e.kind, EventKind::Preempted)).count() as u64;
    assert_eq!(Some(told), stats.preemptions.value);
}

#[test]
fn a_shared_prefix_is_computed_once() {
    let engine = start("llama", &options());
    engine.begin_window();
    let seen = run(&engine, ten(4));
    let stats = engine.window();
    let prompts: u64 = ten(4).iter().map(|r| r.prompt.token_ids.as_ref().unwrap().len() as u64).sum();
    assert_eq!(stats.prefix_lookup_tokens.value, Some(prompts));
    // Both full blocks of the 32 shared tokens, for all but the first.
    assert_eq!(stats.prefix_hit_tokens.value, Some(9 * 32));
    let cached: Vec<_> = seen.values().map(|events| end_of(events).cached_tokens.unwrap()).collect();
    assert_eq!(cached.iter().filter(|&&c| c == 32).count(), 9);
    // A new window starts cold.
    engine.begin_window();
    run(&engine, vec![ten(4).remove(0)]);
    assert_eq!(engine.window().prefix_hit_tokens.value, Some(0));
}

#[test]
fn cache_use_is_counted_to_the_token() {
    let engine = start("llama", &EngineOptions { prefix_caching: false, ..options() });
    engine.begin_window();
    run(&engine, vec![request(0, &[1; 20], 10)]);
    let stats = engine.window();
    // The last token is chosen but never computed: 20 + 10 − 1.
    assert_eq!(stats.kv_used_tokens.value, Some(29));
    // It is told over time, too, from the prompt on, which is read first, to the end, which is always read.
    let used: Vec<f64> = stats.samples.iter().filter_map(|sample| sample.kv_used_tokens).collect();
    let running: Vec<f64> = stats.samples.iter().filter_map(|sample| sample.running).collect();
    assert_eq!((used[0], running[0]), (20.0, 1.0));
    assert_eq!((used.last(), running.last()), (Some(&0.0), Some(&0.0)));
    assert!(used.iter().all(|tokens| *tokens <= 29.0), "{used:?}");
    assert!(stats.samples.is_sorted_by_key(|sample| sample.at_ns));
    // Two blocks; a token takes layers × 2 × kv heads × head_dim × 4 bytes.
    let config = model(folder("llama").to_str().unwrap()).config;
    let token = config.num_layers * 2 * config.num_kv_heads * config.head_dim * 4;
    assert_eq!(stats.kv_used_bytes.value, Some(2 * 16 * token as u64));
    assert_eq!(stats.kv_capacity_tokens.value, Some(4096));
}

#[test]
fn requests_that_cannot_be_served_are_refused_with_a_reason() {
    let engine = start("llama", &EngineOptions { kv_cache_tokens: 64, ..options() });
    let context = u32::try_from(model(folder("llama").to_str().unwrap()).config.context_length).unwrap();
    let cases = [
        (request(0, &[], 4), "no tokens"),
        (request(1, &[1, 2], 0), "no output tokens"),
        (request(2, &[1, 999_999], 4), "vocabulary"),
        (request(3, &[1, 2], context), "context"),
        (request(4, &[1; 60], 8), "KV cache of 64"),
    ];
    for (request, word) in cases {
        let seen = run(&engine, vec![request]);
        let End { outcome, reason, .. } = end_of(&seen[&seen.keys().next().copied().unwrap()]);
        assert_eq!(*outcome, OutcomeKind::Refused);
        assert!(reason.as_ref().unwrap().contains(word), "{reason:?} should speak of {word}");
    }
}

#[test]
fn memory_that_nobody_has_is_refused_and_not_asked_for() {
    let most = usize::MAX >> 16;
    for (settings, word) in [
        (EngineOptions { kv_cache_tokens: most, ..options() }, "--kv-cache-tokens"),
        (EngineOptions { max_num_batched_tokens: most, max_num_seqs: most, ..options() }, "--max-num-batched-tokens"),
    ] {
        let model = model(folder("llama").to_str().unwrap());
        let Err(error) = CpuEngine::start(model, &settings, Clock::start(), &NoProgress) else {
            panic!("{word} is refused")
        };
        assert!(error.hint().is_some_and(|hint| hint.contains(word)), "{error}");
    }
}

#[test]
fn a_cancelled_request_ends_and_frees_its_blocks() {
    let engine = start("llama", &options());
    let (sink, mut events) = event_channel();
    engine.submit(Arc::new(request(1, &[1; 30], 900)), &sink).unwrap();
    loop {
        let event = events.next_within(Duration::from_secs(60)).unwrap();
        if matches!(event.kind, EventKind::Chunk(_)) {
            engine.cancel(1);
            break;
        }
    }
    let last = std::iter::from_fn(|| events.next_within(Duration::from_secs(60)).ok())
        .find(|e| matches!(e.kind, EventKind::End(_)))
        .expect("an end follows");
    let EventKind::End(end) = last.kind else { unreachable!() };
    assert_eq!(end.outcome, OutcomeKind::Censored);
    assert!(end.output_tokens < 900);
    // An unknown request is nothing to cancel; the engine still answers.
    engine.cancel(77);
    assert_eq!(run(&engine, vec![request(2, &[1, 2, 3], 2)]).len(), 1);
}

#[test]
fn an_end_of_sequence_token_stops_only_when_asked() {
    let reference = &expected("llama")[1];
    let mut model = model(folder("llama").to_str().unwrap());
    model.config.eos_token_ids = vec![reference.greedy[3]];
    let first = reference.greedy.iter().position(|t| *t == reference.greedy[3]).unwrap();
    let engine = CpuEngine::start(model, &options(), Clock::start(), &NoProgress).unwrap();
    let stopping = Request { ignore_eos: false, ..request(0, &reference.tokens, 32) };
    let seen = run(&engine, vec![stopping, request(1, &reference.tokens, 32)]);
    let end = end_of(&seen[&0]);
    assert_eq!((end.finish_reason, end.output_tokens), (Some(FinishReason::Stop), first as u32 + 1));
    assert_eq!(digest_of(&seen[&1]), digest(&reference.greedy));
}

#[test]
fn sampled_tokens_depend_on_the_seed_alone() {
    let sampled = |id: u64, seed| Request {
        sampling: Sampling { temperature: 1.0, top_p: 0.95, top_k: 40, seed },
        ..request(id, &[5, 6, 7, 8], 24)
    };
    let engine = start("llama", &options());
    let together = digests(&engine, (0..6).map(|id| sampled(id, id % 3)).collect());
    assert_eq!(together[..3], together[3..], "same seed, same tokens");
    assert_ne!(together[0], together[1]);
    assert_eq!(digests(&engine, vec![sampled(9, 1)]), together[1..2], "alone as in company");
}

#[test]
fn text_is_streamed_when_asked() {
    let engine = start("llama", &EngineOptions { stream_text: true, ..options() });
    let seen = run(&engine, vec![request(0, &[1, 2, 3], 3)]);
    let texts = seen[&0].iter().filter(|e| matches!(&e.kind, EventKind::Chunk(piece) if piece.text.is_some())).count();
    assert_eq!(texts, 3);
}

#[test]
fn drafts_change_how_many_steps_it_takes_and_no_token() {
    for name in ["gpt2", "opt", "llama", "qwen3"] {
        let prompts = expected(name);
        let want: Vec<String> = prompts.iter().map(|p| digest(&p.greedy)).collect();
        let requests = || prompts.iter().zip(0..).map(|(p, id)| request(id, &p.tokens, 32)).collect::<Vec<_>>();
        // With a budget that leaves drafts hardly any room, too.
        for budget in [256, 9] {
            let settings = EngineOptions { draft_tokens: 8, max_num_batched_tokens: budget, ..options() };
            assert_eq!(digests(&start(name, &settings), requests()), want, "{name}, budget {budget}");
        }
    }
}

#[test]
fn a_repetitive_answer_is_drafted() {
    let steps_of = |draft_tokens| {
        let engine = start("llama", &EngineOptions { draft_tokens, ..options() });
        engine.begin_window();
        let tokens: Vec<u32> = (0..60).map(|i| 7 + i % 5).collect();
        let seen = run(&engine, vec![request(0, &tokens, 200)]);
        assert_eq!(end_of(&seen[&0]).output_tokens, 200);
        let stats = engine.window();
        let steps = stats.steps.unwrap();
        let (drafted, accepted) = (stats.spec_drafted_tokens.value.unwrap(), stats.spec_accepted_tokens.value.unwrap());
        // Every token of the answer but the last is computed once, and what was drafted in vain beside them.
        assert_eq!(steps.tokens, 60 + 199 + drafted - accepted);
        assert!(steps.matmul_ms > 0.0 && steps.attention_ms > 0.0 && steps.sampling_ms > 0.0, "{steps:?}");
        assert!(steps.scheduling_ms > 0.0 && steps.other_ms > 0.0, "{steps:?}");
        (digest_of(&seen[&0]), steps.steps, drafted, accepted)
    };
    let (plain, steps, drafted, _) = steps_of(0);
    assert_eq!((steps, drafted), (200, 0));
    let (with_drafts, steps, drafted, accepted) = steps_of(8);
    assert_eq!(with_drafts, plain);
    assert!(accepted <= drafted && steps == 200 - accepted, "{steps} steps, {accepted} of {drafted}");
    assert!(accepted > 100, "a random model repeats itself: {accepted} of {drafted}");
}

#[test]
fn likelihoods_are_those_of_the_reference_logits() {
    for name in ["gpt2", "llama"] {
        let model = model(folder(name).to_str().unwrap());
        for prompt in expected(name) {
            let nats = |tokens: &[u32]| likelihood(&model, None, None, 1, &[tokens]).unwrap();
            let with = |token: u32| nats(&[&prompt.tokens[..], &[token]].concat());
            let (a, b) = (5, 77);
            assert_eq!(with(a).tokens, prompt.tokens.len());
            // All but the last token is the same, and so is the sum over the vocabulary.
            let want = f64::from(prompt.logits_last[b as usize] - prompt.logits_last[a as usize]);
            assert!((with(a).nats - with(b).nats - want).abs() < 1e-4 * want.abs().max(1.0), "{name}");
        }
        // Over the whole vocabulary, probabilities add up to one.
        let vocab = u32::try_from(model.config.vocab_size).unwrap();
        let sum: f64 = (0..vocab).map(|id| (-likelihood(&model, None, None, 1, &[&[3, id]]).unwrap().nats).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{name}: {sum}");
        let one = likelihood(&model, None, None, 1, &[&[3, 4, 5]]).unwrap();
        let two = likelihood(&model, None, None, 2, &[&[3, 4, 5], &[3, 4, 5]]).unwrap();
        assert_eq!(two.tokens, 2 * one.tokens);
        // A window does not see the one before it.
        assert!((two.perplexity() / one.perplexity() - 1.0).abs() < 1e-12);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Whatever the limits, a request's tokens are the ones it gets alone.
    #[test]
    fn limits_never_change_the_tokens(
        budget in 1usize..90, sequences in 1usize..12, blocks in 9usize..40, threads in 1usize..3, reuse: bool, drafts in 0usize..9,
    ) {
        static WANT: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
        let want = WANT.get_or_init(|| digests(&start("llama", &options()), ten(24)));
        let settings = EngineOptions {
            max_num_batched_tokens: budget,
            max_num_seqs: sequences,
            kv_cache_tokens: blocks * 16,
            threads,
            prefix_caching: reuse,
            draft_tokens: drafts,
            ..options()
        };
        prop_assert_eq!(&digests(&start("llama", &settings), ten(24)), want);
    }
}
