//! Options of where prompts come from, under vLLM's names where it has them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sagellm_core::SharegptRules;

use super::whole;

/// What prompts are made of, or taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DatasetName {
    /// Readable English of an exact length
    Text,
    /// Random tokens
    Random,
    /// Conversations of the ShareGPT data set
    Sharegpt,
    /// A JSONL file of prompts or messages
    #[value(alias = "openai")]
    Custom,
    /// Prompts with one of a few beginnings
    #[value(name = "prefix_repetition", alias = "prefix-repetition")]
    PrefixRepetition,
    /// Groups of prompts with a system prompt each
    #[value(name = "shared_prefix", aliases = ["shared-prefix", "generated-shared-prefix"])]
    SharedPrefix,
    /// Conversations that carry the answers on
    #[value(name = "multi_turn", alias = "multi-turn")]
    MultiTurn,
    /// A trace of BurstGPT, with its times
    Burstgpt,
    /// A trace of Mooncake, with its times
    Mooncake,
    /// A trace of Azure's LLM inference, with its times
    Azure,
}

impl DatasetName {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Random => "random",
            Self::Sharegpt => "sharegpt",
            Self::Custom => "custom",
            Self::PrefixRepetition => "prefix_repetition",
            Self::SharedPrefix => "shared_prefix",
            Self::MultiTurn => "multi_turn",
            Self::Burstgpt => "burstgpt",
            Self::Mooncake => "mooncake",
            Self::Azure => "azure",
        }
    }
}

/// Whose rules decide which conversations of ShareGPT are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RulesName {
    /// At least 4 tokens each way, at most 1024 in the prompt and 2048 in all
    Vllm,
    /// What fits into the model's context
    Sglang,
}

impl From<RulesName> for SharegptRules {
    fn from(name: RulesName) -> Self {
        match name {
            RulesName::Vllm => Self::Vllm,
            RulesName::Sglang => Self::Sglang,
        }
    }
}

/// Where prompts come from. Lengths are in tokens.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Data set (instead of --workload)")]
pub(crate) struct DatasetArgs {
    /// What prompts are made of, or taken from
    #[arg(long, value_enum, value_name = "NAME", hide_possible_values = false)]
    pub(crate) dataset_name: Option<DatasetName>,
    /// File of the data set or trace
    #[arg(long, value_name = "FILE", requires = "dataset_name")]
    pub(crate) dataset_path: Option<PathBuf>,
    /// Length of prompts, for data sets that are made: text [default: 128], random [default: 1024]
    #[arg(long, value_name = "N", requires = "dataset_name", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) input_len: Option<u32>,
    /// Length asked for, of whatever data set [default: 128, 256 for shared_prefix, or that of the data set]
    #[arg(long, value_name = "N", requires = "dataset_name", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) output_len: Option<u32>,
    /// random: length of prompts, without the prefix
    #[arg(long, value_name = "N", requires = "dataset_name", conflicts_with = "input_len", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) random_input_len: Option<u32>,
    /// random: length asked for
    #[arg(long, value_name = "N", requires = "dataset_name", conflicts_with = "output_len", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) random_output_len: Option<u32>,
    /// random: lengths are drawn evenly from L(1-R) to L(1+R), as vLLM does [default: 0]
    #[arg(long, value_name = "R", requires = "dataset_name", alias = "range-ratio")]
    pub(crate) random_range_ratio: Option<f64>,
    /// random: tokens that all prompts begin with [default: 0]
    #[arg(long, value_name = "N", requires = "dataset_name", value_parser = whole::<u32>(0..=1 << 24))]
    pub(crate) random_prefix_len: Option<u32>,
    /// sharegpt: length asked for, instead of that of the answers in the data set
    #[arg(long, value_name = "N", requires = "dataset_name", conflicts_with = "output_len", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) sharegpt_output_len: Option<u32>,
    /// sharegpt: whose rules decide what is kept [default: vllm]
    #[arg(long, value_enum, value_name = "WHOSE", requires = "dataset_name")]
    pub(crate) sharegpt_rules: Option<RulesName>,
    /// custom: length asked for; -1 is that of each line [default: -1]
    #[arg(long, value_name = "N", requires = "dataset_name", conflicts_with = "output_len", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=1 << 24))]
    pub(crate) custom_output_len: Option<i64>,
    /// prefix_repetition: length of the beginnings [default: 256]
    #[arg(long, value_name = "N", requires = "dataset_name", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) prefix_repetition_prefix_len: Option<u32>,
    /// prefix_repetition: length of the endings [default: 256]
    #[arg(long, value_name = "N", requires = "dataset_name", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) prefix_repetition_suffix_len: Option<u32>,
    /// prefix_repetition: number of beginnings [default: 10]
    #[arg(long, value_name = "N", requires = "dataset_name", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) prefix_repetition_num_prefixes: Option<u32>,
    /// prefix_repetition: length asked for [default: 128]
    #[arg(long, value_name = "N", requires = "dataset_name", conflicts_with = "output_len", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) prefix_repetition_output_len: Option<u32>,
    /// shared_prefix: number of groups [default: 64]
    #[arg(long, value_name = "N", requires = "dataset_name", alias = "gsp-num-groups", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) shared_prefix_groups: Option<u32>,
    /// shared_prefix: prompts of each group [default: 16]
    #[arg(long, value_name = "N", requires = "dataset_name", alias = "gsp-prompts-per-group", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) shared_prefix_prompts: Option<u32>,
    /// shared_prefix: length of the system prompts [default: 2048]
    #[arg(long, value_name = "N", requires = "dataset_name", alias = "gsp-system-prompt-len", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) shared_prefix_system_len: Option<u32>,
    /// shared_prefix: length of the questions [default: 128]
    #[arg(long, value_name = "N", requires = "dataset_name", alias = "gsp-question-len", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) shared_prefix_question_len: Option<u32>,
    /// shared_prefix: some groups are asked more often, by a Zipf law with this exponent
    #[arg(long, value_name = "EXPONENT", requires = "dataset_name")]
    pub(crate) shared_prefix_zipf: Option<f64>,
    /// multi_turn: turns of each conversation [default: 3]
    #[arg(long, value_name = "N", requires = "dataset_name", value_parser = whole::<u32>(1..=1 << 16))]
    pub(crate) turns: Option<u32>,
    /// multi_turn: length of the first message [default: 128]
    #[arg(long, value_name = "N", requires = "dataset_name", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) first_turn_len: Option<u32>,
    /// multi_turn: length of each later message [default: 64]
    #[arg(long, value_name = "N", requires = "dataset_name", value_parser = whole::<u32>(1..=1 << 24))]
    pub(crate) turn_len: Option<u32>,
    /// multi_turn: mean seconds from the end of an answer to the next message [default: 0]
    #[arg(long, value_name = "SECONDS", requires = "dataset_name")]
    pub(crate) think: Option<f64>,
    /// burstgpt, mooncake, azure: factor on all times; 0.5 is twice as fast [default: 1]
    #[arg(long, value_name = "FACTOR", requires = "dataset_name")]
    pub(crate) time_scale: Option<f64>,
    /// burstgpt, mooncake, azure: seconds at the beginning of the trace that are left out [default: 0]
    #[arg(long, value_name = "SECONDS", requires = "dataset_name")]
    pub(crate) skip: Option<f64>,
    /// burstgpt, mooncake, azure: seconds of the trace that are taken after these [default: all]
    #[arg(long, value_name = "SECONDS", requires = "dataset_name")]
    pub(crate) take: Option<f64>,
}
