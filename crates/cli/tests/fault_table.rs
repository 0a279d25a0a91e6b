//! `docs/faults.md`: every fault in its tables is brought about, and ends as its row says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::TcpListener;

use common::server::{FIRST, GOOD, scripted};
use common::{Place, number, repository};
use sagellm_core::Clock;

/// The cells of the table below which a column is called `column`, without the quotes of code.
fn rows(column: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(repository().join("docs/faults.md")).unwrap();
    let head = text.lines().position(|line| line.contains(&format!("| {column} |"))).unwrap();
    let cells = |line: &str| {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    };
    let rows: Vec<_> = text.lines().skip(head + 2).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(rows.len() > 1 && rows.iter().all(|row| row.len() == 4), "{rows:#?}");
    assert!(rows.is_sorted_by_key(|row| row[0].to_lowercase()), "faults stand from A to Z");
    rows
}

#[test]
fn every_fault_of_a_request_is_told_by_kind() {
    let place = Place::new();
    let faults = rows("Server");
    let mut script = GOOD.to_owned();
    for (fault, number) in faults.iter().zip(FIRST..) {
        script += &format!("\nanswer #{number}\n{}\n", fault[1].replace("; ", "\n"));
    }
    let server = scripted(&script);
    let requests = faults.len() + 2;
    let clock = Clock::start();
    let ran = place.run(&format!(
        "run --backend openai --base-url http://{} --workload short --num-warmups 0 --no-calibrate --output out \
         --timeout 1 --num-prompts {requests}",
        server.address()
    ));
    assert!(clock.now() < 20_000_000_000, "two requests end by a timeout of a second each");
    assert_eq!(ran.code, 5, "{}", ran.err);
    let named: Vec<_> = server.truth().into_iter().map(|exchange| exchange.request_id.unwrap_or_default()).collect();
    // Requests of one client have one prefix, which the probes before them do not share.
    let (of_the_run, _) = named.last().unwrap().rsplit_once('-').unwrap();
    let measured = named.iter().position(|name| name.starts_with(of_the_run)).unwrap();
    assert_eq!(measured as u64 + 1, FIRST, "that many requests come before the measured ones");

    let records = place.records("out", "short_input");
    assert_eq!(records.len(), requests);
    for (record, fault) in records.iter().zip(&faults) {
        let reason = record["reason"].as_str().unwrap();
        assert!(record["outcome"] == *fault[2] && reason.starts_with(&fault[3]), "{fault:?}: {record:#}");
        // The token before the fault is kept, and never counted as success.
        let tokens = u64::from(fault[1].contains("\"a\""));
        assert_eq!(record["output_tokens"], tokens, "{fault:?}");
    }
    for record in &records[faults.len()..] {
        assert_eq!(record["outcome"], "success", "the next request is served: {record:#}");
    }
    let figures = place.json("out/short_input_metrics.json");
    let failed = faults.len() as f64;
    assert_eq!((number(&figures, "successful_requests"), number(&figures, "failed_requests")), (2.0, failed));
    for (_, outcome) in faults.iter().map(|fault| (&fault[0], fault[2].as_str())) {
        let count = faults.iter().filter(|fault| fault[2] == outcome).count();
        assert_eq!(figures["outcomes"][outcome], count, "{outcome}");
    }
    let lines = place.lines("out/short_input.records.jsonl");
    assert_eq!(lines.last().unwrap()["line"], "close");
    assert_eq!(place.json("out/manifest.json")["finished"], true);
    let summary = place.json("out/benchmark_summary.json");
    assert_eq!(summary["validity"]["verdict"], "INVALID");
    assert_eq!(summary["validity"]["reasons"][0]["code"], "error_rate");
    assert!(ran.out.contains(&format!("{failed} of {requests} requests failed: ")), "{}", ran.out);
}

#[test]
fn every_fault_of_a_command_has_its_exit_code_and_words() {
    let server = scripted(GOOD);
    let url = format!("http://{}", server.address());
    // It was free a moment ago, and no other process takes it: the system assigns such ports in turn.
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for row in rows("Command") {
        let place = Place::new();
        let mut line = row[1].replace("URL", &url).replace("REFUSED", &refused);
        line = line.replace("run short", "run --model synthetic:tiny --workload short --num-prompts 2");
        for command in ["run --", "report --"] {
            line = line.replace(command, &format!("sagellm-benchmark {command}"));
        }
        let ran = place.shell(&line).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
        // A shell reports a signal in its exit code.
        let code = ran.status.code().unwrap_or_else(|| {
            use std::os::unix::process::ExitStatusExt;
            128 + ran.status.signal().unwrap()
        });
        assert_eq!(code.to_string(), row[2], "{line}\n{said}");
        assert!(said.contains(&row[3]), "{line}\n{said}");
    }
}
