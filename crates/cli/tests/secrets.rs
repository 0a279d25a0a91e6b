//! Keys and tokens that a run is given are in nothing that it writes: no file, no line of the terminal, no page.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::server::{FIRST, GOOD, scripted};
use common::{PROGRAM, Place, Ran};

/// What no output may hold.
const SECRETS: [&str; 4] = ["sk-environment", "sk-launched", "sk-header", "sk-body"];
/// Options that bring two of them; the key comes by the environment.
const OPTIONS: [&str; 4] =
    ["--header", "X-Auth-Key=Bearer sk-header", "--extra-body", r#"{"api_key":"sk-body","n":1}"#];

/// Runs the program with a key in the environment.
fn run(place: &Place, words: &str, more: &[&str]) -> Ran {
    let mut command = place.program(words.split_whitespace().chain(OPTIONS).chain(more.iter().copied()));
    Ran::from(command.env("OPENAI_API_KEY", SECRETS[0]).output().unwrap())
}

/// Nothing in the folder or among what was said holds a secret.
#[track_caller]
fn assert_clean(place: &Place, ran: &Ran) {
    let names = place.listing();
    let files = names.iter().map(|name| place.file(name)).filter(|path| path.is_file());
    let mut all: Vec<_> = files
        .map(|path| (path.display().to_string(), String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()))
        .collect();
    all.push(("standard output".into(), ran.out.clone()));
    all.push(("standard error".into(), ran.err.clone()));
    for (name, text) in all {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{name} holds {secret}: {text}");
        }
    }
}

#[test]
fn a_launched_server_keeps_its_key() {
    let place = Place::new();
    // A server that tells its own command line and the key it was given, as many do.
    let serving = format!(
        "sh -c 'echo args --api-key sk-launched; echo $OPENAI_API_KEY; exec {PROGRAM} serve --simulate --port {{port}} \
         --ttft 5ms --itl 1ms'"
    );
    let words = "run --backend openai --workload short --num-prompts 2 --no-calibrate --output out -v --launch";
    let mut command = place.program(words.split_whitespace().chain([serving.as_str()]).chain(OPTIONS));
    let ran = Ran::from(command.env("OPENAI_API_KEY", SECRETS[0]).output().unwrap()).succeeded();
    assert_clean(&place, &ran);
    let log = place.text("out/server.log");
    assert!(log.starts_with("args --api-key REDACTED\nREDACTED\n"), "{log}");
    let manifest = place.json("out/manifest.json");
    let command = manifest["command_line"].as_array().unwrap();
    assert!(command.iter().any(|word| word.as_str().unwrap().contains("--api-key REDACTED; ")), "{command:?}");
    assert!(command.contains(&r#"{"api_key":"REDACTED","n":1}"#.into()), "{command:?}");
    assert_eq!(manifest["config"]["extra_body"], r#"{"api_key":"REDACTED","n":1}"#);

    let page = Ran::from(place.program("report --input out --format html".split(' ')).output().unwrap());
    assert_clean(&place, &page);
}

#[test]
fn a_server_that_dies_does_not_tell_its_key() {
    let place = Place::new();
    let words = "run --backend openai --workload short --output out --launch";
    let dying = "sh -c 'echo bad --api-key sk-launched on {port}; exit 3'";
    let mut command = place.program(words.split_whitespace().chain([dying]).chain(OPTIONS));
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("bad --api-key REDACTED on "), "{}", ran.err);
    assert_clean(&place, &ran);

    let ran =
        Ran::from(place.program(words.split_whitespace().chain(["serve --api-key sk-launched"])).output().unwrap());
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert_clean(&place, &ran);
}

#[test]
fn answers_that_repeat_a_secret_are_quoted_without_it() {
    let place = Place::new();
    let says = "status 401\nbytes 'bad keys: sk-environment sk-header sk-body'";
    let server = scripted(&format!("{GOOD}\nanswer #{FIRST}\n{says}\n"));
    let words = format!(
        "run --backend openai --base-url http://{} --workload short --num-warmups 0 --no-calibrate --output out -v",
        server.address()
    );
    let ran = run(&place, &words, &[]);
    assert_eq!(ran.code, 5, "{}", ran.err);
    let records = place.records("out", "short_input");
    assert!(records[0]["reason"].as_str().unwrap().contains("bad keys: … … …"), "{:#}", records[0]);
    assert_clean(&place, &ran);

    let server = scripted(&says.replace("401", "500"));
    let words = format!("run --backend openai --base-url http://{} --workload short", server.address());
    let ran = run(&place, &words, &["--output", "other"]);
    assert!(matches!(ran.code, 3 | 4), "{}", ran.err);
    assert!(ran.err.contains("bad keys: "), "{}", ran.err);
    assert_clean(&place, &ran);
}
