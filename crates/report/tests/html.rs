//! The page of a run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use sagellm_core::journal::Close;
use sagellm_core::{OutcomeKind, Record, ServerSample, ServerWindow};
use sagellm_report::render::{Format, Look, Wanted, render, render_path};
use sagellm_report::{registry, summarize_folder, write_results};
use serde_json::Value;
use support::{MS, close, failure, header, manifest, server_window, success, write_journal, write_manifest};

fn page(path: &Path) -> String {
    String::from_utf8(render_path(path, Wanted::default(), Format::Html, Look::default()).unwrap()).unwrap()
}

/// What the scripts of a page read.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script id="data" type="application/json">"#).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn run(records: &[Record]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_journal(folder.path(), header("short_input", records.len() as u32), records, Some(close()));
    write_manifest(folder.path(), &manifest(&["short_input"]));
    folder
}

#[test]
fn shows_the_verdict_and_every_figure_with_its_definition() {
    let records: Vec<Record> = (0..60).map(|id| success(id, 1000 + id * 40, 20 + id % 3, 5)).collect();
    let folder = run(&records);
    let page = page(folder.path());
    assert!(page.contains(r#"<p class="verdict">VALID</p>"#));
    for metric in registry::all() {
        let tip = format!("data-tip=\"{}: ", metric.key);
        assert!(page.contains(&tip), "{}", metric.key);
    }
    // The command is a shell's, the hash that of the plan.
    assert!(page.contains("sagellm-benchmark run --workload m1 -o &#x27;my results&#x27;"), "the command");
    assert!(page.contains("<code>ef56</code>"));
    let data = data(&page);
    let of = &data[0];
    assert_eq!((of["requests"].as_u64(), of["bars"].as_array().unwrap().len()), (Some(60), 60));
    // The first is sent 1000 ms after the clock started, which is when the workload began.
    assert_eq!((&of["bars"][0]["sent"], &of["bars"][0]["first"]), (&0.into(), &20_000.into()));
    assert_eq!(of["bars"][0]["ticks"], serde_json::json!([5000, 5000, 5000]));
    let names: Vec<&str> =
        of["spread"].as_array().unwrap().iter().map(|spread| spread["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ttft", "tbt", "e2e"]);
    assert_eq!(of["spread"][1]["points"][0][1], 5.0);
}

#[test]
fn loads_nothing_and_lets_no_text_through() {
    let evil = "</script><script>alert(1)</script><img src=x>";
    let mut bad = failure(1, 1100, OutcomeKind::ServerError);
    bad.reason = Some(evil.into());
    let folder = run(&[success(0, 1000, 20, 5), bad]);
    let mut of = manifest(&["short_input"]);
    of.backend.model.name = evil.into();
    of.command_line.push(evil.into());
    of.metadata.insert(evil.into(), evil.into());
    write_manifest(folder.path(), &of);
    let page = page(folder.path());
    assert!(!page.contains("<img") && !page.contains("alert(1)</script>"));
    assert_eq!(page.matches("<script").count(), 2, "the data and the program");
    assert_eq!(page.matches("</script").count(), 2);
    for outside in ["http://", "https://", "src=\"", "@import", "url(\"", "fetch(", "//cdn"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_run_that_crashed_is_shown_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    write_journal(folder.path(), header("short_input", 9), &[success(0, 1000, 20, 5)], None);
    let page = page(folder.path());
    assert!(page.contains(r#"<p class="verdict">INVALID</p>"#) && page.contains("did not end"));
    assert_eq!(data(&page)[0]["bars"].as_array().unwrap().len(), 1);
}

#[test]
fn a_summary_alone_has_no_charts_and_says_why() {
    let folder = run(&[success(0, 1000, 20, 5), success(1, 1100, 20, 5)]);
    let summary = summarize_folder(folder.path()).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    write_results(elsewhere.path(), &summary).unwrap();
    let file = elsewhere.path().join("benchmark_summary.json");
    assert!(page(&file).contains("No charts"));
    assert!(page(&file) == render(&summary, Format::Html, Look::default()).unwrap());
    // The summary beside its journals is as good as the folder.
    write_results(folder.path(), &summary).unwrap();
    assert!(page(&folder.path().join("benchmark_summary.json")) == page(folder.path()));
}

#[test]
fn many_requests_make_no_large_page_and_what_is_left_out_is_said() {
    let mut records: Vec<Record> = (0..30_000).map(|id| success(id, 1000 + id, 20, 5)).collect();
    records.extend((0..600).map(|id| failure(30_000 + id, 1000 + id, OutcomeKind::Timeout)));
    let folder = run(&records);
    let page = page(folder.path());
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert!(page.contains("the timeline shows 4000 requests, drawn evenly from 30000 that did not fail"));
    assert!(page.contains("the timeline shows the first 400 of 600 failed requests"));
    let data = data(&page);
    assert_eq!((data[0]["requests"].as_u64(), data[0]["spread"][0]["n"].as_u64()), (Some(30_600), Some(30_000)));
    // Drawn evenly: half of them from each half of the run.
    let bars = data[0]["bars"].as_array().unwrap();
    let early =
        bars.iter().filter(|bar| bar["outcome"] == "success" && bar["sent"].as_i64() < Some(15_000_000)).count();
    assert!((1800..2200).contains(&early), "{early}");
}

#[test]
fn the_cache_is_shown_over_time_for_an_engine_and_for_a_server() {
    let sample = |at: u64, share: f64| ServerSample {
        at_ns: at * MS,
        waiting: Some(0.0),
        kv_usage: Some(share),
        ..ServerSample::default()
    };
    let readings = |of: &dyn Fn(&mut Close, Vec<ServerSample>)| {
        let folder = tempfile::tempdir().unwrap();
        let mut close = close();
        of(&mut close, vec![sample(1000, 0.25), sample(1020, 0.5)]);
        write_journal(folder.path(), header("w", 1), &[success(0, 1000, 20, 5)], Some(close));
        data(&page(folder.path()))[0]["server"].clone()
    };
    let wanted = serde_json::json!([{"at": 0, "kv": 0.25, "waiting": 0.0}, {"at": 20_000, "kv": 0.5, "waiting": 0.0}]);
    assert_eq!(readings(&|close, samples| close.backend.samples = samples), wanted);
    assert_eq!(
        readings(&|close, samples| {
            close.backend.server = Some(ServerWindow { samples, ..server_window(12.0) });
        }),
        wanted
    );
}
