//! The built-in workloads: files as anyone can write them, inside the program.

use std::fmt::Write;

use crate::workload_file::{self, Syntax};
use crate::{PlanError, Spec};

/// The names that [`builtin`] knows, in the order in which they are listed to a person. The names in results
/// (`short_input`, `long_input`, `stress_test`) are understood too.
pub const NAMES: [&str; 14] =
    ["m1", "year1", "short", "long", "stress", "Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "all"];

const SHORT: &str = include_str!("../workloads/short.yaml");
const LONG: &str = include_str!("../workloads/long.yaml");
const STRESS: &str = include_str!("../workloads/stress.yaml");
/// sageLLM's catalogue.
const QUERIES: [&str; 8] = [
    include_str!("../workloads/Q1.yaml"),
    include_str!("../workloads/Q2.yaml"),
    include_str!("../workloads/Q3.yaml"),
    include_str!("../workloads/Q4.yaml"),
    include_str!("../workloads/Q5.yaml"),
    include_str!("../workloads/Q6.yaml"),
    include_str!("../workloads/Q7.yaml"),
    include_str!("../workloads/Q8.yaml"),
];

/// The workloads behind a name: `m1` and `year1` stand for short, long and stress, `all` for Q1 to Q8, in this order.
///
/// # Errors
/// [`PlanError::UnknownWorkload`], whose hint lists the names.
pub fn builtin(name: &str) -> Result<Vec<Spec>, PlanError> {
    let text = builtin_text(name)?;
    workload_file::parse(&text, Syntax::Yaml).map_err(|wrong| wrong.within(format!("{name}.yaml").into()))
}

/// The file behind a name, in YAML.
///
/// # Errors
/// [`PlanError::UnknownWorkload`], whose hint lists the names.
pub fn builtin_text(name: &str) -> Result<String, PlanError> {
    Ok(match name {
        "short" | "short_input" => SHORT.into(),
        "long" | "long_input" => LONG.into(),
        "stress" | "stress_test" => STRESS.into(),
        "m1" | "year1" => together(&[SHORT, LONG, STRESS]),
        "all" => together(&QUERIES),
        _ => match NAMES[5..13].iter().zip(QUERIES).find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, text)) => text.into(),
            None => return Err(PlanError::UnknownWorkload { name: name.into() }),
        },
    })
}

/// One file of several.
fn together(files: &[&str]) -> String {
    let mut text = String::from("workloads:\n");
    for file in files {
        let (comments, body): (Vec<&str>, Vec<&str>) = file.lines().partition(|line| line.starts_with('#'));
        // Writing to a string cannot fail.
        for comment in comments {
            let _ = writeln!(text, "  {comment}");
        }
        for (nth, line) in body.into_iter().enumerate() {
            let _ = writeln!(text, "  {} {line}", if nth == 0 { '-' } else { ' ' });
        }
    }
    text
}

/// The names for a sentence: `` `m1`, `year1`, ... and `all` ``.
pub(crate) fn listed() -> String {
    let quoted: Vec<String> = NAMES.iter().map(|name| format!("`{name}`")).collect();
    let (last, others) = quoted.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
    format!("{} and {last}", others.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sagellm_core::{Exit, Source, UserError};

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
        assert_eq!(names("all"), ["Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8"]);
        assert_eq!(names("q3"), ["Q3"]);
    }

    #[test]
    fn a_selection_holds_the_same_as_its_files() {
        let single: Vec<Spec> = ["short", "long", "stress"].map(|name| builtin(name).unwrap().remove(0)).to_vec();
        assert_eq!(builtin("m1").unwrap(), single);
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
        assert_eq!(shape("Q1"), (32, 64, 0, Some(5), Some(1)));
        assert_eq!(shape("Q6"), (512, 128, 0, Some(10), Some(10)));
        assert_eq!(shape("Q7"), (256, 512, 0, Some(3), Some(1)));
    }

    #[test]
    fn an_unknown_name_is_a_usage_error_that_lists_the_names() {
        let error = builtin("shrot").unwrap_err();
        assert_eq!(error.to_string(), "unknown workload `shrot`");
        let hint = error.hint().unwrap();
        assert!(hint.starts_with("the workloads are `m1`, `year1`, `short`, `long`, `stress`, `Q1`"), "{hint}");
        assert!(hint.contains("and `all`"), "{hint}");
        assert_eq!(error.exit(), Exit::Usage);
    }
}
