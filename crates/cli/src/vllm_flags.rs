//! Every option of vLLM's `bench serve` (0.33.0), and what becomes of it here. `run` refuses those it does not have with
//! what to do instead; `docs/vllm_flags.md` is made of the same table.

use sagellm_core::{Exit, Failure};

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// `run` has it. The text says how it differs, if it does.
    Same(&'static str),
    /// `run` has the same by another name, or does it always.
    Renamed(&'static str),
    /// There is nothing like it. The text says why, or what comes nearest.
    Refused(&'static str),
}

use Fate::{Refused, Renamed, Same};

const AUDIO_AND_IMAGES: &str = "only text is measured";
const HUB_DATA: &str = "save the prompts as a JSONL file, and use `--dataset-name custom --dataset-path FILE`";
const OTHER_DATA: &str = "this data set is not read; save it as a JSONL file for `--dataset-name custom`";
const TRACE_FIELDS: &str = "name the trace's format: `--dataset-name mooncake`, `azure` or `burstgpt`";
const NOT_GENERATION: &str = "only generation is measured, not embedding or ranking";
const PLOTS: &str =
    "`plan check --svg FILE` draws the arrivals, and `report --format csv` has every figure for other plots";

/// The table, by name.
pub(crate) const FLAGS: [(&str, Fate); 101] = [
    ("--append-result", Renamed("give every run an `--output` of its own; `compare` reads several")),
    ("--asr-max-audio-len-sec", Refused(AUDIO_AND_IMAGES)),
    ("--asr-min-audio-len-sec", Refused(AUDIO_AND_IMAGES)),
    (
        "--backend",
        Same("the names are those of servers: vllm, sglang, lmdeploy, llamacpp, sagellm, openai; `cpu` is the default"),
    ),
    ("--base-url", Same("")),
    ("--bfcl-categories", Refused(OTHER_DATA)),
    ("--blazedit-max-distance", Refused(OTHER_DATA)),
    ("--blazedit-min-distance", Refused(OTHER_DATA)),
    ("--burstiness", Same("")),
    (
        "--chat-template-kwargs",
        Renamed(
            "with `--endpoint-type chat` the server applies its template: `--extra-body '{\"chat_template_kwargs\": {...}}'`",
        ),
    ),
    ("--custom-ensure-client-side-data", Refused(AUDIO_AND_IMAGES)),
    ("--custom-output-len", Same("the length of each line unless given; vLLM: 256")),
    (
        "--dataset-name",
        Same("custom, random, sharegpt, prefix_repetition, burstgpt, and our own; `timed_trace` is `mooncake`"),
    ),
    ("--dataset-path", Same("a file")),
    (
        "--disable-shuffle",
        Refused(
            "the order is drawn from `--seed`, and the plan holds it; `--dataset-name custom` keeps that of its file",
        ),
    ),
    ("--disable-tqdm", Renamed("`--quiet`")),
    ("--enable-multimodal-chat", Refused(AUDIO_AND_IMAGES)),
    ("--endpoint", Same("")),
    ("--extra-body", Same("")),
    ("--frequency-penalty", Renamed("`--extra-body '{\"frequency_penalty\": X}'`")),
    ("--goodput", Same("e2el is our e2e; presets of MLPerf too")),
    ("--header", Same("once for each header")),
    ("--hf-name", Refused(HUB_DATA)),
    ("--hf-output-len", Refused(HUB_DATA)),
    ("--hf-split", Refused(HUB_DATA)),
    ("--hf-subset", Refused(HUB_DATA)),
    ("--host", Renamed("`--base-url http://HOST:PORT`")),
    ("--ignore-eos", Same("on unless `--ignore-eos=false`; vLLM: off")),
    ("--input-len", Same("")),
    ("--insecure", Same("")),
    ("--label", Renamed("`--metadata label=NAME`")),
    ("--logprobs", Renamed("`--extra-body '{\"logprobs\": N}'`")),
    ("--lora-assignment", Refused("one model is measured at a time: name the adapter with `--model`")),
    ("--lora-modules", Refused("one model is measured at a time: name the adapter with `--model`")),
    ("--max-concurrency", Same("")),
    ("--metadata", Same("")),
    ("--metric-percentiles", Refused("p50, p90, p95 and p99 are always reported, with intervals")),
    ("--min-p", Renamed("`--extra-body '{\"min_p\": X}'`")),
    ("--model", Same("")),
    (
        "--no-oversample",
        Renamed(
            "no prompt is used twice, ever: a data set with fewer prompts than asked is an error that says how many there are",
        ),
    ),
    ("--no-reranker", Refused(NOT_GENERATION)),
    ("--no-stream", Refused("files are always read as a stream; nothing is loaded from a hub")),
    ("--num-prompts", Same("all that a file holds unless given, of sharegpt 1000; vLLM: 1000")),
    (
        "--num-warmups",
        Same(
            "with prompts of their own, waves until two agree unless given; vLLM repeats the first measured prompt, and 0 unless given",
        ),
    ),
    ("--output-len", Same("")),
    ("--percentile-metrics", Refused("percentiles of every latency are always reported")),
    ("--plot-dataset-stats", Refused(PLOTS)),
    ("--plot-timeline", Refused(PLOTS)),
    ("--port", Renamed("`--base-url http://HOST:PORT`")),
    ("--prefix-repetition-num-prefixes", Same("")),
    ("--prefix-repetition-output-len", Same("")),
    ("--prefix-repetition-prefix-len", Same("")),
    ("--prefix-repetition-suffix-len", Same("")),
    ("--presence-penalty", Renamed("`--extra-body '{\"presence_penalty\": X}'`")),
    (
        "--probe-request-rate",
        Refused("requests of another kind beside the workload would be part of the load that is measured"),
    ),
    ("--profile", Refused("profiling slows a server, so that its figures are none: profile it in a run of its own")),
    ("--ramp-up-end-rps", Same("")),
    ("--ramp-up-start-rps", Same("")),
    ("--ramp-up-strategy", Same("the rate follows the time; vLLM: the number of the request")),
    ("--random-batch-size", Refused(NOT_GENERATION)),
    ("--random-input-len", Same("exact after a round trip through the tokenizer, special tokens included")),
    ("--random-mm-base-items-per-request", Refused(AUDIO_AND_IMAGES)),
    ("--random-mm-bucket-config", Refused(AUDIO_AND_IMAGES)),
    ("--random-mm-limit-mm-per-prompt", Refused(AUDIO_AND_IMAGES)),
    ("--random-mm-num-mm-items-range-ratio", Refused(AUDIO_AND_IMAGES)),
    ("--random-output-len", Same("")),
    ("--random-prefix-len", Same("")),
    ("--random-range-ratio", Same("one number, for both lengths")),
    ("--ready-check-timeout-sec", Renamed("`--ready-timeout SECONDS`; the server is always awaited")),
    ("--repetition-penalty", Renamed("`--extra-body '{\"repetition_penalty\": X}'`")),
    (
        "--request-id-prefix",
        Refused("requests are named by UUIDs, since some servers take nothing else; the records hold their numbers"),
    ),
    ("--request-rate", Same("offsets are not stretched afterwards to end at N/rate, as vLLM's are")),
    ("--result-dir", Renamed("`--output FOLDER`")),
    ("--result-filename", Renamed("`report --format vllm > FILE`")),
    ("--save-detailed", Renamed("the records of all requests are always kept, in `WORKLOAD.records.jsonl`")),
    (
        "--save-result",
        Renamed("results are always kept, in `--output`; `report --format vllm` prints them in vLLM's form"),
    ),
    ("--seed", Same("")),
    (
        "--self-timed",
        Renamed("`burstgpt`, `mooncake` and `azure` keep the times of the trace unless `--request-rate` is given"),
    ),
    (
        "--served-model-name",
        Renamed("`--model NAME` is the name on the server; `--tokenizer` says whose tokenizer it has"),
    ),
    ("--sharegpt-output-len", Same("")),
    ("--skip-chat-template", Renamed("`--endpoint-type completions`, the default, sends prompts as they are")),
    (
        "--skip-tokenizer-init",
        Refused("prompts are cut to an exact length, which needs a tokenizer: name one with `--tokenizer`"),
    ),
    ("--spec-bench-category", Refused(OTHER_DATA)),
    ("--spec-bench-output-len", Refused(OTHER_DATA)),
    ("--speed-bench-category", Refused(OTHER_DATA)),
    ("--speed-bench-dataset-subset", Refused(OTHER_DATA)),
    ("--speed-bench-output-len", Refused(OTHER_DATA)),
    ("--temperature", Same("0 unless given; vLLM: the server's default")),
    ("--timed-trace-chunk-hash-size", Refused(TRACE_FIELDS)),
    ("--timed-trace-label-hash-ids", Refused(TRACE_FIELDS)),
    ("--timed-trace-label-input-length", Refused(TRACE_FIELDS)),
    ("--timed-trace-label-output-length", Refused(TRACE_FIELDS)),
    ("--timed-trace-label-timestamp", Refused(TRACE_FIELDS)),
    (
        "--timed-trace-sec-multiplier",
        Renamed("`--time-scale FACTOR` stretches the times of a trace; its unit follows from its format"),
    ),
    ("--timeline-itl-thresholds", Refused(PLOTS)),
    ("--tokenizer", Same("a folder, a tokenizer.json, a .gguf file or a hub name")),
    ("--tokenizer-mode", Refused("give a Hugging Face tokenizer with `--tokenizer`")),
    ("--top-k", Same("")),
    ("--top-p", Same("")),
    ("--trust-remote-code", Refused("no code of a model or data set is ever run")),
    (
        "--use-beam-search",
        Refused("a beam's tokens come together at its end, so that there is no latency of a token to measure"),
    ),
];

/// Says what to do instead when `option` is one of vLLM's that `run` does not have.
pub(crate) fn refusal(option: &str) -> Option<Failure> {
    let (name, fate) = FLAGS.iter().find(|(name, _)| *name == option)?;
    let renamed = || format!("`{name}` of vLLM's `bench serve` has another name here");
    let (message, hint): (String, String) = match fate {
        Same(_) => return None,
        Renamed(ours) if ours.starts_with("`--") => (renamed(), format!("use {ours}")),
        Renamed(ours) => (renamed(), (*ours).into()),
        Refused(why) => (format!("`{name}` of vLLM's `bench serve` is not supported"), (*why).into()),
    };
    Some(Failure::new(Exit::Usage, message).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;
    use std::fs;
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    /// The document that the table makes.
    fn document() -> String {
        let mut text = String::from(
            "# Options of vLLM's `bench serve`\n\n\
             All options of vLLM 0.33.0's `bench serve` and of its data sets, and what `sagellm-benchmark run` makes of them. An\n\
             option that is renamed or not supported is refused with this text; none is ignored.\n\n\
             | option | here | |\n|---|---|---|\n",
        );
        for (name, fate) in FLAGS {
            let (word, note) = match fate {
                Same(note) => ("supported", note),
                Renamed(note) => ("renamed", note),
                Refused(note) => ("not supported", note),
            };
            let _ = writeln!(text, "| `{name}` | {word} | {} |", note.replace('|', "\\|"));
        }
        text
    }

    #[test]
    fn every_option_of_vllm_has_its_fate() {
        let theirs: Vec<&str> = include_str!("../../../testdata/vllm_bench_serve.txt").lines().collect();
        assert_eq!(FLAGS.map(|(name, _)| name).to_vec(), theirs);
    }

    #[test]
    fn fates_are_true() {
        let command = Cli::command();
        let run = command.find_subcommand("run").expect("`run` exists");
        let ours: BTreeSet<String> = run
            .get_arguments()
            .flat_map(|it| it.get_long_and_visible_aliases().unwrap_or_default())
            .map(|it| format!("--{it}"))
            .collect();
        for (name, fate) in FLAGS {
            let supported = matches!(fate, Same(_));
            assert_eq!(ours.contains(name), supported, "`run` and the table disagree about {name}");
            assert_eq!(refusal(name).is_none(), supported, "{name}");
        }
    }

    #[test]
    fn the_document_is_that_of_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vllm_flags.md");
        if std::env::var("INSTA_UPDATE").is_ok_and(|word| word == "always") {
            fs::write(&path, document()).expect("the document can be written");
        }
        assert_eq!(fs::read_to_string(path).unwrap_or_default(), document(), "INSTA_UPDATE=always writes it anew");
    }
}
