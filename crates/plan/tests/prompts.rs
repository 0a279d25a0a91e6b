//! Plans for real tokenizers: what a prompt promises holds for the text and for the ids.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first thing that is missing")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use sagellm_core::{Arrival, Exit, NoProgress, Request, Source, UserError, Workload};
use sagellm_model::{Model, OpenOptions, Tokenizer, open};
use sagellm_plan::{Decoding, Nonce, Overrides, PlanError, Planner, Spec, builtin, write};

const CONTEXT: usize = 1 << 16;

fn model(spec: &str) -> Model {
    open(spec, &OpenOptions::default(), &NoProgress).unwrap_or_else(|error| panic!("{spec}: {error}"))
}

fn workload(name: &str) -> Spec {
    builtin(name).unwrap().remove(0)
}

/// A plan whose requests are all at hand.
#[derive(Debug, PartialEq)]
struct Plan {
    workload: Workload,
    warmups: Vec<Request>,
    requests: Vec<Request>,
}

/// A plan as a run gets it, from a file.
fn planned(spec: &Spec, tokenizer: &Tokenizer, context_length: usize) -> Result<sagellm_core::Plan, PlanError> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[Planner::new(spec, tokenizer, context_length)?], tokenizer)?.plan(0, tokenizer)
}

fn build(spec: &Spec, tokenizer: &Tokenizer, context_length: usize) -> Result<Plan, PlanError> {
    let sagellm_core::Plan { workload, mut warmups, requests } = planned(spec, tokenizer, context_length)?;
    let places = 0..u64::from(workload.num_prompts.min(20));
    Ok(Plan {
        warmups: places.map(|place| warmups(place).unwrap().unwrap()).collect(),
        requests: requests.map(Result::unwrap).collect(),
        workload,
    })
}

/// The workload with readable text of other lengths.
fn text(spec: Spec, input_tokens: u32, output_tokens: u32, shared_prefix_tokens: u32) -> Spec {
    Spec { source: Source::Text { input_tokens, output_tokens, shared_prefix_tokens }, ..spec }
}

fn ids(request: &Request) -> &[u32] {
    request.prompt.token_ids.as_ref().unwrap()
}

/// All that a [`Planner`] promises of the prompts of a text.
fn check(plan: &Plan, tokenizer: &Tokenizer) {
    let Workload { num_prompts, .. } = plan.workload;
    let Source::Text { input_tokens, shared_prefix_tokens, .. } = plan.workload.source else { panic!("a text") };
    let shared = shared_prefix_tokens as usize;
    assert_eq!(plan.requests.len(), num_prompts as usize);
    for request in plan.requests.iter().chain(&plan.warmups) {
        assert_eq!(ids(request).len(), input_tokens as usize, "{:?}", request.prompt.text);
        assert_eq!(tokenizer.encode(&request.prompt.text, true).unwrap(), ids(request), "the text is the ids");
        assert!(request.prompt.text.is_ascii());
    }
    let first = &ids(&plan.requests[0])[..shared];
    assert!(plan.requests.iter().all(|request| ids(request).starts_with(first)), "the common beginning");
    // A KV block has 16 tokens: two prompts that differ in their first block share nothing.
    let beginnings: HashSet<&[u32]> = plan.requests.iter().map(|request| &ids(request)[shared..shared + 16]).collect();
    assert_eq!(beginnings.len(), plan.requests.len(), "no two prompts go on alike");
    for warmup in &plan.warmups {
        assert!(!beginnings.contains(&ids(warmup)[..16]));
        assert!(shared == 0 || !ids(warmup).starts_with(&first[..shared.min(16)]), "a warm-up warms no prefix");
    }
}

fn check_all(tokenizer: &Tokenizer) {
    for workload in builtin("m1").unwrap() {
        check(&build(&workload, tokenizer, CONTEXT).unwrap(), tokenizer);
    }
    // Every length, because each ends on other words.
    for input_tokens in (24..90).chain([1000, 1001]) {
        let workload = Spec { seed: u64::from(input_tokens), ..text(workload("short"), input_tokens, 128, 0) };
        check(&build(&workload, tokenizer, CONTEXT).unwrap(), tokenizer);
    }
    for shared_prefix_tokens in [1, 16, 37, 100, 200] {
        let workload = text(workload("stress"), 256, 256, shared_prefix_tokens);
        check(&build(&workload, tokenizer, CONTEXT).unwrap(), tokenizer);
    }
}

#[test]
fn byte_level() {
    check_all(&model("synthetic:tiny").tokenizer);
}

#[test]
fn every_trained_tokenizer_of_the_test_models() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models");
    let mut seen = HashSet::new();
    for name in ["gpt2", "opt", "llama", "mistral", "qwen2", "qwen3"] {
        let path: PathBuf = folder.join(name);
        let tokenizer = model(path.to_str().unwrap()).tokenizer;
        if seen.insert(tokenizer.fingerprint()) {
            check_all(&tokenizer);
        }
    }
    assert!(!seen.is_empty());
}

#[test]
fn a_real_tokenizer_when_a_model_is_given() {
    if let Some(path) = std::env::var_os("SAGELLM_TEST_GGUF") {
        check_all(&model(path.to_str().unwrap()).tokenizer);
    }
}

#[test]
fn hundreds_of_prompts_are_told_apart() {
    let tokenizer = model("synthetic:tiny").tokenizer;
    for name in ["short", "stress"] {
        let many = Overrides { num_prompts: Some(800), ..Overrides::default() };
        let workload = many.apply(workload(name)).unwrap();
        check(&build(&workload, &tokenizer, CONTEXT).unwrap(), &tokenizer);
    }
}

#[test]
fn the_workloads_of_one_run_share_no_beginning() {
    let tokenizer = model("synthetic:tiny").tokenizer;
    let mut seen = HashSet::new();
    let mut count = 0;
    for workload in builtin("m1").unwrap() {
        let plan = build(&workload, &tokenizer, CONTEXT).unwrap();
        for request in plan.requests.iter().chain(&plan.warmups) {
            count += 1;
            seen.insert(ids(request)[..64 + 16].to_vec());
        }
    }
    assert_eq!(seen.len(), count);
}

#[test]
fn a_plan_is_a_function_of_its_seed() {
    let tokenizer = model("synthetic:tiny").tokenizer;
    let plan = |seed| {
        let overrides = Overrides { seed: Some(seed), request_rate: Some(3.0), ..Overrides::default() };
        build(&overrides.apply(workload("stress")).unwrap(), &tokenizer, CONTEXT).unwrap()
    };
    let (one, again, other) = (plan(1), plan(1), plan(2));
    assert_eq!(one, again);
    for (left, right) in one.requests.iter().zip(&other.requests) {
        assert_ne!(left.prompt, right.prompt);
        assert_ne!(left.offset_ns, right.offset_ns);
        assert_ne!(left.sampling.seed, right.sampling.seed);
    }
    let seeds: HashSet<u64> = one.requests.iter().map(|request| request.sampling.seed).collect();
    assert_eq!(seeds.len(), 10, "each request has a seed of its own");
    assert!(seeds.iter().all(|seed| *seed <= u64::from(u32::MAX)));
}

#[test]
fn requests_carry_what_was_asked_for() {
    let tokenizer = model("synthetic:tiny").tokenizer;
    let decoding = Decoding { temperature: 0.7, top_p: 0.9, top_k: 40, ignore_eos: false };
    let workload = Overrides { request_rate: Some(5.0), ..Overrides::default() }.apply(workload("short")).unwrap();
    assert_eq!(workload.arrival, Arrival::Poisson { rate: 5.0 });
    let plan = build(&Spec { sampling: decoding, ..workload }, &tokenizer, CONTEXT).unwrap();
    assert!(plan.requests.is_sorted_by_key(|request| request.offset_ns));
    for (request, id) in plan.requests.iter().zip(0..) {
        assert_eq!((request.id, request.max_tokens, request.ignore_eos), (id, 128, false));
        let sampling = &request.sampling;
        assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k), (0.7, 0.9, 40));
    }
    for (warmup, like) in plan.warmups.iter().zip(&plan.requests) {
        assert_eq!((warmup.id, warmup.offset_ns), (5 + like.id, like.offset_ns));
        assert_eq!((warmup.max_tokens, &warmup.sampling), (like.max_tokens, &like.sampling));
    }
}

#[test]
fn a_context_that_is_too_short_is_named_with_its_numbers() {
    let tokenizer = model("synthetic:tiny").tokenizer;
    let workload = workload("stress");
    assert!(build(&workload, &tokenizer, 512).is_ok());
    let error = build(&workload, &tokenizer, 511).unwrap_err();
    assert_eq!(
        error.to_string(),
        "request 0 of workload `stress_test` needs 512 tokens (256 in, 256 out), but the model holds 511"
    );
    assert_eq!(error.exit(), Exit::Input);
    assert!(error.hint().unwrap().contains("longer context"));
}

#[test]
fn impossible_sampling_is_refused_by_name() {
    let tokenizer = model("synthetic:tiny").tokenizer;
    let refuse = |decoding: Decoding| {
        let error = build(&Spec { sampling: decoding, ..workload("short") }, &tokenizer, CONTEXT).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        error.to_string()
    };
    for temperature in [-0.1, f32::NAN, f32::INFINITY] {
        let message = refuse(Decoding { temperature, ..Decoding::default() });
        assert!(message.starts_with("`--temperature "), "{message}");
    }
    for top_p in [0.0, -1.0, 1.1, f32::NAN] {
        let message = refuse(Decoding { top_p, ..Decoding::default() });
        assert!(message.starts_with("`--top-p "), "{message}");
    }
}

#[test]
fn prompts_that_cannot_differ_are_refused() {
    let tokenizer = model("synthetic:tiny").tokenizer;
    let refuse = |workload: Spec| match build(&workload, &tokenizer, CONTEXT) {
        Err(PlanError::Prompt { workload, reason }) => {
            assert_eq!(workload, "stress_test");
            reason
        }
        other => panic!("{other:?}"),
    };
    let stress = || workload("stress");
    assert_eq!(refuse(text(stress(), 256, 256, 256)), "256 of 256 tokens cannot be shared");
    assert_eq!(refuse(text(stress(), 1, 256, 0)), "they are too short to begin differently");
    assert_eq!(refuse(text(stress(), 0, 256, 0)), "they are too short to begin differently");
}

#[test]
fn prompts_stay_what_they_are() {
    // Plans are promised to be the same in every version: these texts may not change.
    let tokenizer = model("synthetic:tiny").tokenizer;
    let first = |name: &str| {
        let plan = build(&workload(name), &tokenizer, CONTEXT).unwrap();
        plan.requests[0].prompt.text.clone()
    };
    assert_eq!(
        first("short"),
        "Vera Hill bought a box of lenses from the gardener and wondered what to do with it. \
         The third person from the left is the printe"
    );
    assert_eq!(
        first("stress"),
        "You answer questions about one small town. Read this page first.\n\n\
         Hal Brook had been a retired pilot for eleven years when the letter arrived. \
         Page two has a drawing of a bicycle pump, with the sizes in the margin. The printer fished it out and set it on t"
    );
}

#[test]
fn a_nonce_keeps_the_length_of_every_prompt_and_no_run_has_that_of_another() {
    check_nonce(&model("synthetic:tiny").tokenizer);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models");
    for name in ["gpt2", "llama", "qwen2"] {
        check_nonce(&model(folder.join(name).to_str().unwrap()).tokenizer);
    }
}

fn check_nonce(tokenizer: &Tokenizer) {
    for shared in [0, 40] {
        let spec = text(workload("short"), 128, 16, shared);
        let prompts = |seed: Option<u64>| -> Vec<Vec<u32>> {
            let plan = planned(&spec, tokenizer, CONTEXT).unwrap();
            let mut plan = match seed {
                Some(seed) => Nonce::new(tokenizer, seed).unwrap().apply_to(plan),
                None => plan,
            };
            let warmup = (plan.warmups)(0).unwrap();
            let requests = warmup.into_iter().chain(plan.requests.map(Result::unwrap));
            requests
                .map(|request| {
                    let ids = request.prompt.token_ids.unwrap();
                    assert_eq!(tokenizer.encode(&request.prompt.text, true).unwrap(), ids, "{}", request.prompt.text);
                    ids
                })
                .collect()
        };
        let (plain, one, other) = (prompts(None), prompts(Some(1)), prompts(Some(2)));
        assert_eq!(one, prompts(Some(1)));
        let common = |a: &[u32], b: &[u32]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
        for (nth, prompt) in one.iter().enumerate() {
            assert_eq!(prompt.len(), plain[nth].len());
            assert!(other.iter().all(|other| common(prompt, other) < 4), "{nth}");
            assert!(plain.iter().all(|plain| common(prompt, plain) < 4), "{nth}");
            assert!(common(prompt, &one[one.len() - 1]) > 4, "all prompts of a run begin with its nonce");
        }
        // What prompts share stays shared.
        let measured = &one[one.len() - 2..];
        assert!(common(&measured[0], &measured[1]) >= shared as usize, "{shared}");
    }
    let spec = text(workload("short"), 5, 16, 0);
    let short = planned(&spec, tokenizer, CONTEXT).unwrap();
    let failure = Nonce::new(tokenizer, 1).unwrap().apply_to(short).requests.next().unwrap().err().unwrap();
    assert!(failure.message.ends_with("is not longer than the nonce"), "{}", failure.message);
}
