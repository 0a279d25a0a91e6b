//! The files that vLLM's `bench serve` reads.

use std::path::Path;

use sagellm_core::{Arrival, Request, Workload};
use serde::Serialize;

use super::{Summary, load, words};
use crate::{PlanError, random};

/// Tokens that one hash of a timed trace stands for: vLLM's default.
const BLOCK: usize = 16;

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Custom<'a> {
    prompt: &'a str,
    output_tokens: u32,
}

pub(super) fn custom(request: &Request) -> Custom<'_> {
    Custom { prompt: &request.prompt.text, output_tokens: request.max_tokens }
}

pub(super) fn custom_arguments(path: &Path, workload: &Workload, summary: &Summary) -> Vec<String> {
    // vLLM shuffles the file and puts the prompts into the chat template unless told otherwise.
    let mut options = words(["--dataset-name", "custom", "--skip-chat-template", "--disable-shuffle"]);
    options.extend(["--dataset-path".to_owned(), path.display().to_string()]);
    options.extend(["--num-prompts".to_owned(), summary.requests.to_string()]);
    options.extend(words(["--custom-output-len", "-1"]));
    options.extend(["--temperature".to_owned(), summary.temperature.to_string()]);
    options.extend(load(workload));
    if let Arrival::Gamma { burstiness, .. } = workload.arrival {
        options.extend(["--burstiness".to_owned(), burstiness.to_string()]);
    }
    if summary.ignore_eos {
        options.push("--ignore-eos".into());
    }
    options
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct TimedTrace {
    /// Seconds.
    timestamp: f64,
    input_length: usize,
    output_length: u32,
    /// Equal where the prompts up to the end of the block are.
    hash_ids: Vec<u64>,
}

pub(super) fn timed_trace(request: &Request) -> Result<TimedTrace, PlanError> {
    let Some(ids) = &request.prompt.token_ids else {
        return Err(PlanError::Contradiction {
            option: "vllm-timed-trace",
            circumstance: "for prompts that were not tokenized",
            hint: "write the plan with `--tokenizer`, or export to `vllm-custom`",
        });
    };
    let mut prefix = 0;
    let blocks = ids.chunks(BLOCK).map(|block| {
        prefix = random::follow(prefix, block);
        // Whole numbers that every reader of JSON keeps.
        prefix >> 11
    });
    Ok(TimedTrace {
        timestamp: request.offset_ns as f64 / 1e9,
        input_length: ids.len(),
        output_length: request.max_tokens,
        hash_ids: blocks.collect(),
    })
}

pub(super) fn timed_trace_arguments(path: &Path, summary: &Summary) -> Vec<String> {
    let mut options = words(["--dataset-name", "timed_trace", "--timed-trace-chunk-hash-size", "16"]);
    options.extend(["--dataset-path".to_owned(), path.display().to_string()]);
    options.extend(["--num-prompts".to_owned(), summary.requests.to_string()]);
    if summary.ignore_eos {
        options.push("--ignore-eos".into());
    }
    options
}
