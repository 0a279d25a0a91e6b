//! The engine on a real model against `transformers`. `./run_tests.sh` fetches the model.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sagellm_core::{Backend, Clock, EventKind, NoProgress, OutcomeKind, Prompt, Request, Sampling, event_channel};
use sagellm_engine::{ComputeDtype, CpuEngine, EngineOptions};
use sagellm_model::{Model, OpenOptions};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Tokens that are compared. The reference was computed in another order of sums: it is trusted as far as the best token
/// leads the second by more than that can change, and up to here it does.
const STEPS: usize = 64;

/// Largest difference of two logits that the order of sums may make.
const NOISE: f32 = 0.002;

#[derive(Deserialize)]
struct Case {
    prompt: String,
    prompt_ids: Vec<u32>,
    greedy: Vec<u32>,
    gaps: Vec<f32>,
}

fn model() -> Model {
    let path = std::env::var("SAGELLM_TEST_GGUF").unwrap();
    sagellm_model::open(&path, &OpenOptions::default(), &NoProgress).unwrap()
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/smollm2_greedy.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Fingerprint of output tokens, spelled out independently of the engine.
fn digest(tokens: &[u32]) -> String {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..16].to_owned()
}

/// The fingerprints of the continuations of all prompts, sent at once, and how often a request was put back.
fn continuations(
    cases: &[Case],
    kv_cache_tokens: usize,
    max_num_batched_tokens: usize,
    draft_tokens: usize,
) -> (Vec<String>, u64) {
    let options = EngineOptions {
        threads: 2,
        isa: None,
        dtype: Some(ComputeDtype::F32),
        kv_cache_tokens,
        max_num_batched_tokens,
        max_num_seqs: 8,
        prefix_caching: true,
        draft_tokens,
        stream_text: false,
    };
    let engine = CpuEngine::start(model(), &options, Clock::start(), &NoProgress).unwrap();
    engine.begin_window();
    let (sink, mut events) = event_channel();
    for (id, case) in (0..).zip(cases) {
        let request = Request {
            id,
            offset_ns: 0,
            session: None,
            prompt: Prompt::tokenized(case.prompt.clone(), case.prompt_ids.clone()),
            max_tokens: u32::try_from(STEPS).unwrap(),
            sampling: Sampling::default(),
            ignore_eos: true,
            keep_answer: false,
        };
        engine.submit(Arc::new(request), &sink).unwrap();
    }
    let mut digests = BTreeMap::new();
    while digests.len() < cases.len() {
        let event = events.next_within(Duration::from_secs(300)).unwrap();
        if let EventKind::End(end) = event.kind {
            assert_eq!(end.outcome, OutcomeKind::Success);
            digests.insert(event.request, end.output_digest.unwrap());
        }
    }
    (digests.into_values().collect(), engine.window().preemptions.value.unwrap())
}

#[test]
#[ignore = "needs SAGELLM_TEST_GGUF: ./run_tests.sh"]
fn greedy_tokens_are_those_of_transformers() {
    let cases = cases();
    let tokenizer = model().tokenizer;
    for case in &cases {
        assert_eq!(tokenizer.encode(&case.prompt, false).unwrap(), case.prompt_ids);
        assert!(case.gaps[..STEPS].iter().all(|gap| *gap > NOISE), "the reference is sure of its tokens");
    }
    let want: Vec<String> = cases.iter().map(|case| digest(&case.greedy[..STEPS])).collect();
    assert_eq!(want.len(), 3);
    assert_eq!(continuations(&cases, 4096, 512, 0), (want.clone(), 0));
    assert_eq!(continuations(&cases, 4096, 512, 8), (want.clone(), 0));
    // Two of them in chunks of five tokens, in a cache that holds hardly more than one of them.
    let (got, preemptions) = continuations(&cases[..2], 96, 5, 0);
    assert_eq!(got, want[..2]);
    assert!(preemptions > 0);
}
