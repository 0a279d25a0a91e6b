//! The built-in workloads.

use sagellm_core::{Arrival, Mode, Source};

use crate::{Decoding, PlanError, Spec};

/// The names that [`builtin`] knows, in the order in which they are listed to a person. The names in results
/// (`short_input`, `long_input`, `stress_test`) are understood too.
pub const NAMES: [&str; 5] = ["m1", "year1", "short", "long", "stress"];

/// The workloads behind a name: `m1` and `year1` stand for all three, in this order.
///
/// # Errors
/// [`PlanError::UnknownWorkload`], whose hint lists the names.
pub fn builtin(name: &str) -> Result<Vec<Spec>, PlanError> {
    Ok(match name {
        "short" | "short_input" => vec![short()],
        "long" | "long_input" => vec![long()],
        "stress" | "stress_test" => vec![stress()],
        "m1" | "year1" => vec![short(), long(), stress()],
        _ => return Err(PlanError::UnknownWorkload { name: name.into() }),
    })
}

/// The names for a sentence: `` `m1`, `year1`, ... and `stress` ``.
pub(crate) fn listed() -> String {
    let quoted: Vec<String> = NAMES.iter().map(|name| format!("`{name}`")).collect();
    let (last, others) = quoted.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
    format!("{} and {last}", others.join(", "))
}

/// Plain latency: short prompts, one at a time.
fn short() -> Spec {
    Spec {
        name: "short_input".into(),
        mode: Mode::Traffic,
        source: Source::Text { input_tokens: 128, output_tokens: 128, shared_prefix_tokens: 0 },
        num_prompts: Some(5),
        duration_s: None,
        max_concurrency: Some(1),
        arrival: Arrival::Immediate,
        num_warmups: 1,
        seed: 0,
        sampling: Decoding::default(),
    }
}

/// A longer context, one request at a time.
fn long() -> Spec {
    Spec {
        name: "long_input".into(),
        source: Source::Text { input_tokens: 200, output_tokens: 200, shared_prefix_tokens: 0 },
        num_prompts: Some(3),
        ..short()
    }
}

/// Ten at once, with a common beginning for a prefix cache to find: pressure on batching and on the KV cache.
fn stress() -> Spec {
    Spec {
        name: "stress_test".into(),
        source: Source::Text { input_tokens: 256, output_tokens: 256, shared_prefix_tokens: 64 },
        num_prompts: Some(10),
        max_concurrency: Some(10),
        ..short()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sagellm_core::{Exit, UserError};

    fn names(selection: &str) -> Vec<String> {
        builtin(selection).unwrap().into_iter().map(|spec| spec.name).collect()
    }

    #[test]
    fn every_listed_name_is_known_and_so_is_its_name_in_results() {
        for name in NAMES {
            for result in names(name) {
                assert_eq!(names(&result), [result.as_str()]);
            }
        }
        assert_eq!(names("m1"), ["short_input", "long_input", "stress_test"]);
        assert_eq!(names("year1"), names("m1"));
    }

    #[test]
    fn they_are_as_documented() {
        let shape = |name: &str| {
            let spec = builtin(name).unwrap().remove(0);
            let Source::Text { input_tokens, output_tokens, shared_prefix_tokens } = spec.source else {
                panic!("{name} is made of text")
            };
            (input_tokens, output_tokens, shared_prefix_tokens, spec.num_prompts, spec.max_concurrency)
        };
        assert_eq!(shape("short"), (128, 128, 0, Some(5), Some(1)));
        assert_eq!(shape("long"), (200, 200, 0, Some(3), Some(1)));
        assert_eq!(shape("stress"), (256, 256, 64, Some(10), Some(10)));
    }

    #[test]
    fn an_unknown_name_is_a_usage_error_that_lists_the_names() {
        let error = builtin("shrot").unwrap_err();
        assert_eq!(error.to_string(), "unknown workload `shrot`");
        assert_eq!(error.hint().unwrap(), "the workloads are `m1`, `year1`, `short`, `long` and `stress`");
        assert_eq!(error.exit(), Exit::Usage);
    }
}
