//! From files to a summary, and what is said when they are not what they should be.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::Path;

use sagellm_core::{Exit, Record, UserError, WallTime};
use sagellm_report::{Code, Error, Manifest, Verdict, load, schemas, write_json, write_results};
use support::*;

fn records(count: u64) -> Vec<Record> {
    (0..count).map(|id| success(id, 1000 + id * 40, 12, 5)).collect()
}

/// The folder of a run of two workloads, in which the one that ran first comes second by name.
fn run(folder: &Path) {
    write_manifest(folder, &manifest(&["short_input", "long_input"]));
    write_journal(folder, header("short_input", 5), &records(5), Some(close()));
    let mut long = header("long_input", 3);
    long.start_ns = 3000 * MS;
    write_journal(folder, long, &records(3), Some(close()));
}

fn fails(path: &Path) -> (String, String) {
    let error = load(path).unwrap_err();
    assert_eq!(error.exit(), Exit::Input);
    (error.to_string(), error.hint().unwrap())
}

#[test]
fn a_folder_becomes_a_summary_in_the_order_of_running() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let summary = load(folder.path()).unwrap();
    let names: Vec<_> = summary.workloads.iter().map(|workload| workload.name()).collect();
    assert_eq!(names, ["short_input", "long_input"]);
    assert_eq!((summary.overall.total_workloads, summary.overall.successful_requests), (2, 8));
    assert_eq!(summary.validity.verdict, Verdict::Valid);
}

#[test]
fn what_is_written_is_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let summary = load(folder.path()).unwrap();
    let out = folder.path().join("out");
    let written = write_results(&out, &summary).unwrap();
    let names: Vec<_> = written.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["short_input_metrics.json", "long_input_metrics.json", "benchmark_summary.json"]);
    assert_eq!(load(&out.join("benchmark_summary.json")).unwrap(), summary);
    assert_eq!(load(&out).unwrap(), summary, "a folder without journals has its summary file");
    let flat: serde_json::Value = serde_json::from_slice(&fs::read(&written[0]).unwrap()).unwrap();
    assert_eq!(flat["total_requests"], 5);
    assert!(flat["avg_ttft_ms"].is_f64());
    let whole: serde_json::Value = serde_json::from_slice(&fs::read(&written[2]).unwrap()).unwrap();
    assert_eq!(whole["workloads"]["short_input"], flat, "the same object in both places");
}

#[test]
fn leftovers_are_no_repeated_runs() {
    let folder = tempfile::tempdir().unwrap();
    // What calibrations leave behind when they are killed: journals without a manifest, and hidden folders.
    for name in [".tmpAb12", "left"] {
        let left = folder.path().join(name);
        fs::create_dir(&left).unwrap();
        write_journal(&left, header("w", 1), &[success(0, 1000, 20, 5)], Some(close()));
    }
    write_manifest(&folder.path().join(".tmpAb12"), &manifest(&["w"]));
    let (message, hint) = fails(folder.path());
    assert!(message.starts_with("no results in"), "{message}");
    assert!(hint.contains("it holds a `manifest.json`"), "{hint}");
}

#[test]
fn a_missing_file_tells_to_run_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("benchmark_summary.json");
    let (message, hint) = fails(&path);
    assert_eq!(message, format!("File not found: {}", path.display()));
    assert_eq!(hint, "give the folder of a run, or its `benchmark_summary.json`");
    let (message, hint) = fails(folder.path());
    assert!(message.starts_with("no results in"), "{message}");
    assert!(hint.starts_with("give a folder that `run` wrote"), "{hint}");
    // Only the place where runs go by default says that there was none.
    let (_, hint) = fails(Path::new("./benchmark_results/benchmark_summary.json"));
    assert_eq!(hint, "run `sagellm-benchmark run --workload m1 --backend cpu` first");
    run(folder.path());
    let (_, hint) = fails(&path);
    assert!(hint.contains(&format!("report --input {}", folder.path().display())), "{hint}");
}

#[test]
fn broken_json_has_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("benchmark_summary.json");
    fs::write(&path, "{\n  \"schema_version\": 1,\n  oops\n}").unwrap();
    let (message, _) = fails(&path);
    assert_eq!(message, format!("{}:3:3: key must be a string", path.display()));
    fs::write(&path, "{\"schema_version\": 1}").unwrap();
    let (message, _) = fails(&path);
    assert_eq!(message, format!("{}:1:21: missing field `workloads`", path.display()));
}

#[test]
fn a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("benchmark_summary.json");
    fs::write(&path, "{\"schema_version\": 99, \"anything\": []}").unwrap();
    let (message, hint) = fails(&path);
    assert!(message.contains("has schema version 99; this program reads up to 1"), "{message}");
    assert!(hint.contains("later"), "{hint}");
    let journal = folder.path().join("w.records.jsonl");
    fs::write(&journal, "{\"line\":\"header\",\"schema_version\":99}\n").unwrap();
    assert!(matches!(load(folder.path()).unwrap_err(), Error::Newer { version: 99, .. }));
}

#[test]
fn other_files_of_a_run_are_named() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let summary = load(folder.path()).unwrap();
    write_results(folder.path(), &summary).unwrap();
    let (message, hint) = fails(&folder.path().join("short_input_metrics.json"));
    assert!(message.ends_with("is the figures of one workload, not a summary"), "{message}");
    assert!(hint.contains("benchmark_summary.json"), "{hint}");
    let (message, _) = fails(&folder.path().join("short_input.records.jsonl"));
    assert!(message.ends_with("is the journal of one workload, not a summary"), "{message}");
}

#[test]
fn a_torn_last_line_is_left_out() {
    for torn in ["{\"line\":\"request\",\"id\":", "{\"line\":\"request\",\"id\":\n", "\0\0\0\0\n"] {
        let folder = tempfile::tempdir().unwrap();
        let text = journal_text(header("short_input", 5), &records(3), None) + torn;
        fs::write(folder.path().join("short_input.records.jsonl"), text).unwrap();
        let summary = load(folder.path()).unwrap();
        assert_eq!(summary.overall.successful_requests, 3);
        assert!(summary.validity.has(Code::Unfinished));
        assert!(summary.validity.has(Code::NoManifest));
    }
}

#[test]
fn damage_elsewhere_has_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.records.jsonl");
    let good = journal_text(header("w", 3), &records(3), Some(close()));
    let lines: Vec<&str> = good.lines().collect();
    let cases = [
        (lines[1..].join("\n"), 1, "the first line is not a header"),
        ([lines[0], "{\"line\":\"request\"}", lines[2]].join("\n"), 2, "missing field `id`"),
        ([lines[0], lines[2], lines[2], lines[5]].join("\n"), 3, "request 0 is recorded twice"),
        ([lines[0], lines[0], lines[5]].join("\n"), 2, "there is a second header"),
        ([lines[0], lines[5], lines[2]].join("\n"), 3, "there is a line after the closing one"),
    ];
    for (text, line, wanted) in cases {
        fs::write(&path, text + "\n").unwrap();
        let (message, hint) = fails(folder.path());
        assert!(message.starts_with(&format!("{}:{line}:", path.display())) && message.ends_with(wanted), "{message}");
        assert!(hint.contains("journal"), "{hint}");
    }
}

#[test]
fn records_that_contradict_themselves_are_refused() {
    let refuse = |change: fn(&mut Record)| {
        let mut record = success(7, 1000, 12, 5);
        change(&mut record);
        sagellm_report::Sample::new(header("w", 1)).unwrap().push(&record).unwrap_err()
    };
    let message = refuse(|record| record.sent_ns = Some(1013 * MS));
    assert_eq!(message, "request 7: first_token_ns (1012000000) is before sent_ns (1013000000)");
    assert!(refuse(|record| record.sent_ns = None).contains("without having been sent"));
    assert!(refuse(|record| record.end_ns = 0).contains("end_ns (0) is before last_token_ns"));
    assert!(refuse(|record| record.chunks.swap(1, 2)).contains("out of order"));
    assert!(refuse(|record| record.chunks.clear()).contains("chunks"));
    assert!(refuse(|record| record.chunks[1].tokens = 0).contains("holds no token"));
    assert!(refuse(|record| record.chunks[1].tokens = u32::MAX).contains("more than any answer"));
}

#[test]
fn the_name_of_a_workload_cannot_lead_out_of_the_folder() {
    for name in ["../x", "a/b", "", ".hidden", "a\\b"] {
        assert!(sagellm_report::Sample::new(header(name, 1)).is_err(), "{name}");
    }
}

#[test]
fn results_of_another_run_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let mut old = header("stress_test", 3);
    old.clock_started = WallTime { unix_ns: STARTED.unix_ns - 3_600_000_000_000 };
    write_journal(folder.path(), old, &records(3), Some(close()));
    let summary = load(folder.path()).unwrap();
    assert!(summary.workloads.get("stress_test").is_none());
    let warning = summary.validity.warnings.iter().find(|finding| finding.code == Code::OtherRun).unwrap();
    assert!(warning.message.ends_with("left out: stress_test"), "{}", warning.message);
    fs::remove_file(folder.path().join("manifest.json")).unwrap();
    assert_eq!(load(folder.path()).unwrap().workloads.len(), 2, "without a manifest the latest run counts");
}

#[test]
fn a_workload_that_never_began_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = manifest(&["short_input", "stress_test"]);
    manifest.finished = false;
    write_manifest(folder.path(), &manifest);
    write_journal(folder.path(), header("short_input", 5), &records(5), Some(close()));
    fs::write(folder.path().join("stress_test.records.jsonl"), "{\"line\":\"hea").unwrap();
    let summary = load(folder.path()).unwrap();
    assert_eq!(summary.validity.verdict, Verdict::Invalid);
    assert_eq!(summary.validity.reasons[0].code, Code::Unfinished);
    assert!(summary.validity.reasons[0].message.ends_with("stress_test"));
    manifest.interrupted = true;
    write_manifest(folder.path(), &manifest);
    assert_eq!(load(folder.path()).unwrap().validity.reasons[0].code, Code::Interrupted);
}

#[test]
fn two_journals_of_one_workload_are_one_too_many() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    fs::copy(folder.path().join("short_input.records.jsonl"), folder.path().join("copy.records.jsonl")).unwrap();
    let (message, _) = fails(folder.path());
    assert!(message.contains("are both journals of workload `short_input`"), "{message}");
}

#[test]
fn schemas_describe_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let summary = load(folder.path()).unwrap();
    // Left out where there are none.
    let environment =
        summary.environment.clone().map(|manifest| Manifest { faults: vec!["a panic".into()], ..manifest });
    let texts = schemas().unwrap();
    let schema = |name: &str| -> serde_json::Value {
        let text = &texts.iter().find(|(file, _)| *file == name).unwrap().1;
        serde_json::from_str(text).unwrap()
    };
    let keys = |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    let workload = serde_json::to_value(summary.workloads.get("short_input").unwrap()).unwrap();
    assert_eq!(keys(&workload), keys(&schema("workload_metrics.schema.json")["properties"]));
    assert_eq!(
        keys(&serde_json::to_value(&summary).unwrap()),
        keys(&schema("benchmark_summary.schema.json")["properties"])
    );
    assert_eq!(keys(&serde_json::to_value(&environment).unwrap()), keys(&schema("manifest.schema.json")["properties"]));
    assert_eq!(schema("records.schema.json")["oneOf"].as_array().unwrap().len(), 3);
}

#[test]
fn the_workloads_alone_are_keyed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let path = folder.path().join("all.json");
    write_json(&path, &load(folder.path()).unwrap().workloads).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(value["short_input"]["request_throughput_rps"].is_f64());
}
