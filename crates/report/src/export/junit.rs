//! JUnit XML: the run is a suite and every workload a test, which fails when its verdict is INVALID.

use super::xml;
use crate::validity::Finding;
use crate::{Summary, WorkloadSummary};

pub(crate) fn junit(summary: &Summary) -> String {
    let valid = |findings: &[Finding]| findings.is_empty();
    // What is wrong with the run but with no workload in particular is a test of its own.
    let of_run: Vec<&Finding> = summary.validity.reasons.iter().filter(|finding| finding.workload.is_none()).collect();
    let failed = summary.workloads.iter().filter(|workload| !valid(&workload.details.validity.reasons)).count();
    let tests = summary.workloads.len() + 1;
    let failures = failed + usize::from(!of_run.is_empty());
    let seconds = |workload: &WorkloadSummary| workload.get("total_time_s").unwrap_or(0.0);
    let time: f64 = summary.workloads.iter().map(seconds).sum();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let head = format!("name=\"sagellm-benchmark\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\"");
    text.push_str(&format!(
        "<testsuites {head} time=\"{time}\">\n  <testsuite {head} skipped=\"0\" time=\"{time}\">\n"
    ));
    case(&mut text, "run", 0.0, &of_run);
    for workload in summary.workloads.iter() {
        case(
            &mut text,
            workload.name(),
            seconds(workload),
            &workload.details.validity.reasons.iter().collect::<Vec<_>>(),
        );
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn case(text: &mut String, name: &str, seconds: f64, reasons: &[&Finding]) {
    let head = format!("    <testcase classname=\"sagellm-benchmark\" name=\"{}\" time=\"{seconds}\"", xml(name));
    if reasons.is_empty() {
        text.push_str(&format!("{head}/>\n"));
        return;
    }
    text.push_str(&format!("{head}>\n"));
    let all: Vec<String> =
        reasons.iter().map(|finding| format!("{}\n  remedy: {}", finding.message, finding.remedy)).collect();
    let first = xml(&reasons[0].message);
    // Line ends stay as they are in the text of an element.
    let body = xml(&all.join("\n")).replace("&#10;", "\n");
    text.push_str(&format!("      <failure type=\"INVALID\" message=\"{first}\">{body}</failure>\n    </testcase>\n"));
}
