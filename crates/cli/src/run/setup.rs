//! From the command line to plans and a backend.

use std::time::Duration;

use sagellm_core::{Clock, Exit, Failure, Plan, Request};
use sagellm_engine::CpuEngine;
use sagellm_model::Model;
use sagellm_plan::{Nonce, Outline, PlanFile, Planner, Spec};

use super::output::Scratch;
use super::subject::Subject;
use crate::args::RunArgs;
use crate::gates::Gates;
use crate::terminal::Progress;
use crate::workloads::specs;

/// KV cache that is given without being asked for, in tokens, when a workload would need more to keep everything.
const MODEST_KV_TOKENS: u64 = 1 << 16;

/// The longest time for one request.
pub(super) fn timeout(args: &RunArgs) -> Result<Duration, Failure> {
    let wrong = |option: &str, value: f64, range: &str| {
        Failure::new(Exit::Usage, format!("`{option} {value}` is not possible: it must be {range}"))
    };
    let share = args.limits.max_error_rate;
    if !(0.0..=1.0).contains(&share) {
        return Err(wrong("--max-error-rate", share, "between 0 and 1"));
    }
    let seconds = args.limits.timeout;
    if !(1e-9..=1e9).contains(&seconds) {
        return Err(wrong("--timeout", seconds, "a number of seconds above 0, at most 1e9"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// How long what runs at the end of a duration may go on.
pub(super) fn drain(args: &RunArgs) -> Result<Duration, Failure> {
    from_zero("--drain", args.limits.drain)
}

/// When the last wave of a warm-up begins.
pub(super) fn warmup_max(args: &RunArgs) -> Result<Duration, Failure> {
    from_zero("--warmup-max", args.limits.warmup_max)
}

fn from_zero(option: &str, seconds: f64) -> Result<Duration, Failure> {
    match (0.0..=1e9).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(Failure::new(
            Exit::Usage,
            format!("invalid value `{seconds}` for `{option}`: expected a number of seconds from 0 to 1e9"),
        )),
    }
}

/// What is to be sent, before it is known to whom.
pub(super) enum Wanted {
    /// Workloads whose requests are still to be made.
    Specs(Vec<Spec>),
    /// The requests of a plan.
    Plan(Box<PlanFile>),
}

/// The workloads or the plan that was named.
pub(super) fn wanted(args: &RunArgs) -> Result<Wanted, Failure> {
    Ok(match &args.plan {
        Some(path) => Wanted::Plan(Box::new(PlanFile::open(path)?)),
        None => {
            let mut specs = specs(&args.workload)?;
            // Another run finds nothing of the one before in a prefix cache.
            specs.iter_mut().for_each(|spec| spec.seed = spec.seed.wrapping_add(args.runs_before.into()));
            Wanted::Specs(specs)
        }
    })
}

impl Wanted {
    /// The conditions of `--fail-on` and of the workloads. A plan brings none.
    pub(super) fn gates(&self, args: &RunArgs) -> Result<Gates, Failure> {
        match self {
            Self::Specs(specs) => Gates::new(&args.fail_on, specs),
            Self::Plan(_) => Gates::new(&args.fail_on, &[]),
        }
    }
}

/// Returns the conditions under which the runs of a command line fail.
pub(crate) fn gates(args: &RunArgs) -> Result<Gates, Failure> {
    wanted(args)?.gates(args)
}

/// The exact requests of every workload: made, in a file in `scratch`, or read from the file that was given.
pub(super) fn plan(wanted: Wanted, subject: &Subject, scratch: &Scratch) -> Result<(PlanFile, Replay), Failure> {
    let (tokenizer, context) = (subject.tokenizer(), subject.context_length());
    let specs = match wanted {
        Wanted::Specs(specs) => specs,
        Wanted::Plan(plan) => {
            let replay = Replay::of(&plan, subject)?;
            return Ok((*plan, replay));
        }
    };
    let specs = specs.into_iter().map(|mut spec| {
        spec.sampling.ignore_eos &= subject.can_ignore_eos();
        spec
    });
    let planners = specs.map(|spec| Planner::new(&spec, tokenizer, context)).collect::<Result<Vec<_>, _>>()?;
    let plan = sagellm_plan::write(scratch.path(), &planners, tokenizer).map_err(|error| scratch.name(error))?;
    Ok((plan, Replay::default()))
}

/// What has to be changed about the requests of a plan that was made for another model or server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replay {
    /// Token ids mean something else here: the text is sent.
    as_text: bool,
    /// Nothing makes this server go on past an end of sequence.
    heed_eos: bool,
}

impl Replay {
    /// The requests of a plan have to mean the same here as where they were made.
    fn of(plan: &PlanFile, subject: &Subject) -> Result<Self, Failure> {
        let as_text = plan.header().tokenizer != subject.tokenizer().fingerprint();
        if as_text && matches!(subject, Subject::Engine(_)) {
            let message = "the plan was made with another tokenizer than that of the model";
            return Err(Failure::new(Exit::Input, message).with_hint("write the plan again for this model"));
        }
        // Outlines count in blocks of 16 tokens, and not those of another tokenizer.
        let longest = plan.outlines().map(|outline| outline.largest_tokens).max().unwrap_or(0);
        let context = subject.context_length();
        if !as_text && longest.saturating_sub(15) > context as u64 {
            let message = format!("a request of the plan needs {longest} tokens, but the model holds {context}");
            return Err(Failure::new(Exit::Input, message).with_hint("choose a model with a longer context"));
        }
        Ok(Self { as_text, heed_eos: !subject.can_ignore_eos() })
    }

    /// What a person should know.
    pub(super) fn warnings(self) -> Vec<&'static str> {
        let text = "warning: the plan was made with another tokenizer: its texts are sent, not its token ids, and are of \
                    another length here";
        let eos =
            "warning: nothing makes this server ignore an end of sequence: answers may be shorter than the plan asks";
        [(self.as_text, text), (self.heed_eos, eos)].into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect()
    }

    /// The plan as it is sent, with the nonce of this run before its prompts, where one is asked for.
    pub(super) fn apply(self, plan: Plan, nonce: Option<Nonce>) -> Plan {
        let change = move |mut request: Request| {
            if self.as_text {
                request.prompt.token_ids = None;
            }
            request.ignore_eos &= !self.heed_eos;
            request
        };
        let Plan { workload, mut warmups, requests } = plan;
        let plan = Plan {
            workload,
            warmups: Box::new(move |place| Ok(warmups(place)?.map(change))),
            requests: Box::new(requests.map(move |request| request.map(change))),
        };
        match nonce {
            Some(nonce) => nonce.apply_to(plan),
            None => plan,
        }
    }
}

/// The CPU engine with the model loaded.
pub(super) fn engine(
    args: &RunArgs,
    model: Model,
    plan: &PlanFile,
    clock: Clock,
    progress: &Progress,
) -> Result<CpuEngine, Failure> {
    let longest = plan.outlines().map(|outline| outline.largest_tokens).max().unwrap_or(0);
    if let Some(given) = args.engine.kv_cache_tokens
        && (given as u64) < longest
    {
        let message = format!("`--kv-cache-tokens {given}` is too small: one request needs {longest} tokens");
        return Err(Failure::new(Exit::Usage, message).with_hint(format!("give at least {longest}")));
    }
    let options = args.engine.options(default_kv_tokens(plan, args.engine.sequences()), args.verbose);
    Ok(CpuEngine::start(model, &options, clock, progress.bar_only())?)
}

/// Enough to keep everything that a workload writes, so that nothing is evicted unless a budget asks for it; for long
/// workloads enough for what runs together, but not less than a modest amount.
fn default_kv_tokens(plan: &PlanFile, sequences: usize) -> usize {
    let of_workload = |outline: &Outline| kv_tokens_of(outline, sequences as u64);
    let tokens = plan.outlines().map(of_workload).max().unwrap_or(0).max(1);
    usize::try_from(tokens).unwrap_or(usize::MAX)
}

/// The same of one workload, of which the engine computes so many requests at once.
fn kv_tokens_of(outline: &Outline, sequences: u64) -> u64 {
    let together = outline.workload.max_concurrency.map_or(outline.requests, u64::from).min(sequences);
    // The engine's warm-up is one request more.
    let all = outline.all_tokens + outline.largest_tokens;
    all.min((together * outline.largest_tokens).max(MODEST_KV_TOKENS))
}

#[cfg(test)]
mod tests {
    use sagellm_core::{Arrival, Mode, Source, Workload};

    use super::*;

    #[test]
    fn the_kv_cache_holds_what_runs_together_however_long_the_run() {
        let tokens = |requests: u32, max_concurrency: Option<u32>| {
            let workload = Workload {
                name: "w".into(),
                mode: Mode::Traffic,
                source: Source::Text { input_tokens: 256, output_tokens: 256, shared_prefix_tokens: 0 },
                num_prompts: requests,
                duration_s: None,
                max_concurrency,
                arrival: Arrival::Poisson { rate: 2.0 },
                num_warmups: Some(0),
                seed: 0,
                goodput: None,
            };
            let requests = u64::from(requests);
            let outline = Outline {
                workload,
                hash: String::new(),
                requests,
                arrivals: requests,
                at_once: 0,
                output_tokens: 256 * requests,
                last_offset_ns: 0,
                largest_tokens: 512,
                all_tokens: 512 * requests,
            };
            kv_tokens_of(&outline, 256)
        };
        assert_eq!(tokens(10, None), 5120 + 512, "everything, and the warm-up");
        assert_eq!(tokens(1_000_000, None), 256 * 512, "what the engine computes at once");
        assert_eq!(tokens(1_000_000, Some(8)), MODEST_KV_TOKENS);
    }
}
