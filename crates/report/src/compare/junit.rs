//! A comparison as JUnit XML: a test suite for each side, a test for each gate.

use super::render::{findings, headline};
use super::{Compared, Comparison};
use crate::export::xml;

pub(super) fn junit(comparison: &Comparison) -> String {
    let count = |of: fn(&Compared) -> usize| comparison.sides.iter().map(of).sum::<usize>();
    let (tests, failures) = (count(tests), count(|side| side.failed_gates.len()));
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str(&format!(
        "<testsuites name=\"sagellm-benchmark\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">\n"
    ));
    comparison.sides.iter().for_each(|side| suite(&mut text, comparison, side));
    text.push_str("</testsuites>\n");
    text
}

/// The gates, and the comparison itself, which shows the verdict and the warnings.
fn tests(side: &Compared) -> usize {
    1 + side.passed_gates.len() + side.failed_gates.len() + side.undecided_gates.len()
}

fn suite(text: &mut String, comparison: &Comparison, side: &Compared) {
    text.push_str(&format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\">\n",
        xml(&side.name),
        tests(side),
        side.failed_gates.len(),
        side.undecided_gates.len()
    ));
    let case = |name: &str, body: &str| {
        let head = format!("    <testcase classname=\"{}\" name=\"{}\"", xml(&side.name), xml(name));
        if body.is_empty() { format!("{head}/>\n") } else { format!("{head}>\n      {body}\n    </testcase>\n") }
    };
    let mut words = vec![headline(comparison, side)];
    words.extend(findings(comparison, side).into_iter().map(|(kind, words)| format!("{kind} {words}")));
    // Line ends stay as they are in the text of an element.
    let words = xml(&words.join("\n")).replace("&#10;", "\n");
    text.push_str(&case("comparison", &format!("<system-out>{words}</system-out>")));
    for gate in &side.failed_gates {
        text.push_str(&case(name(gate), &format!("<failure type=\"gate\" message=\"{}\"/>", xml(gate))));
    }
    for gate in &side.undecided_gates {
        text.push_str(&case(name(gate), &format!("<skipped message=\"{}\"/>", xml(gate))));
    }
    for gate in &side.passed_gates {
        text.push_str(&case(name(gate), &format!("<system-out>{}</system-out>", xml(gate))));
    }
    text.push_str("  </testsuite>\n");
}

/// The condition and the metric and workload that it judged, without the values, so that a test keeps its name from one
/// comparison to the next.
fn name(gate: &str) -> &str {
    let end = [" went from ", " is "].iter().filter_map(|words| gate.find(words)).min();
    &gate[..end.unwrap_or(gate.len())]
}
