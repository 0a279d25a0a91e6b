//! Plans as files: the same bytes for ever, their numbers, and what other clients are given.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first thing that is missing")]

use std::fs;
use std::path::{Path, PathBuf};

use sagellm_core::{Arrival, NoProgress, Source, UserError};
use sagellm_model::{OpenOptions, Tokenizer, open};
use sagellm_plan::{Format, PlanFile, Planner, Spec, Survey, builtin, export, survey, write};
use serde_json::Value;

fn tokenizer() -> Tokenizer {
    open("synthetic:tiny", &OpenOptions::default(), &NoProgress).unwrap().tokenizer
}

fn spec(name: &str, source: Source, arrival: Arrival, num_prompts: u32) -> Spec {
    let spec = builtin("short").unwrap().remove(0);
    Spec { name: name.into(), source, arrival, num_prompts: Some(num_prompts), max_concurrency: None, ..spec }
}

fn random(input_tokens: u32, prefix_tokens: u32) -> Source {
    Source::Random { input_tokens, output_tokens: 8, range_ratio: 0.5, prefix_tokens }
}

fn conversations() -> Source {
    Source::MultiTurn { turns: 2, first_tokens: 60, turn_tokens: 50, output_tokens: 8, think_s: 1.0 }
}

fn plan(folder: &Path, specs: &[Spec]) -> PlanFile {
    let tokenizer = tokenizer();
    let planners: Vec<_> = specs.iter().map(|spec| Planner::new(spec, &tokenizer, 4096).unwrap()).collect();
    write(folder, &planners, &tokenizer).unwrap()
}

/// The golden plan was written by an earlier version, in another build: every byte is still the same.
#[test]
fn a_plan_written_today_is_the_plan_written_then() {
    let text = Source::Text { input_tokens: 40, output_tokens: 8, shared_prefix_tokens: 16 };
    let groups = Source::SharedPrefix {
        num_groups: 3,
        prompts_per_group: 2,
        system_tokens: 24,
        question_tokens: 12,
        output_tokens: 8,
        zipf: Some(1.2),
    };
    let ramp = Arrival::Ramp {
        from_rate: 1.0,
        to_rate: 20.0,
        over_s: None,
        shape: sagellm_core::RampShape::Exponential,
        burstiness: 0.5,
    };
    let specs = [
        spec("text", text, Arrival::Poisson { rate: 3.0 }, 3),
        spec("random", random(20, 8), ramp, 4),
        spec("groups", groups, Arrival::Burst { size: 2, every_s: 0.5 }, 6),
        spec("talks", conversations(), Arrival::Constant { rate: 2.0 }, 4),
    ];
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan.jsonl");
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), &specs);
    if std::env::var_os("SAGELLM_WRITE_GOLDEN").is_some() {
        fs::copy(plan.path(), &golden).unwrap();
    }
    let (new, old) = (fs::read_to_string(plan.path()).unwrap(), fs::read_to_string(&golden).unwrap());
    for (number, (new, old)) in (1..).zip(new.lines().zip(old.lines())) {
        assert_eq!(new, old, "line {number}");
    }
    assert_eq!(new.len(), old.len());
    PlanFile::open(&golden).unwrap();
}

fn surveyed(spec: Spec) -> Survey {
    let folder = tempfile::tempdir().unwrap();
    survey(&plan(folder.path(), &[spec]), 0).unwrap()
}

#[test]
fn a_survey_knows_lengths_and_common_beginnings() {
    let survey = surveyed(spec("w", random(32, 64), Arrival::Poisson { rate: 100.0 }, 500));
    assert_eq!((survey.requests, survey.conversations, survey.untokenized), (500, 0, 0));
    assert_eq!((survey.input.min(), survey.input.max()), (Some(64 + 16), Some(64 + 48)));
    assert_eq!((survey.output.min(), survey.output.max()), (Some(4), Some(12)));
    // All but the first repeat the 64 tokens; the rest of a prompt is its own.
    assert_eq!(survey.prefixes.prompt_tokens, survey.input.total());
    assert_eq!(survey.prefixes.repeated_tokens, 499 * 64);
    assert!(survey.prefixes.complete);
    assert_eq!(survey.arrivals.bins.iter().map(|bin| bin.count).sum::<u64>(), 500);
    assert_eq!(survey.arrivals.plot().lines().count(), 20);
}

#[test]
fn a_survey_follows_conversations() {
    let survey = surveyed(spec("w", conversations(), Arrival::Constant { rate: 2.0 }, 10));
    assert_eq!((survey.requests, survey.conversations, survey.arrivals.count), (10, 5, 5));
    // The second turn is sent with the 60 tokens of the first and the 8 of its answer; 64 of these are whole blocks.
    assert_eq!(survey.input.counts().collect::<Vec<_>>(), [(60, 5), (118, 5)]);
    assert_eq!(survey.prefixes.repeated_tokens, 5 * 64);
    assert_eq!((survey.arrivals.rate, survey.arrivals.cv, survey.arrivals.lag1), (Some(2.0), Some(0.0), None));
    assert_eq!(survey.arrivals.ks, None);
}

#[test]
fn a_survey_tells_processes_apart() {
    let arrivals = |arrival| surveyed(spec("w", random(16, 0), arrival, 4000)).arrivals;
    let limit = 2.9 / 4000_f64.sqrt();
    let poisson = arrivals(Arrival::Poisson { rate: 20.0 });
    let near = |value: Option<f64>, wanted: f64, by: f64| assert!((value.unwrap() - wanted).abs() < by, "{value:?}");
    near(poisson.rate, 20.0, 2.0);
    near(poisson.cv, 1.0, 0.1);
    near(poisson.dispersion_1s, 1.0, 0.6);
    near(poisson.dispersion_5s, 1.0, 1.3);
    near(poisson.lag1, 0.0, 0.1);
    assert!(poisson.ks.unwrap() < limit);
    let bursty = arrivals(Arrival::Gamma { rate: 20.0, burstiness: 0.25 });
    near(bursty.cv, 2.0, 0.4);
    assert!(bursty.dispersion_1s.unwrap() > 2.0 && bursty.ks.unwrap() < limit);
    // The gaps of a ramp are of all lengths, but by its rate they are a Poisson process.
    let shape = sagellm_core::RampShape::Linear;
    let ramp = arrivals(Arrival::Ramp { from_rate: 1.0, to_rate: 60.0, over_s: None, shape, burstiness: 1.0 });
    assert!(ramp.dispersion_5s.unwrap() > 20.0 && ramp.ks.unwrap() < limit, "{ramp:?}");
    assert!(ramp.bins[19].count > 4 * ramp.bins[0].count);
}

fn exported(format: Format, spec: Spec) -> (Vec<Value>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let exported = export(&plan(folder.path(), &[spec]), 0, format, &path).unwrap();
    let lines: Vec<Value> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(exported.requests, lines.len() as u64);
    assert!(fs::read_dir(folder.path()).unwrap().count() <= 2, "nothing else is left");
    (lines, exported.arguments)
}

#[test]
fn other_clients_get_the_same_requests() {
    let spec = || spec("w", random(32, 32), Arrival::Gamma { rate: 5.0, burstiness: 0.5 }, 6);
    let (tokenizer, spec_) = (tokenizer(), spec());
    let planner = Planner::new(&spec_, &tokenizer, 4096).unwrap();
    let requests: Vec<_> = planner.requests().map(Result::unwrap).collect();
    let (custom, arguments) = exported(Format::VllmCustom, spec());
    let (trace, _) = exported(Format::VllmTimedTrace, spec());
    let (openai, _) = exported(Format::SglangOpenai, spec());
    for (nth, request) in requests.iter().enumerate() {
        assert_eq!(custom[nth]["prompt"], request.prompt.text);
        assert_eq!(custom[nth]["output_tokens"], request.max_tokens);
        let ids = request.prompt.token_ids.as_ref().unwrap();
        assert_eq!(trace[nth]["input_length"], ids.len());
        assert_eq!(trace[nth]["timestamp"].as_f64().unwrap(), request.offset_ns as f64 / 1e9);
        let hashes = trace[nth]["hash_ids"].as_array().unwrap();
        assert_eq!(hashes.len(), ids.len().div_ceil(16));
        assert_eq!(hashes[..2], trace[0]["hash_ids"].as_array().unwrap()[..2], "the common beginning");
        assert!(nth == 0 || hashes[2] != trace[0]["hash_ids"][2]);
        assert_eq!(openai[nth]["messages"][0]["content"], request.prompt.text);
        assert_eq!(openai[nth]["max_tokens"], request.max_tokens);
    }
    let arguments = arguments.join(" ");
    for option in ["--num-prompts 6", "--request-rate 5", "--burstiness 0.5", "--disable-shuffle", "--ignore-eos"] {
        assert!(arguments.contains(option), "{arguments}");
    }
}

#[test]
fn conversations_cannot_be_handed_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let plan = plan(folder.path(), &[spec("w", conversations(), Arrival::Immediate, 4)]);
    let error = export(&plan, 0, Format::VllmCustom, &path).unwrap_err();
    assert!(error.to_string().contains("answers that nobody knows"), "{error}");
    assert!(error.hint().is_some());
    assert!(!path.exists());
}

#[test]
fn a_plan_is_the_same_wherever_its_data_lie() {
    let hash = || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.jsonl");
        fs::write(&path, "{\"prompt\": \"Why not?\", \"output_tokens\": 4}\n").unwrap();
        let source = Source::Custom { path, output_tokens: None };
        let plan = plan(folder.path(), &[spec("w", source, Arrival::Immediate, 1)]);
        plan.outlines().next().unwrap().hash.clone()
    };
    assert_eq!(hash(), hash());
}
