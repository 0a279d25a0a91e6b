//! Where a run came from, as rows of a name and a text.

use sagellm_core::Stamp;

use super::number;
use crate::Manifest;

/// The facts that bear on speed; what is not known says so.
pub(crate) fn rows(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let (backend, model, host) = (&manifest.backend, &manifest.backend.model, &manifest.host);
    let known = |value: &Option<String>| value.clone().unwrap_or_default();
    let commit = manifest.git_commit.as_ref().map(|commit| format!(" ({commit})")).unwrap_or_default();
    let model_facts: Vec<String> = [
        model.architecture.clone(),
        model.parameters.map(|count| format!("{} parameters", number::short(count as f64))),
        model.dtype.clone(),
        model.context_length.map(|length| format!("context {length}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let stamps = match backend.stamp {
        Stamp::Engine => "the engine, in this process",
        Stamp::Kernel => "the kernel, when the bytes arrived",
        Stamp::User => "this program, after the read",
    };
    let memory = host.memory_bytes.map(|bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)));
    let rows = [
        ("sagellm-benchmark", format!("{}{commit}", manifest.version)),
        ("started", manifest.started_at.clone()),
        (
            "model",
            if model_facts.is_empty() {
                model.name.clone()
            } else {
                format!("{} ({})", model.name, model_facts.join(", "))
            },
        ),
        ("model fingerprint", known(&model.fingerprint)),
        ("backend", format!("{} {}", backend.name, known(&backend.version))),
        ("stamps taken by", stamps.to_owned()),
        ("processor", format!("{}, {} logical", known(&host.cpu_model), host.logical_cpus)),
        ("memory", memory.unwrap_or_default()),
        ("system", format!("{} {}", host.os, known(&host.kernel))),
        ("frequency governor", known(&host.governor)),
    ];
    rows.map(|(name, value)| {
        let value = value.trim().trim_start_matches(", ");
        (name, if value.is_empty() { "not known".into() } else { value.to_owned() })
    })
    .to_vec()
}
