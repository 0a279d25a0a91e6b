//! From the options of the command line to workloads.

use std::path::PathBuf;

use sagellm_core::{Arrival, Exit, Failure, RampShape, Source, TraceFormat};
use sagellm_plan::{Overrides, Ramp, Spec, builtin, names_file, read_workloads};

use crate::args::{DatasetArgs, DatasetName, WorkloadArgs};

/// Requests of a data set that are taken when nobody says how many, as vLLM does.
const DEFAULT_PROMPTS: u32 = 1000;

/// The workloads that were named, changed as asked.
pub(crate) fn specs(args: &WorkloadArgs) -> Result<Vec<Spec>, Failure> {
    let (load, sampling) = (&args.load, &args.sampling);
    let ramp = load.ramp_up_strategy.zip(load.ramp_up_start_rps.zip(load.ramp_up_end_rps));
    let overrides = Overrides {
        mode: args.mode.map(Into::into),
        num_prompts: load.num_prompts,
        max_concurrency: load.max_concurrency,
        request_rate: load.request_rate,
        burstiness: load.burstiness,
        ramp: ramp.map(|(shape, (from_rate, to_rate))| Ramp { shape: RampShape::from(shape), from_rate, to_rate }),
        num_warmups: load.num_warmups,
        duration_s: load.duration,
        seed: load.seed,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        ignore_eos: sampling.ignore_eos,
    };
    let specs = match args.dataset.dataset_name {
        Some(name) => vec![of_dataset(name, &args.dataset)?],
        None if names_file(&args.workload) => read_workloads(args.workload.as_ref())?,
        None => builtin(&args.workload)?,
    };
    specs.into_iter().map(|spec| Ok(overrides.apply(spec)?)).collect()
}

/// The workload of `--dataset-name`: everything at once, unless the data set has times of its own.
fn of_dataset(name: DatasetName, args: &DatasetArgs) -> Result<Spec, Failure> {
    refuse_foreign(name, args)?;
    let output = args.output_len;
    let trace = |format| -> Result<Source, Failure> {
        let time_scale = args.time_scale.unwrap_or(1.0);
        let (skip_s, take_s) = (args.skip.unwrap_or(0.0), args.take);
        Ok(Source::Trace { path: path(name, args)?, format, time_scale, skip_s, take_s })
    };
    let source = match name {
        DatasetName::Text => Source::Text {
            input_tokens: args.input_len.unwrap_or(128),
            output_tokens: output.unwrap_or(128),
            shared_prefix_tokens: 0,
        },
        DatasetName::Random => Source::Random {
            input_tokens: args.random_input_len.or(args.input_len).unwrap_or(1024),
            output_tokens: args.random_output_len.or(output).unwrap_or(128),
            range_ratio: args.random_range_ratio.unwrap_or(0.0),
            prefix_tokens: args.random_prefix_len.unwrap_or(0),
        },
        DatasetName::Sharegpt => Source::Sharegpt {
            path: path(name, args)?,
            rules: args.sharegpt_rules.map(Into::into).unwrap_or_default(),
            output_tokens: args.sharegpt_output_len.or(output),
        },
        DatasetName::Custom => {
            let given = args.custom_output_len.map(|length| u32::try_from(length).ok());
            Source::Custom { path: path(name, args)?, output_tokens: given.unwrap_or(output) }
        }
        DatasetName::PrefixRepetition => Source::PrefixRepetition {
            prefix_tokens: args.prefix_repetition_prefix_len.unwrap_or(256),
            num_prefixes: args.prefix_repetition_num_prefixes.unwrap_or(10),
            suffix_tokens: args.prefix_repetition_suffix_len.unwrap_or(256),
            output_tokens: args.prefix_repetition_output_len.or(output).unwrap_or(128),
        },
        DatasetName::SharedPrefix => Source::SharedPrefix {
            num_groups: args.shared_prefix_groups.unwrap_or(64),
            prompts_per_group: args.shared_prefix_prompts.unwrap_or(16),
            system_tokens: args.shared_prefix_system_len.unwrap_or(2048),
            question_tokens: args.shared_prefix_question_len.unwrap_or(128),
            output_tokens: output.unwrap_or(256),
            zipf: args.shared_prefix_zipf,
        },
        DatasetName::MultiTurn => Source::MultiTurn {
            turns: args.turns.unwrap_or(3),
            first_tokens: args.first_turn_len.unwrap_or(128),
            turn_tokens: args.turn_len.unwrap_or(64),
            output_tokens: output.unwrap_or(128),
            think_s: args.think.unwrap_or(0.0),
        },
        DatasetName::Burstgpt => trace(TraceFormat::Burstgpt)?,
        DatasetName::Mooncake => trace(TraceFormat::Mooncake)?,
        DatasetName::Azure => trace(TraceFormat::Azure)?,
    };
    let arrival = match source {
        Source::Trace { .. } => Arrival::Trace,
        _ => Arrival::Immediate,
    };
    let num_prompts = (name == DatasetName::Sharegpt).then_some(DEFAULT_PROMPTS);
    Ok(Spec { num_prompts, arrival, ..Spec::new(name.name(), source) })
}

fn path(name: DatasetName, args: &DatasetArgs) -> Result<PathBuf, Failure> {
    args.dataset_path.clone().ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`--dataset-name {}` needs a file", name.name()))
            .with_hint("name it with `--dataset-path`")
    })
}

/// Options that another data set has are refused, not ignored.
fn refuse_foreign(name: DatasetName, args: &DatasetArgs) -> Result<(), Failure> {
    use DatasetName as D;
    const FILES: &[DatasetName] = &[D::Sharegpt, D::Custom, D::Burstgpt, D::Mooncake, D::Azure];
    const TRACES: &[DatasetName] = &[D::Burstgpt, D::Mooncake, D::Azure];
    const LENGTHS: &[DatasetName] =
        &[D::Text, D::Random, D::Sharegpt, D::Custom, D::PrefixRepetition, D::SharedPrefix, D::MultiTurn];
    let options: [(&str, bool, &[DatasetName]); 26] = [
        ("--dataset-path", args.dataset_path.is_some(), FILES),
        ("--input-len", args.input_len.is_some(), &[D::Text, D::Random]),
        ("--output-len", args.output_len.is_some(), LENGTHS),
        ("--random-input-len", args.random_input_len.is_some(), &[D::Random]),
        ("--random-output-len", args.random_output_len.is_some(), &[D::Random]),
        ("--random-range-ratio", args.random_range_ratio.is_some(), &[D::Random]),
        ("--random-prefix-len", args.random_prefix_len.is_some(), &[D::Random]),
        ("--sharegpt-output-len", args.sharegpt_output_len.is_some(), &[D::Sharegpt]),
        ("--sharegpt-rules", args.sharegpt_rules.is_some(), &[D::Sharegpt]),
        ("--custom-output-len", args.custom_output_len.is_some(), &[D::Custom]),
        ("--prefix-repetition-prefix-len", args.prefix_repetition_prefix_len.is_some(), &[D::PrefixRepetition]),
        ("--prefix-repetition-suffix-len", args.prefix_repetition_suffix_len.is_some(), &[D::PrefixRepetition]),
        ("--prefix-repetition-num-prefixes", args.prefix_repetition_num_prefixes.is_some(), &[D::PrefixRepetition]),
        ("--prefix-repetition-output-len", args.prefix_repetition_output_len.is_some(), &[D::PrefixRepetition]),
        ("--shared-prefix-groups", args.shared_prefix_groups.is_some(), &[D::SharedPrefix]),
        ("--shared-prefix-prompts", args.shared_prefix_prompts.is_some(), &[D::SharedPrefix]),
        ("--shared-prefix-system-len", args.shared_prefix_system_len.is_some(), &[D::SharedPrefix]),
        ("--shared-prefix-question-len", args.shared_prefix_question_len.is_some(), &[D::SharedPrefix]),
        ("--shared-prefix-zipf", args.shared_prefix_zipf.is_some(), &[D::SharedPrefix]),
        ("--turns", args.turns.is_some(), &[D::MultiTurn]),
        ("--first-turn-len", args.first_turn_len.is_some(), &[D::MultiTurn]),
        ("--turn-len", args.turn_len.is_some(), &[D::MultiTurn]),
        ("--think", args.think.is_some(), &[D::MultiTurn]),
        ("--time-scale", args.time_scale.is_some(), TRACES),
        ("--skip", args.skip.is_some(), TRACES),
        ("--take", args.take.is_some(), TRACES),
    ];
    match options.iter().find(|(_, given, of)| *given && !of.contains(&name)) {
        None => Ok(()),
        Some((option, _, of)) => {
            let of: Vec<_> = of.iter().map(|name| format!("`{}`", name.name())).collect();
            let message = format!("`{option}` has no meaning with `--dataset-name {}`", name.name());
            Err(Failure::new(Exit::Usage, message).with_hint(format!("it is an option of {}", of.join(", "))))
        }
    }
}
