//! From a workload to its exact requests.

use std::collections::HashSet;

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use sagellm_core::{Arrival, DataFile, Mode, Nanos, Prompt, Request, Sampling, Source, Workload};
use sagellm_model::Tokenizer;

use crate::sources::{self, Draft, Drafts};
use crate::{Offsets, PlanError, Spec, random};

/// Two prompts differ within this many tokens, a block of a KV cache, so that none finds the other's blocks.
const BLOCK: usize = 16;
/// Requests when neither the workload nor its source nor a duration says how many.
const DEFAULT_REQUESTS: u64 = 1000;
/// Requests of a plan at most.
const MOST_REQUESTS: u64 = 100_000_000;
/// Requests planned for each second and slot of a closed loop that is limited by its duration alone: more than any model
/// answers.
const CLOSED_LOOP_SUPPLY: f64 = 4.0;
/// Drafts that are made at a time, by all processors together.
const ROUND: usize = 256;
/// Drafts that are made by one processor at least.
const LEAST_SHARE: usize = 4;

/// Makes the requests of one workload for a model.
pub struct Planner<'a> {
    spec: Spec,
    workload: Workload,
    context_length: usize,
    drafts: Box<dyn Drafts + 'a>,
    /// Conversations, or single requests.
    count: usize,
}

/// A source whose file is named without the folder that it lies in, so that a plan is the same wherever its data are.
fn without_folder(mut source: Source) -> Source {
    if let Source::Sharegpt { path, .. } | Source::Custom { path, .. } | Source::Trace { path, .. } = &mut source
        && let Some(name) = path.file_name()
    {
        *path = name.into();
    }
    source
}

impl<'a> Planner<'a> {
    /// Opens the source of a workload and finds out how many requests there will be.
    ///
    /// # Errors
    /// [`PlanError::Value`] for parameters out of range, what is wrong with a data set, and [`PlanError::TooFew`] when the
    /// source does not hold as many prompts as asked.
    pub fn new(spec: &Spec, tokenizer: &'a Tokenizer, context_length: usize) -> Result<Self, PlanError> {
        spec.check()?;
        let drafts = sources::open(spec, tokenizer, context_length)?;
        let count = count(spec, &*drafts)?;
        let requests = count * drafts.turns();
        let workload = Workload {
            name: spec.name.clone(),
            mode: spec.mode,
            source: without_folder(spec.source.clone()),
            num_prompts: u32::try_from(requests).unwrap_or(u32::MAX),
            duration_s: spec.duration_s,
            max_concurrency: spec.max_concurrency,
            arrival: spec.arrival.clone(),
            num_warmups: spec.num_warmups,
            seed: spec.seed,
            goodput: spec.goodput.clone(),
        };
        Ok(Self { spec: spec.clone(), workload, context_length, drafts, count })
    }

    /// The workload, with its number of requests.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The file that prompts are taken from.
    pub fn data(&self) -> Option<DataFile> {
        self.drafts.data()
    }

    /// The measured requests, in the order in which they are due. They are made when they are asked for, by all processors.
    pub fn requests(&self) -> impl Iterator<Item = Result<Request, PlanError>> + use<'_, 'a> {
        let offsets = Offsets::new(&self.workload.arrival, self.count as u64, self.workload.seed);
        let traced = self.workload.arrival == Arrival::Trace;
        let mut distinct = Distinct::new(&*self.drafts, &self.workload.name);
        let mut id = 0;
        let rounds = (0..self.count).step_by(ROUND);
        let drafts = rounds.flat_map(|from| self.make(from..self.count.min(from + ROUND)));
        drafts.zip(offsets).zip(0..).flat_map(move |((draft, offset), index)| {
            let made = draft.and_then(|draft| {
                let offset = if traced { draft.at.unwrap_or(offset) } else { offset };
                self.turns(draft, index, offset, &mut id, &mut distinct)
            });
            match made {
                Ok(requests) => requests.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            }
        })
    }

    /// The drafts of a range, in order. The threads stay from one range to the next, and with them what tokenizers remember.
    fn make(&self, range: std::ops::Range<usize>) -> Vec<Result<Draft, PlanError>> {
        range.into_par_iter().with_min_len(LEAST_SHARE).map(|index| self.drafts.draft(index)).collect()
    }

    /// The requests of one draft.
    fn turns(
        &self,
        draft: Draft,
        index: u64,
        offset: Nanos,
        next_id: &mut u64,
        distinct: &mut Option<Distinct>,
    ) -> Result<Vec<Request>, PlanError> {
        if let Some(distinct) = distinct {
            distinct.check(&draft)?;
        }
        let several = draft.turns.len() > 1;
        let last = draft.turns.len().saturating_sub(1);
        let mut needed = 0_u64;
        let mut requests = Vec::with_capacity(draft.turns.len());
        for (nth, turn) in draft.turns.into_iter().enumerate() {
            let input = turn.prompt.token_ids.as_ref().map_or(0, Vec::len);
            needed += input as u64 + u64::from(turn.max_tokens);
            if needed > self.context_length as u64 {
                return Err(PlanError::Context {
                    workload: self.workload.name.clone(),
                    request: *next_id,
                    input: needed - u64::from(turn.max_tokens),
                    output: turn.max_tokens,
                    needed,
                    available: self.context_length,
                });
            }
            let due = if nth == 0 { offset } else { turn.think };
            let session = several.then_some(index);
            let mut request = self.request(*next_id, due, session, turn.prompt, turn.max_tokens);
            request.keep_answer = nth < last;
            requests.push(request);
            *next_id += 1;
        }
        Ok(requests)
    }

    fn request(&self, id: u64, offset_ns: Nanos, session: Option<u64>, prompt: Prompt, max_tokens: u32) -> Request {
        let decoding = &self.spec.sampling;
        Request {
            id,
            offset_ns,
            session,
            prompt,
            max_tokens,
            sampling: Sampling {
                temperature: decoding.temperature,
                top_p: decoding.top_p,
                top_k: decoding.top_k,
                // 32 bits, because not every server takes more.
                seed: random::stream(self.workload.seed, &["sampling"], id).bits() >> 32,
            },
            ignore_eos: decoding.ignore_eos,
            keep_answer: false,
        }
    }
}

/// Refuses what contradicts itself.
pub(crate) fn check(spec: &Spec) -> Result<(), PlanError> {
    for (option, value) in [("num_prompts", spec.num_prompts), ("max_concurrency", spec.max_concurrency)] {
        if value == Some(0) {
            return Err(PlanError::Value { option, value: "0".into(), range: "at least 1" });
        }
    }
    check_duration(spec.duration_s)?;
    if spec.mode == Mode::Batch && spec.arrival != Arrival::Immediate {
        return Err(PlanError::Contradiction {
            option: "arrival",
            circumstance: "in batch mode, where everything is offered at once",
            hint: "leave it out, or use the mode `traffic`",
        });
    }
    let has_times = matches!(spec.source, Source::Trace { .. } | Source::Custom { .. });
    if spec.arrival == Arrival::Trace && !has_times {
        return Err(PlanError::Contradiction {
            option: "arrival: trace",
            circumstance: "without a trace as the source",
            hint: "choose another arrival process, or a trace as the source",
        });
    }
    Ok(())
}

/// Refuses a duration that no run could have.
pub(crate) fn check_duration(seconds: Option<f64>) -> Result<(), PlanError> {
    match seconds {
        Some(seconds) if !(1e-3..=1e7).contains(&seconds) => {
            let range = "a number of seconds from 0.001 to 1e7";
            Err(PlanError::Value { option: "--duration", value: seconds.to_string(), range })
        }
        _ => Ok(()),
    }
}

/// Conversations, or single requests, of a plan.
fn count(spec: &Spec, drafts: &dyn Drafts) -> Result<usize, PlanError> {
    let turns = drafts.turns() as u64;
    if let Some(wanted) = spec.num_prompts.map(u64::from) {
        if !wanted.is_multiple_of(turns) {
            let range = "a multiple of the turns of a conversation";
            return Err(PlanError::Value { option: "num_prompts", value: wanted.to_string(), range });
        }
        if let Some(available) = drafts.available()
            && (available as u64) < wanted / turns
        {
            return Err(PlanError::TooFew { workload: spec.name.clone(), wanted, available: available as u64 * turns });
        }
    }
    let open_loop = !matches!(spec.arrival, Arrival::Immediate | Arrival::Trace);
    let given = spec.num_prompts.map(|requests| u64::from(requests) / turns);
    let most = given.or(drafts.available().map(|count| count as u64));
    let count = match (spec.duration_s, most) {
        (Some(seconds), most) if open_loop => {
            let most = most.unwrap_or(MOST_REQUESTS);
            let limit = (seconds * 1e9) as Nanos;
            let offsets = Offsets::new(&spec.arrival, most, spec.seed);
            (0..most).zip(offsets).take_while(|(_, offset)| *offset < limit).count() as u64
        }
        (_, Some(most)) => most,
        (Some(seconds), None) => {
            let slots = f64::from(spec.max_concurrency.unwrap_or(1));
            ((seconds * slots * CLOSED_LOOP_SUPPLY).ceil() as u64).max(1)
        }
        (None, None) => DEFAULT_REQUESTS.div_ceil(turns),
    };
    match count {
        0 => Err(PlanError::TooFew { workload: spec.name.clone(), wanted: 1, available: 0 }),
        _ if count * turns > MOST_REQUESTS => Err(PlanError::Value {
            option: "num_prompts",
            value: (count * turns).to_string(),
            range: "at most 100000000",
        }),
        count => Ok(count as usize),
    }
}

/// Makes sure that no prompt begins like another, which very short ones might.
struct Distinct {
    workload: String,
    /// Tokens that all have in common.
    shared: usize,
    /// Hashes of the block that follows.
    seen: HashSet<u64>,
}

impl Distinct {
    fn new(drafts: &dyn Drafts, workload: &str) -> Option<Self> {
        let shared = drafts.distinct_after()?;
        Some(Self { workload: workload.to_owned(), shared, seen: HashSet::new() })
    }

    fn check(&mut self, draft: &Draft) -> Result<(), PlanError> {
        for turn in &draft.turns {
            let ids = turn.prompt.token_ids.as_deref().unwrap_or_default();
            let block = &ids[self.shared.min(ids.len())..ids.len().min(self.shared + BLOCK)];
            if !self.seen.insert(random::hash(block)) {
                let reason = "they are too short to begin differently".into();
                return Err(PlanError::Prompt { workload: self.workload.clone(), reason });
            }
        }
        Ok(())
    }
}
