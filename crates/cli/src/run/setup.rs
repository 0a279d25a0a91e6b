//! From the command line to plans and a backend.

use std::time::Duration;

use sagellm_core::{Clock, Exit, Failure, Plan, Request, Workload};
use sagellm_engine::CpuEngine;
use sagellm_model::Model;
use sagellm_plan::{Decoding, Overrides, build, builtin};

use super::subject::Subject;
use crate::args::RunArgs;

/// KV cache that is given without being asked for, in tokens, when a workload would need more to keep everything.
const MODEST_KV_TOKENS: usize = 1 << 16;

/// The longest time for one request.
pub(super) fn timeout(args: &RunArgs) -> Result<Duration, Failure> {
    let wrong = |option: &str, value: f64, range: &str| {
        Failure::new(Exit::Usage, format!("`{option} {value}` is not possible: it must be {range}"))
    };
    let share = args.load.max_error_rate;
    if !(0.0..=1.0).contains(&share) {
        return Err(wrong("--max-error-rate", share, "between 0 and 1"));
    }
    let seconds = args.load.timeout;
    if !(1e-9..=1e9).contains(&seconds) {
        return Err(wrong("--timeout", seconds, "a number of seconds above 0, at most 1e9"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// The workloads that were named, changed as asked.
pub(super) fn workloads(args: &RunArgs) -> Result<Vec<Workload>, Failure> {
    let overrides = Overrides {
        mode: Some(args.mode.into()),
        num_prompts: args.load.num_prompts,
        max_concurrency: args.load.max_concurrency,
        request_rate: args.load.request_rate,
        burstiness: args.load.burstiness,
        num_warmups: args.load.num_warmups,
        seed: Some(args.load.seed),
    };
    builtin(&args.workload)?.into_iter().map(|workload| Ok(overrides.apply(workload)?)).collect()
}

/// The exact requests of every workload.
pub(super) fn plans(args: &RunArgs, workloads: &[Workload], subject: &Subject) -> Result<Vec<Plan>, Failure> {
    let decoding = Decoding {
        temperature: args.sampling.temperature,
        top_p: args.sampling.top_p,
        top_k: args.sampling.top_k,
        ignore_eos: args.sampling.ignore_eos && subject.can_ignore_eos(),
    };
    let (tokenizer, context) = (subject.tokenizer(), subject.context_length());
    workloads.iter().map(|workload| Ok(build(workload, tokenizer, context, &decoding)?)).collect()
}

/// The CPU engine with the model loaded.
pub(super) fn engine(args: &RunArgs, model: Model, plans: &[Plan], clock: Clock) -> Result<CpuEngine, Failure> {
    let longest = requests(plans).map(tokens).max().unwrap_or(0);
    if let Some(given) = args.engine.kv_cache_tokens
        && given < longest
    {
        let message = format!("`--kv-cache-tokens {given}` is too small: one request needs {longest} tokens");
        return Err(Failure::new(Exit::Usage, message).with_hint(format!("give at least {longest}")));
    }
    let options = args.engine.options(default_kv_tokens(plans), args.verbose);
    Ok(CpuEngine::start(model, &options, clock)?)
}

/// Enough to keep everything that a workload writes, so that nothing is evicted unless a budget asks for it; for long
/// workloads enough for what runs together, but not less than a modest amount.
fn default_kv_tokens(plans: &[Plan]) -> usize {
    let of_plan = |plan: &Plan| {
        let all: usize = plan.warmups.iter().chain(&plan.requests).map(tokens).sum();
        let largest = plan.requests.iter().map(tokens).max().unwrap_or(0);
        let together = plan.workload.max_concurrency.map_or(plan.requests.len(), |cap| cap as usize);
        all.min((together * largest).max(MODEST_KV_TOKENS))
    };
    plans.iter().map(of_plan).max().unwrap_or(0).max(1)
}

fn requests(plans: &[Plan]) -> impl Iterator<Item = &Request> {
    plans.iter().flat_map(|plan| plan.warmups.iter().chain(&plan.requests))
}

/// Tokens that a request takes in the cache, in whole blocks of any usual size.
fn tokens(request: &Request) -> usize {
    let prompt = request.prompt.token_ids.as_ref().map_or(0, Vec::len);
    (prompt + request.max_tokens as usize).next_multiple_of(16)
}
