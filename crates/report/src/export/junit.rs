//! JUnit XML: the run is a suite and every workload a test, which fails when its verdict is INVALID.
//! Warnings are what it prints.

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
    let warnings = summary.validity.warnings.iter().filter(|finding| finding.workload.is_none());
    case(&mut text, "run", 0.0, &of_run, &warnings.collect::<Vec<_>>());
    for workload in summary.workloads.iter() {
        let validity = &workload.details.validity;
        let [reasons, warnings] = [&validity.reasons, &validity.warnings].map(|all| all.iter().collect::<Vec<_>>());
        case(&mut text, workload.name(), seconds(workload), &reasons, &warnings);
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn case(text: &mut String, name: &str, seconds: f64, reasons: &[&Finding], warnings: &[&Finding]) {
    let head = format!("    <testcase classname=\"sagellm-benchmark\" name=\"{}\" time=\"{seconds}\"", xml(name));
    if reasons.is_empty() && warnings.is_empty() {
        text.push_str(&format!("{head}/>\n"));
        return;
    }
    text.push_str(&format!("{head}>\n"));
    if let Some(first) = reasons.first() {
        let (first, body) = (xml(&first.message), body(reasons));
        text.push_str(&format!("      <failure type=\"INVALID\" message=\"{first}\">{body}</failure>\n"));
    }
    // What a test prints: nothing else is shown of one that passes.
    if !warnings.is_empty() {
        text.push_str(&format!("      <system-out>{}</system-out>\n", body(warnings)));
    }
    text.push_str("    </testcase>\n");
}

/// Each finding with its remedy.
fn body(findings: &[&Finding]) -> String {
    let line =
        |finding: &&Finding| format!("{}: {}\n  remedy: {}", finding.code.name(), finding.message, finding.remedy);
    // Line ends stay as they are in the text of an element.
    xml(&findings.iter().map(line).collect::<Vec<_>>().join("\n")).replace("&#10;", "\n")
}
