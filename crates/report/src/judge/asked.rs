//! Findings about what the server did not do as requested: the manifest has what the probe found, the workloads the effect.

use crate::validity::{Code, Finding, Validity};
use crate::{Manifest, WorkloadSummary};

/// Responses with a smaller share of the requested tokens are a different workload.
const LEAST_LENGTH: f64 = 0.95;
/// Request fields that change what a server does.
const FIELDS: [&str; 8] =
    ["ignore_eos", "min_tokens", "temperature", "top_p", "top_k", "seed", "stream_options", "continuous_usage"];

/// Warns about fields that the server did not accept, and about responses that ended early.
pub(crate) fn check_asked(manifest: &Manifest, workloads: &mut [WorkloadSummary], validity: &mut Validity) {
    let found = |name: &str| manifest.backend.settings.get(&format!("probe.{name}"));
    let given_up: Vec<String> = FIELDS
        .iter()
        .filter_map(|name| Some((name, found(name).filter(|note| is_refusal(note))?)))
        .map(|(name, note)| format!("`{name}` ({note})"))
        .collect();
    if !given_up.is_empty() {
        validity.warn(Finding::new(
            Code::FieldsRefused,
            format!("the server rejects or ignores these request fields: {}", given_up.join(", ")),
            "compare only with runs that omit the same fields",
        ));
    }
    let not_obeyed = found("ignore_eos").filter(|note| is_refusal(note));
    for workload in workloads {
        let Some(share) = workload.get("output_length_share").filter(|share| *share < LEAST_LENGTH) else { continue };
        let message = format!(
            "responses have {:.0}% of the requested output tokens: {:.0} of {:.0} ended early",
            100.0 * share,
            workload.get("shorter_answers").unwrap_or_default(),
            workload.get("successful_requests").unwrap_or_default()
        );
        let mut finding = match not_obeyed {
            Some(_) => Finding::new(
                Code::AnswersEndEarly,
                format!("{message}, because the server ignores `ignore_eos`"),
                "use `--extra-body` to send the field with which this server forces the output length",
            ),
            None => Finding::new(Code::AnswersEndEarly, message, ""),
        };
        finding.workload = Some(workload.name().to_owned());
        // A response whose length is left to the model is not a fault.
        match not_obeyed {
            Some(_) => workload.details.validity.warn(finding),
            None => workload.details.validity.note(finding),
        }
    }
}

/// Whether a note of the probe says that a field is not accepted, or has no effect.
fn is_refusal(note: &str) -> bool {
    note.starts_with("refused") || note.starts_with("not obeyed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_are_refusals() {
        assert!(is_refusal("refused: unknown field") && is_refusal("not obeyed: 3 of 8 tokens came"));
        assert!(!is_refusal("obeyed") && !is_refusal("yes") && !is_refusal("several tokens per chunk"));
    }
}
