//! Prompts of random words, and such prompts with common beginnings.
//!
//! The words are those that the tokenizer keeps apart, so every prompt has exactly the tokens that its length says, as ids
//! and when its text is encoded again.

use sagellm_core::{Prompt, Source};
use sagellm_model::Tokenizer;

use super::lexicon::Lexicon;
use super::{Draft, Drafts};
use crate::portable::{exp, ln};
use crate::random::{self, Random};
use crate::{PlanError, Spec};

/// Prompts of a workload with fixed parameters.
pub(crate) struct Words {
    workload: String,
    seed: u64,
    lexicon: Lexicon,
    kind: Kind,
}

enum Kind {
    /// [`Source::Random`].
    Random { input: Span, output: Span, prefix: usize },
    /// [`Source::PrefixRepetition`].
    Repetition { prefix: usize, prefixes: usize, suffix: usize, output: u32 },
    /// [`Source::SharedPrefix`].
    Shared { system: usize, question: usize, output: u32, groups: Groups },
}

/// Lengths that are drawn evenly.
struct Span {
    least: u32,
    most: u32,
}

impl Span {
    /// vLLM's sense of a range ratio: from ⌊L(1−r)⌋ to ⌈L(1+r)⌉, at least 1.
    fn around(length: u32, ratio: f64) -> Self {
        let length = f64::from(length);
        Self { least: ((length * (1.0 - ratio)).floor() as u32).max(1), most: (length * (1.0 + ratio)).ceil() as u32 }
    }

    fn draw(&self, random: &mut Random) -> u32 {
        self.least + random.below((self.most - self.least) as usize + 1) as u32
    }
}

/// The group of each prompt.
enum Groups {
    /// Each as often as the others, in a drawn order.
    Even(Vec<u32>),
    /// By chance; the shares up to each group, the last one 1.
    Zipf { shares: Vec<f64>, prompts: usize },
}

impl Groups {
    fn len(&self) -> usize {
        match self {
            Self::Even(groups) => groups.len(),
            Self::Zipf { prompts, .. } => *prompts,
        }
    }

    fn of(&self, random: &mut Random, index: usize) -> u64 {
        match self {
            Self::Even(groups) => groups[index].into(),
            Self::Zipf { shares, .. } => {
                let at = random.unit();
                shares.partition_point(|share| *share < at).min(shares.len() - 1) as u64
            }
        }
    }
}

impl Words {
    /// The prompts of a workload whose source is one of the three.
    pub(super) fn of(spec: &Spec, tokenizer: &Tokenizer) -> Result<Self, PlanError> {
        let at_least_one = |option, value: u32| match value {
            0 => Err(PlanError::Value { option, value: "0".into(), range: "at least 1" }),
            _ => Ok(value as usize),
        };
        let kind = match spec.source {
            Source::Random { input_tokens, output_tokens, range_ratio, prefix_tokens } => {
                if !(0.0..1.0).contains(&range_ratio) {
                    let range = "a number from 0 to below 1";
                    return Err(PlanError::Value {
                        option: "--random-range-ratio",
                        value: range_ratio.to_string(),
                        range,
                    });
                }
                at_least_one("input_tokens", input_tokens)?;
                at_least_one("output_tokens", output_tokens)?;
                let (input, output) =
                    (Span::around(input_tokens, range_ratio), Span::around(output_tokens, range_ratio));
                Kind::Random { input, output, prefix: prefix_tokens as usize }
            }
            Source::PrefixRepetition { prefix_tokens, num_prefixes, suffix_tokens, output_tokens } => {
                at_least_one("output_tokens", output_tokens)?;
                Kind::Repetition {
                    prefix: at_least_one("prefix_tokens", prefix_tokens)?,
                    prefixes: at_least_one("num_prefixes", num_prefixes)?,
                    suffix: at_least_one("suffix_tokens", suffix_tokens)?,
                    output: output_tokens,
                }
            }
            Source::SharedPrefix {
                num_groups,
                prompts_per_group,
                system_tokens,
                question_tokens,
                output_tokens,
                zipf,
            } => {
                at_least_one("output_tokens", output_tokens)?;
                let groups = at_least_one("num_groups", num_groups)?;
                let prompts = groups.saturating_mul(at_least_one("prompts_per_group", prompts_per_group)?);
                Kind::Shared {
                    system: at_least_one("system_tokens", system_tokens)?,
                    question: at_least_one("question_tokens", question_tokens)?,
                    output: output_tokens,
                    groups: share_out(spec, groups, prompts, zipf)?,
                }
            }
            _ => return Err(PlanError::Prompt { workload: spec.name.clone(), reason: "its source is another".into() }),
        };
        let lexicon = super::lexicon(spec, tokenizer)?;
        let least = match &kind {
            Kind::Random { input, prefix: 0, .. } => input.least as usize,
            Kind::Random { prefix, .. } | Kind::Repetition { prefix, .. } => *prefix,
            Kind::Shared { system, .. } => *system,
        };
        if least < lexicon.least() {
            let reason = format!("{least} tokens are too few: this tokenizer needs at least {}", lexicon.least());
            return Err(PlanError::Prompt { workload: spec.name.clone(), reason });
        }
        Ok(Self { workload: spec.name.clone(), seed: spec.seed, lexicon, kind })
    }

    fn stream(&self, purpose: &str, index: u64) -> Random {
        random::stream(self.seed, &[&self.workload, purpose], index)
    }

    /// The beginning number `nth` of `before` tokens, and words of this prompt's own up to `before` + `own`.
    fn prompt(&self, nth: u64, before: usize, own: usize, random: &mut Random) -> Prompt {
        let inside = self.lexicon.inside(before + own);
        let mut begun = match before {
            0 => self.lexicon.begin(inside, random),
            _ => self.lexicon.begin(before, &mut self.stream("prefix", nth)),
        };
        self.lexicon.go_on(&mut begun, inside, random);
        self.lexicon.end(begun)
    }
}

/// Which group each prompt belongs to.
fn share_out(spec: &Spec, groups: usize, prompts: usize, zipf: Option<f64>) -> Result<Groups, PlanError> {
    const MOST: usize = 10_000_000;
    if prompts > MOST {
        let value = prompts.to_string();
        return Err(PlanError::Value { option: "num_groups × prompts_per_group", value, range: "at most 10000000" });
    }
    let Some(exponent) = zipf else {
        let mut order: Vec<u32> = (0..prompts).map(|prompt| (prompt % groups) as u32).collect();
        random::shuffle(&mut order, &mut random::stream(spec.seed, &[&spec.name, "groups"], 0));
        return Ok(Groups::Even(order));
    };
    if !(0.0..=20.0).contains(&exponent) {
        return Err(PlanError::Value { option: "zipf", value: exponent.to_string(), range: "a number from 0 to 20" });
    }
    let mut sum = 0.0;
    let mut shares: Vec<f64> = (1..=groups)
        .map(|rank| {
            sum += exp(-exponent * ln(rank as f64));
            sum
        })
        .collect();
    shares.iter_mut().for_each(|share| *share /= sum);
    Ok(Groups::Zipf { shares, prompts })
}

impl Drafts for Words {
    fn available(&self) -> Option<usize> {
        match &self.kind {
            Kind::Shared { groups, .. } => Some(groups.len()),
            _ => None,
        }
    }

    fn draft(&self, index: usize) -> Result<Draft, PlanError> {
        let mut random = self.stream("prompt", index as u64);
        let random = &mut random;
        Ok(match &self.kind {
            Kind::Random { input, output, prefix } => {
                let (own, output) = (input.draw(random), output.draw(random));
                Draft::one(self.prompt(0, *prefix, own as usize, random), output)
            }
            Kind::Repetition { prefix, prefixes, suffix, output } => {
                Draft::one(self.prompt((index % prefixes) as u64, *prefix, *suffix, random), *output)
            }
            Kind::Shared { system, question, output, groups } => {
                let group = groups.of(random, index);
                Draft::one(self.prompt(group, *system, *question, random), *output)
            }
        })
    }
}
