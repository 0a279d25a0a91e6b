//! What was not done as it was asked for. The manifest knows what the probe found, the workloads know what came of it.

use crate::validity::{Code, Finding, Validity};
use crate::{Manifest, WorkloadSummary};

/// Answers that have less than this share of the tokens asked for are another workload.
const LEAST_LENGTH: f64 = 0.95;
/// Fields of a request that change what a server does.
const FIELDS: [&str; 8] =
    ["ignore_eos", "min_tokens", "temperature", "top_p", "top_k", "seed", "stream_options", "continuous_usage"];

/// Warns of fields that the server did not accept, and of answers that ended before the length asked for.
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
            format!("the server does not do all that was asked for: {}", given_up.join(", ")),
            "compare only with runs that did without the same fields",
        ));
    }
    let not_obeyed = found("ignore_eos").filter(|note| is_refusal(note));
    for workload in workloads {
        let Some(share) = workload.get("output_length_share").filter(|share| *share < LEAST_LENGTH) else { continue };
        let message = format!(
            "answers have {:.0} % of the output tokens asked for: {:.0} of {:.0} ended before",
            100.0 * share,
            workload.get("shorter_answers").unwrap_or_default(),
            workload.get("successful_requests").unwrap_or_default()
        );
        let mut finding = match not_obeyed {
            Some(_) => Finding::new(
                Code::AnswersEndEarly,
                format!("{message}, since the server does not obey `ignore_eos`"),
                "give the field of this server that makes answers as long as asked for with `--extra-body`, or compare with care",
            ),
            None => Finding::new(Code::AnswersEndEarly, message, ""),
        };
        finding.workload = Some(workload.name().to_owned());
        // An answer whose length was left to the model is as it should be.
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
