//! Every source of prompts: lengths that hold for the text too, files that are read as they should be, and what is said of
//! those that cannot be read.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first thing that is missing")]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use sagellm_core::{Arrival, Exit, NoProgress, Request, SharegptRules, Source, TraceFormat, UserError};
use sagellm_model::{OpenOptions, Tokenizer, open};
use sagellm_plan::{PlanError, Planner, Spec, builtin};

const CONTEXT: usize = 1 << 16;

fn tokenizer(model: &str) -> Tokenizer {
    open(model, &OpenOptions::default(), &NoProgress).unwrap_or_else(|error| panic!("{model}: {error}")).tokenizer
}

fn bytes() -> Tokenizer {
    tokenizer("synthetic:tiny")
}

/// The tokenizers of the test models, and a real one when a model is given.
fn tokenizers() -> Vec<Tokenizer> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models");
    let paths = ["gpt2", "opt", "llama", "mistral", "qwen2", "qwen3"].map(|name| folder.join(name));
    let mut seen = HashSet::new();
    let given = std::env::var_os("SAGELLM_TEST_GGUF").map(PathBuf::from);
    let trained = paths.into_iter().chain(given).map(|path| tokenizer(path.to_str().unwrap()));
    std::iter::once(bytes()).chain(trained).filter(|tokenizer| seen.insert(tokenizer.fingerprint())).collect()
}

fn spec(source: Source, num_prompts: Option<u32>) -> Spec {
    let spec = builtin("short").unwrap().remove(0);
    Spec { name: "test".into(), source, num_prompts, num_warmups: Some(0), ..spec }
}

fn plan(spec: &Spec, tokenizer: &Tokenizer) -> Vec<Request> {
    Planner::new(spec, tokenizer, CONTEXT).unwrap().requests().map(Result::unwrap).collect()
}

fn refusal(spec: &Spec) -> PlanError {
    let tokenizer = bytes();
    match Planner::new(spec, &tokenizer, 4096) {
        Err(error) => error,
        Ok(planner) => planner.requests().find_map(Result::err).unwrap(),
    }
}

fn ids(request: &Request) -> &[u32] {
    request.prompt.token_ids.as_ref().unwrap()
}

fn same(tokenizer: &Tokenizer, request: &Request) {
    assert_eq!(tokenizer.encode(&request.prompt.text, true).unwrap(), ids(request), "{}", request.prompt.text);
}

fn random(input_tokens: u32, output_tokens: u32, range_ratio: f64, prefix_tokens: u32) -> Source {
    Source::Random { input_tokens, output_tokens, range_ratio, prefix_tokens }
}

#[test]
fn random_prompts_have_the_stated_length_as_ids_and_as_text() {
    for tokenizer in tokenizers() {
        for input in [8, 17, 256] {
            for request in plan(&spec(random(input, 5, 0.0, 0), Some(20)), &tokenizer) {
                assert_eq!((ids(&request).len(), request.max_tokens), (input as usize, 5));
                same(&tokenizer, &request);
            }
        }
        let prefixed = plan(&spec(random(20, 5, 0.0, 40), Some(20)), &tokenizer);
        for request in &prefixed {
            assert_eq!((ids(request).len(), &ids(request)[..40]), (60, &ids(&prefixed[0])[..40]));
            same(&tokenizer, request);
        }
        assert_eq!(prefixed.iter().map(ids).collect::<HashSet<_>>().len(), 20);
    }
}

#[test]
fn a_range_ratio_draws_evenly_from_vllms_bounds() {
    let requests = plan(&spec(random(101, 50, 0.5, 10), Some(4000)), &bytes());
    let inputs: BTreeMap<usize, u32> = requests.iter().fold(BTreeMap::new(), |mut counts, request| {
        *counts.entry(ids(request).len() - 10).or_default() += 1;
        counts
    });
    // ⌊50.5⌋ to ⌈151.5⌉, 103 lengths of about 39 requests each.
    assert_eq!((inputs.keys().min(), inputs.keys().max(), inputs.len()), (Some(&50), Some(&152), 103));
    assert!(inputs.values().all(|count| (10..80).contains(count)), "{inputs:?}");
    let outputs: HashSet<u32> = requests.iter().map(|request| request.max_tokens).collect();
    assert_eq!((outputs.iter().min(), outputs.iter().max()), (Some(&25), Some(&75)));
}

#[test]
fn prefixes_take_turns_and_groups_share_their_system_prompt() {
    for tokenizer in tokenizers() {
        let source =
            Source::PrefixRepetition { prefix_tokens: 32, num_prefixes: 3, suffix_tokens: 16, output_tokens: 4 };
        let requests = plan(&spec(source, Some(9)), &tokenizer);
        for (nth, request) in requests.iter().enumerate() {
            assert_eq!((ids(request).len(), &ids(request)[..32]), (48, &ids(&requests[nth % 3])[..32]));
            same(&tokenizer, request);
        }
        assert_eq!(requests.iter().map(|request| &ids(request)[..32]).collect::<HashSet<_>>().len(), 3);
        assert_eq!(requests.iter().map(ids).collect::<HashSet<_>>().len(), 9);
    }
}

/// How often each system prompt comes.
fn groups(zipf: Option<f64>) -> Vec<usize> {
    let source = Source::SharedPrefix {
        num_groups: 8,
        prompts_per_group: 50,
        system_tokens: 32,
        question_tokens: 16,
        output_tokens: 4,
        zipf,
    };
    let mut counts: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
    for request in plan(&spec(source, None), &bytes()) {
        assert_eq!(ids(&request).len(), 48);
        *counts.entry(ids(&request)[..32].to_vec()).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    counts
}

#[test]
fn groups_are_equal_or_follow_zipf() {
    assert_eq!(groups(None), [50; 8]);
    let skewed = groups(Some(1.0));
    // The first of eight has the share 1/H₈ = 0.368 of 400: 147, give or take six standard errors of 9.6.
    assert!((90..=205).contains(&skewed[0]), "{skewed:?}");
    assert!(skewed[0] > 4 * skewed[7], "{skewed:?}");
    assert_eq!(skewed.iter().sum::<usize>(), 400);
}

#[test]
fn conversations_have_exact_turns() {
    for tokenizer in tokenizers() {
        let source = Source::MultiTurn { turns: 3, first_tokens: 90, turn_tokens: 70, output_tokens: 9, think_s: 2.0 };
        let requests = plan(&spec(source, Some(12)), &tokenizer);
        let mut thought = 0;
        for (nth, request) in requests.iter().enumerate() {
            let first = nth % 3 == 0;
            assert_eq!(ids(request).len(), if first { 90 } else { 70 });
            assert_eq!(tokenizer.encode(&request.prompt.text, first).unwrap(), ids(request));
            assert_eq!((request.session, request.keep_answer), (Some(nth as u64 / 3), nth % 3 < 2));
            let [message] = &request.prompt.messages[..] else { panic!("one message") };
            assert!(request.prompt.text.ends_with(&format!("user: {}\n\nassistant:", message.content)));
            if !first {
                thought += request.offset_ns;
            }
        }
        // Eight exponential pauses of 2 s in the mean.
        assert!((2_000_000_000..60_000_000_000).contains(&thought), "{thought}");
    }
}

/// A file with a content.
fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn sharegpt(content: &str, rules: SharegptRules, output_tokens: Option<u32>) -> Vec<(String, u32)> {
    let (_folder, path) = file("s.json", content);
    let requests = plan(&spec(Source::Sharegpt { path, rules, output_tokens }, None), &bytes());
    let mut kept: Vec<_> = requests.into_iter().map(|request| (request.prompt.text, request.max_tokens)).collect();
    kept.sort_unstable();
    kept
}

#[test]
fn sharegpt_keeps_what_vllm_or_sglang_keep() {
    let talk = |prompt: &str, answer: &str| {
        format!(
            r#"{{"id": "x", "conversations": [{{"from": "human", "value": "{prompt}"}}, {{"from": "gpt", "value": "{answer}"}}, {{"value": "later"}}]}}"#
        )
    };
    let long = |count| "x".repeat(count);
    let talks = [
        talk("four", "four"),
        talk("abc", "long enough"),
        talk("long enough", "abc"),
        talk(&long(1024), &long(1024)),
        talk(&long(1025), "fine"),
        talk(&long(1000), &long(1049)),
        r#"{"conversations": [{"from": "human", "value": "alone here"}]}"#.into(),
        r#"{"items": []}"#.into(),
        r#"{"conversation": [{"value": "other name"}, {"value": "answer"}]}"#.into(),
    ];
    let content = format!("[{}]", talks.join(",\n"));
    assert_eq!(sharegpt(&content, SharegptRules::Vllm, None), [("four".into(), 4), (long(1024), 1024)]);
    // A forced output is not too short, and adds to the prompt.
    let forced = sharegpt(&content, SharegptRules::Vllm, Some(2));
    let prompts: Vec<usize> = forced.iter().map(|(prompt, _)| prompt.len()).collect();
    assert_eq!(prompts, ["four".len(), "long enough".len(), 1000, 1024]);
    assert!(forced.iter().all(|(_, output)| *output == 2));
    let all = sharegpt(&content, SharegptRules::Sglang, None);
    assert_eq!(all.len(), 7);
    assert!(all.contains(&("other name".into(), 6)));
}

fn custom(content: &str, arrival: Arrival) -> Result<Vec<Request>, String> {
    let (_folder, path) = file("c.jsonl", content);
    let spec = Spec { arrival, ..spec(Source::Custom { path, output_tokens: None }, None) };
    let tokenizer = bytes();
    let planner = Planner::new(&spec, &tokenizer, CONTEXT).map_err(|error| {
        assert_eq!(error.exit(), Exit::Input);
        assert!(error.hint().is_some());
        error.to_string().rsplit("c.jsonl`").next().unwrap().to_owned()
    })?;
    Ok(planner.requests().map(Result::unwrap).collect())
}

#[test]
fn custom_lines_are_vllms_or_openais() {
    let lines = r#"{"prompt": "Say it.", "output_tokens": 10, "timestamp": 5.5}

{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "max_tokens": 7, "timestamp": 6.25, "model": "m"}
"#;
    let requests = custom(lines, Arrival::Trace).unwrap();
    let seen: Vec<_> = requests.iter().map(|r| (&*r.prompt.text, r.max_tokens, r.offset_ns)).collect();
    let chat = "system: Be brief.\n\nuser: Hi\n\nassistant:";
    assert_eq!(seen, [("Say it.", 10, 0), (chat, 7, 750_000_000)]);
    assert_eq!(ids(&requests[1]).len(), chat.len());
    let roles: Vec<_> = requests[1].prompt.messages.iter().map(|m| (&*m.role, &*m.content)).collect();
    assert_eq!(roles, [("system", "Be brief."), ("user", "Hi")]);
    assert!(requests[0].prompt.messages.is_empty());
}

#[test]
fn custom_lines_that_are_wrong_are_named() {
    let refuse = |content: &str| custom(content, Arrival::Immediate).unwrap_err();
    let good = r#"{"prompt": "a", "output_tokens": 1}"#;
    assert_eq!(refuse(""), ", line 1: the file holds no request");
    assert_eq!(refuse("\n\n"), ", line 1: the file holds no request");
    assert_eq!(refuse(&format!("{good}\n\n{{\"prompt\": \"a")), ", line 3: EOF while parsing a string, column 13");
    assert_eq!(
        refuse(&format!("{good}\n{{\"prompt\": \"a\"}}")),
        ", line 2: `output_tokens` or `max_tokens` is missing"
    );
    assert_eq!(refuse("{\"max_tokens\": 3}"), ", line 1: `prompt` or `messages` is missing");
    assert_eq!(refuse("{\"prompt\": \"\", \"max_tokens\": 3}"), ", line 1: `prompt` is empty");
    assert_eq!(refuse("{\"prompt\": \"a\", \"max_tokens\": 0}"), ", line 1: an output of 0 tokens is not possible");
    let timed = |first: f64, then: f64| {
        let line = |at| format!("{{\"prompt\": \"a\", \"max_tokens\": 3, \"timestamp\": {at}}}\n");
        custom(&(line(first) + &line(then)), Arrival::Trace)
    };
    assert!(timed(1.0, 1.0).is_ok());
    assert_eq!(timed(1.0, 0.5).unwrap_err(), ", line 2: the time 0.5 is before that of the line above");
    assert!(custom(good, Arrival::Trace).unwrap_err().contains("`timestamp` is missing"));
}

fn trace(content: &str, format: TraceFormat, time_scale: f64, skip_s: f64) -> Result<Vec<Request>, String> {
    slice(content, format, time_scale, skip_s, None)
}

fn slice(
    content: &str,
    format: TraceFormat,
    time_scale: f64,
    skip_s: f64,
    take_s: Option<f64>,
) -> Result<Vec<Request>, String> {
    let (_folder, path) = file("trace", content);
    let source = Source::Trace { path, format, time_scale, skip_s, take_s };
    let spec = Spec { arrival: Arrival::Trace, ..spec(source, None) };
    let tokenizer = bytes();
    let planner = Planner::new(&spec, &tokenizer, CONTEXT)
        .map_err(|error| error.to_string().rsplit("trace`").next().unwrap().to_owned())?;
    let requests: Vec<Request> = planner.requests().map(Result::unwrap).collect();
    requests.iter().for_each(|request| same(&tokenizer, request));
    Ok(requests)
}

fn seen(requests: &[Request]) -> Vec<(f64, usize, u32)> {
    requests.iter().map(|r| (r.offset_ns as f64 / 1e9, ids(r).len(), r.max_tokens)).collect()
}

#[test]
fn burstgpt() {
    let content = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,Conversation log
";
    let read = |scale, skip| trace(content, TraceFormat::Burstgpt, scale, skip).map(|requests| seen(&requests));
    assert_eq!(read(1.0, 0.0).unwrap(), [(0.0, 472, 18), (113.0, 417, 276)]);
    assert_eq!(read(0.5, 100.0).unwrap(), [(6.5, 417, 276)]);
    assert!(read(1.0, 1000.0).unwrap_err().contains("its source holds 0 that can be used"));
    let refuse = |content: &str| trace(content, TraceFormat::Burstgpt, 1.0, 0.0).unwrap_err();
    assert_eq!(refuse(""), ", line 1: the header has no column `Timestamp`");
    assert_eq!(refuse("Timestamp,Request tokens,Response tokens\n"), ", line 1: the trace holds no request");
    let back = content.replace("118", "44");
    assert_eq!(
        refuse(&back),
        ", line 4: time goes backwards: 39 s after the first request, but the one above is at 40 s"
    );
    assert_eq!(refuse(&content.replace("1087,0,1087", "1087,0")), ", line 3: 5 fields, but the header has 6");
    assert_eq!(refuse(&content.replace("417", "many")), ", line 4: `many` is no number of tokens");
    assert_eq!(refuse(&content.replace("118", "noon")), ", line 4: `noon` is no time in seconds");
}

#[test]
fn a_slice_of_a_trace_has_two_ends() {
    let rows: String = (0..10).map(|nth| format!("{},{},{}\n", 7 + 10 * nth, 100 + nth, 1 + nth)).collect();
    let content = format!("Timestamp,Request tokens,Response tokens\n{rows}");
    let read = |content: &str, scale, skip, take| slice(content, TraceFormat::Burstgpt, scale, skip, take);
    let taken = |scale, skip, take| seen(&read(&content, scale, skip, take).unwrap());
    // Twenty seconds after the first request, before scaling, and not what is due when thirty have passed since.
    assert_eq!(taken(2.0, 20.0, Some(30.0)), [(0.0, 102, 3), (20.0, 103, 4), (40.0, 104, 5)]);
    assert_eq!(taken(1.0, 25.0, Some(6.0)), [(5.0, 103, 4)]);
    assert_eq!(taken(1.0, 0.0, Some(1e9)).len(), 10);
    assert!(read(&content, 1.0, 21.0, Some(5.0)).unwrap_err().contains("its source holds 0 that can be used"));
    for take in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = read(&content, 1.0, 0.0, Some(take)).unwrap_err();
        assert!(refused.starts_with("`--take ") && refused.contains("is not possible"), "{refused}");
    }
    let broken = format!("{content}x,1,1\n");
    let refused = read(&broken, 1.0, 0.0, Some(10.0)).unwrap_err();
    assert_eq!(refused, ", line 12: `x` is no time in seconds", "what is left out is checked too");
}

#[test]
fn azure() {
    let content = "TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 23:59:59.5000000,374,44
2023-11-17 00:00:01.0000001,396,109
";
    let requests = trace(content, TraceFormat::Azure, 1.0, 0.0).unwrap();
    assert_eq!(seen(&requests), [(0.0, 374, 44), (1.500_000_1, 396, 109)]);
    let zoned = content.replace("5000000", "500000+00:00").replace("0000001,", "000000+00:00,");
    assert_eq!(seen(&trace(&zoned, TraceFormat::Azure, 2.0, 0.0).unwrap())[1].0, 3.0);
    let wrong = trace(&content.replace("2023-11-17", "tomorrow"), TraceFormat::Azure, 1.0, 0.0).unwrap_err();
    assert_eq!(wrong, ", line 3: `tomorrow 00:00:01.0000001` is no date and time");
}

#[test]
fn mooncake_blocks_are_shared_by_hash() {
    let content = r#"{"timestamp": 0, "input_length": 1200, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 3052, "input_length": 1100, "output_length": 6, "hash_ids": [0, 1, 3]}
{"timestamp": 3052, "input_length": 1030, "output_length": 7, "hash_ids": [0, 9, 2]}
"#;
    let requests = trace(content, TraceFormat::Mooncake, 1.0, 0.0).unwrap();
    assert_eq!(seen(&requests), [(0.0, 1200, 5), (3.052, 1100, 6), (3.052, 1030, 7)]);
    let [one, two, three] = [0, 1, 2].map(|nth| ids(&requests[nth]));
    assert_eq!(one[..1024], two[..1024]);
    assert_ne!(one[1024..1040], two[1024..1040]);
    assert_eq!(one[..512], three[..512]);
    assert_ne!(one[512..528], three[512..528]);
    assert_eq!(one[1024..1030], three[1024..1030], "the same text for the same id");
    let refuse = |content: &str| trace(content, TraceFormat::Mooncake, 1.0, 0.0).unwrap_err();
    assert!(refuse(&content.replace("6, \"hash", "6 \"hash")).starts_with(", line 2: expected `,` or `}`"));
    assert!(
        refuse(&content.replace("\"timestamp\": 0", "\"timestamp\": 4000")).starts_with(", line 2: time goes back")
    );
}

#[test]
fn bad_data_sets_get_one_clear_error() {
    let (folder, path) = file("s.json", "[{\"conversations\": [\n{\"value\": \"a\"},\n{\"value\": ");
    let source = |path: &Path| Source::Sharegpt { path: path.into(), rules: SharegptRules::Vllm, output_tokens: None };
    let message = |error: PlanError| {
        assert_eq!(error.exit(), Exit::Input);
        error.to_string().rsplit("s.json`").next().unwrap().to_owned()
    };
    assert_eq!(message(refusal(&spec(source(&path), None))), ", line 3: EOF while parsing a value, column 10");
    std::fs::write(&path, "").unwrap();
    assert_eq!(message(refusal(&spec(source(&path), None))), ", line 1: the file is empty");
    std::fs::write(&path, "[]").unwrap();
    assert_eq!(message(refusal(&spec(source(&path), None))), ", line 1: it holds no conversation of two messages");
    std::fs::write(&path, "{}").unwrap();
    assert!(message(refusal(&spec(source(&path), None))).contains("expected a list of conversations"));
    std::fs::write(&path, r#"[{"conversations": [{"value": "a"}, {"value": "b"}]}]"#).unwrap();
    let few = refusal(&spec(source(&path), None));
    assert!(matches!(few, PlanError::TooFew { available: 0, .. }), "{few}");
    assert!(few.hint().is_some());
    let missing = refusal(&spec(source(&folder.path().join("none.json")), None));
    assert!(missing.to_string().contains("none.json"), "{missing}");
    assert_eq!(missing.exit(), Exit::Input);
}

#[test]
fn impossible_parameters_are_refused() {
    let refuse = |source: Source| refusal(&spec(source, Some(1))).to_string();
    assert!(refuse(random(10, 10, 1.0, 0)).starts_with("`--random-range-ratio 1`"));
    assert!(refuse(random(0, 10, 0.0, 0)).starts_with("`input_tokens 0`"));
    assert!(refuse(random(5000, 10, 0.0, 0)).contains("needs 5010 tokens"));
    let zero = spec(random(10, 10, 0.0, 0), Some(0));
    assert!(refusal(&zero).to_string().starts_with("`num_prompts 0`"));
}
