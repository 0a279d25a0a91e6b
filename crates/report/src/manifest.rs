//! Where a run came from: `manifest.json`.

use std::collections::BTreeMap;

use sagellm_core::{BackendInfo, SCHEMA_VERSION, WallTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What it takes to understand a run, and to do it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Version of this format.
    pub schema_version: u32,
    /// Version of sagellm-benchmark.
    pub version: String,
    /// Commit that it was built from, where known.
    pub git_commit: Option<String>,
    /// The command and its arguments, secrets taken out.
    pub command_line: Vec<String>,
    /// When the clock of the run read zero, as RFC 3339 in UTC. Journals whose clock started at another moment belong
    /// to another run.
    pub started_at: String,
    /// Every setting in force, defaults included.
    pub config: BTreeMap<String, String>,
    /// What the person who ran it noted.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Every seed by what it was used for.
    pub seeds: BTreeMap<String, u64>,
    /// What shows that two runs had the same input.
    pub hashes: Hashes,
    /// What was measured.
    pub backend: BackendInfo,
    /// The machine that measured.
    pub host: Host,
    /// Whether the run came to its end, be it by interruption.
    pub finished: bool,
    /// Whether a signal ended it early.
    pub interrupted: bool,
    /// Internal faults of this program during the run, each with thread, place in the source and message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// SHA-256 of what went into a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hashes {
    /// The plan of every workload, in the order of the names. A workload named here was to be run.
    pub plans: BTreeMap<String, String>,
    /// The tokenizer's file.
    pub tokenizer: Option<String>,
    /// The model's fingerprint.
    pub model: Option<String>,
}

/// The machine, as far as it bears on speed. Nothing here names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Operating system, such as `linux`.
    pub os: String,
    /// Release of its kernel.
    pub kernel: Option<String>,
    /// Name of the processor.
    pub cpu_model: Option<String>,
    /// Processors that the operating system schedules on.
    pub logical_cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Policy of the processor's frequency, such as `performance`.
    pub governor: Option<String>,
    /// Equal for equal machines, made of the above and not of the host's name.
    pub fingerprint: String,
}

impl Manifest {
    /// The manifest of a run that begins: neither finished nor interrupted, with nothing configured yet.
    pub fn new(version: &str, started: WallTime, backend: BackendInfo, host: Host) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            version: version.to_owned(),
            git_commit: None,
            command_line: Vec::new(),
            started_at: started.rfc3339(),
            config: BTreeMap::new(),
            metadata: BTreeMap::new(),
            seeds: BTreeMap::new(),
            hashes: Hashes::default(),
            backend,
            host,
            finished: false,
            interrupted: false,
            faults: Vec::new(),
        }
    }

    /// The command line as one would type it into a POSIX shell.
    pub fn shell_line(&self) -> String {
        self.command_line.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
    }
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("--model"), "--model");
        assert_eq!(shell_word("synthetic:gpt2"), "synthetic:gpt2");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("my model"), "'my model'");
        assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
    }
}
