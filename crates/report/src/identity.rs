//! What produced a result: program, machine, server, model and tokenizer.

use std::collections::{BTreeMap, BTreeSet};

use sagellm_core::BackendInfo;

use crate::Manifest;

/// The settings of a backend that say which server it is. All others follow from the options or from the moment.
const MODELS_SERVED: &str = "probe.models";

/// What produced a result, as far as it is known. Results of equal identities and equal settings continue each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(BTreeMap<&'static str, String>);

impl Identity {
    /// Reads the identity of a run from its manifest.
    pub fn of(manifest: &Manifest) -> Self {
        Self::new(
            [Some(&manifest.version), manifest.git_commit.as_ref()],
            &manifest.host.fingerprint,
            &manifest.backend,
            [manifest.hashes.tokenizer.as_ref(), manifest.hashes.model.as_ref()],
        )
    }

    /// Puts an identity together. `program` is the version and the commit of this program, `hashes` those of the tokenizer
    /// and of the model.
    pub fn new(
        program: [Option<&String>; 2],
        machine: &str,
        backend: &BackendInfo,
        hashes: [Option<&String>; 2],
    ) -> Self {
        let program: Vec<&str> = program.into_iter().flatten().map(String::as_str).collect();
        let [tokenizer, model] = hashes;
        let facts = [
            ("sagellm-benchmark", Some(program.join(" "))),
            ("machine", Some(machine.to_owned())),
            ("backend", Some(backend.name.clone())),
            ("server version", backend.version.clone()),
            ("model", Some(backend.model.name.clone())),
            ("context length", backend.model.context_length.map(|length| length.to_string())),
            ("models served", backend.settings.get(MODELS_SERVED).cloned()),
            ("tokenizer hash", tokenizer.cloned()),
            ("model hash", model.cloned()),
        ];
        Self(facts.into_iter().filter_map(|(what, value)| Some((what, value?))).collect())
    }

    /// Returns what differs, in words; nothing when the two are the same.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let value = |of: &Self, name| of.0.get(name).map_or_else(|| "unknown".to_owned(), |value| format!("`{value}`"));
        names
            .into_iter()
            .map(|name| (name, value(self, *name), value(other, *name)))
            .filter(|(_, own, others)| own != others)
            .map(|(name, own, others)| format!("{name} {own} against {others}"))
            .collect()
    }
}
