//! From the command line to plans and a backend.

use std::time::Duration;

use clap::ValueEnum;
use sagellm_core::{Clock, Exit, Failure, Plan, Request, Workload};
use sagellm_engine::{CpuEngine, EngineOptions};
use sagellm_model::{HubOptions, Model, OpenOptions};
use sagellm_plan::{Decoding, Overrides, build, builtin};

use crate::args::{BackendName, RunArgs};
use crate::terminal::Progress;

/// KV cache that is given without being asked for, in tokens, when a workload would need more to keep everything.
const MODEST_KV_TOKENS: usize = 1 << 16;

/// That a backend is known but not there yet.
pub(super) fn not_built(backend: BackendName) -> Failure {
    let value = backend.to_possible_value();
    let name = value.as_ref().map_or("this", |value| value.get_name());
    Failure::new(
        Exit::Usage,
        format!("the backend `{name}` is not built yet: this version measures the CPU engine only"),
    )
    .with_hint("use `--backend cpu`")
}

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

/// The model that was named; its weights are not read yet.
pub(super) fn model(args: &RunArgs, progress: &Progress) -> Result<Model, Failure> {
    let options = OpenOptions { hub: HubOptions::from_env() };
    Ok(sagellm_model::open(&args.model, &options, progress)?)
}

/// The exact requests of every workload.
pub(super) fn plans(args: &RunArgs, workloads: &[Workload], model: &Model) -> Result<Vec<Plan>, Failure> {
    let decoding = Decoding {
        temperature: args.sampling.temperature,
        top_p: args.sampling.top_p,
        top_k: args.sampling.top_k,
        ignore_eos: args.sampling.ignore_eos,
    };
    let context = model.config.context_length;
    workloads.iter().map(|workload| Ok(build(workload, &model.tokenizer, context, &decoding)?)).collect()
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
    let options = EngineOptions {
        threads: args.engine.threads.unwrap_or(0),
        isa: args.engine.isa,
        dtype: args.engine.dtype.dtype(),
        kv_cache_tokens: args.engine.kv_cache_tokens.unwrap_or_else(|| default_kv_tokens(plans)),
        max_num_batched_tokens: args.engine.max_num_batched_tokens,
        max_num_seqs: args.engine.max_num_seqs,
        prefix_caching: !args.engine.no_enable_prefix_caching,
        stream_text: args.verbose,
    };
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
