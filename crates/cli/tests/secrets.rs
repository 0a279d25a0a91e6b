//! Keys and tokens that a run is given are in nothing that it writes: no file, no line of the terminal, no page.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::server::{FIRST, GOOD, scripted};
use common::{PROGRAM, Place, Ran};

/// What no output may contain: keys, passwords and tokens of every way into the program.
const SECRETS: [&str; 15] = [
    "sk-environment-1",
    "sk-launched-2",
    "hf-launched-3",
    "pw-launched-4",
    "sk-header-5",
    "cookie-6-abcdef",
    "custom7a1b2c3d4",
    "sk-body-8",
    "body-nested-9",
    "pw-body-10",
    "sk-query-11",
    "sig-query-12",
    "sk-note-13",
    "pw-note-14",
    "of-the-server-15",
];
/// Options that bring most of them.
const OPTIONS: [&str; 11] = [
    "--header",
    "X-Auth-Key=Bearer sk-header-5",
    "--header",
    "Cookie: session=cookie-6-abcdef",
    "--header=X-Custom=custom7a1b2c3d4",
    "--extra-body",
    r#"{"api_key":"sk-body-8","auth":{"secret":["body-nested-9"]},"hook":"https://u:pw-body-10@h","n":1}"#,
    "--metadata",
    "token=sk-note-13",
    "proxy=http://u:pw-note-14@h",
    "gpu=H100",
];
/// What a server says that repeats all that it was given, and more.
const REPEATED: &str = "bad keys: sk-environment-1 sk-header-5 session=cookie-6-abcdef custom7a1b2c3d4 sk-body-8 \
    body-nested-9 pw-body-10 sk-query-11 sig-query-12, not Bearer of-the-server-15";

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
    // A server that writes its own command line and the keys it was given to its log, as many do.
    let serving = format!(
        "env HF_TOKEN=hf-launched-3 HTTPS_PROXY=http://u:pw-launched-4@h:1 sh -c 'echo args --api-key sk-launched-2; \
         echo $OPENAI_API_KEY $HF_TOKEN $HTTPS_PROXY; echo Authorization: Bearer of-the-server-15; \
         exec {PROGRAM} serve --simulate --port {{port}} --ttft 5ms --itl 1ms'"
    );
    let words = "run --backend openai --workload short --num-prompts 2 --no-calibrate --output out -v";
    let ran = run(&place, words, &["--launch", &serving]).succeeded();
    assert_clean(&place, &ran);
    let log = place.text("out/server.log");
    let expected = "args --api-key REDACTED\nREDACTED REDACTED http://REDACTED@h:1\nAuthorization: Bearer REDACTED\n";
    assert!(log.starts_with(expected), "{log}");
    let manifest = place.json("out/manifest.json");
    let command = manifest["command_line"].as_array().unwrap();
    assert!(command.iter().any(|word| word.as_str().unwrap().contains("--api-key REDACTED; ")), "{command:?}");
    let body = r#"{"api_key":"REDACTED","auth":"REDACTED","hook":"https://REDACTED@h","n":1}"#;
    assert!(command.contains(&body.into()), "{command:?}");
    assert_eq!(manifest["config"]["extra_body"], body);
    assert_eq!(manifest["metadata"]["token"], "REDACTED");
    assert_eq!(manifest["metadata"]["gpu"], "H100");

    let page = Ran::from(place.program("report --input out --format html".split(' ')).output().unwrap());
    assert_clean(&place, &page);
}

#[test]
fn a_server_that_dies_does_not_show_its_key() {
    let place = Place::new();
    let words = "run --backend openai --workload short --output out";
    let dying = "sh -c 'echo bad --api-key sk-launched-2 on {port}; exit 3'";
    let ran = run(&place, words, &["--launch", dying]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("bad --api-key REDACTED on "), "{}", ran.err);
    assert_clean(&place, &ran);

    let ran = run(&place, words, &["--launch", "serve --api-key sk-launched-2"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert_clean(&place, &ran);
}

#[test]
fn answers_that_repeat_a_secret_are_quoted_without_it() {
    let place = Place::new();
    let says = format!("status 401\nbytes '{REPEATED}'");
    let server = scripted(&format!("{GOOD}\nanswer #{FIRST}\n{says}\n"));
    let endpoint = ["--endpoint", "/v1/completions?api-key=sk-query-11&sig=sig-query-12&v=2"];
    let words = format!(
        "run --backend openai --base-url http://{} --workload short --num-warmups 0 --no-calibrate --output out -v",
        server.address()
    );
    let ran = run(&place, &words, &endpoint);
    assert_eq!(ran.code, 5, "{}", ran.err);
    let records = place.records("out", "short_input");
    assert!(records[0]["reason"].as_str().unwrap().contains("bad keys: … … "), "{:#}", records[0]);
    let manifest = place.json("out/manifest.json");
    let shown = "/v1/completions?api-key=REDACTED&sig=REDACTED&v=2";
    assert_eq!(manifest["config"]["endpoint"], shown);
    assert!(manifest["backend"]["settings"]["url"].as_str().unwrap().ends_with(shown), "{manifest:#}");
    assert_clean(&place, &ran);
    for format in ["html", "markdown", "json", "csv", "junit", "openmetrics", "vllm", "sglang"] {
        let report = Ran::from(place.program(["report", "--input", "out", "--format", format]).output().unwrap());
        assert_clean(&place, &report.succeeded());
    }

    let server = scripted(&says.replace("401", "500"));
    let words = format!("run --backend openai --base-url http://{} --workload short", server.address());
    let ran = run(&place, &words, &["--output", "other", endpoint[0], endpoint[1]]);
    assert!(matches!(ran.code, 3 | 4), "{}", ran.err);
    assert!(ran.err.contains("bad keys: "), "{}", ran.err);
    assert_clean(&place, &ran);
}

#[test]
fn urls_with_passwords_are_refused_without_them() {
    let place = Place::new();
    for option in ["--base-url", "--proxy"] {
        for url in ["http://u:pw-note-14@h", "ftp://u:pw-note-14@h", "http://h/?token=sk-note-13", "u:pw-note-14@h"] {
            let words = format!("run --backend openai --output out {option} {url}");
            let mut command = place.program(words.split_whitespace());
            let ran = Ran::from(command.output().unwrap());
            assert_eq!(ran.code, 2, "{option} {url}: {}", ran.err);
            assert_clean(&place, &ran);
        }
    }
}

#[test]
fn ordinary_words_as_keys_leave_the_results_as_they_are() {
    for key in ["EMPTY", "1", "null", "ollama", "token", "openai"] {
        let place = Place::new();
        let server = scripted(&format!("{GOOD}\nanswer #{FIRST}\nstatus 400\nbytes 'null token 1'"));
        let words = format!(
            "run --backend openai --base-url http://{} --workload short --num-warmups 0 --no-calibrate --output out \
             --format json --max-error-rate 1",
            server.address()
        );
        let header = format!("X-Api-Key={key}");
        let mut command = place.program(words.split_whitespace().chain(["--header", &header]));
        let ran = Ran::from(command.env("OPENAI_API_KEY", key).output().unwrap());
        let printed: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(printed["schema_version"], 1, "{key}");
        let manifest = place.json("out/manifest.json");
        assert_eq!(
            (&manifest["config"]["repeat"], &manifest["config"]["backend"]),
            (&"1 of 1".into(), &"openai".into())
        );
        assert_eq!(manifest["command_line"].as_array().unwrap().last().unwrap(), "X-Api-Key=REDACTED");
        assert_eq!(place.records("out", "short_input")[0]["reason"], "HTTP 400 Bad Request: null token 1");
    }
}

#[test]
fn a_key_that_cannot_be_sent_is_blamed() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let server = scripted(GOOD);
    let words = format!(
        "run --backend openai --base-url http://{} --workload short --no-calibrate --max-error-rate 1 --output out",
        server.address()
    );
    for (key, code) in [(&b"sk-1\n"[..], 0), (b"\xef\xbb\xbfsk-1\r\n", 0), (b"k\xff", 2), (b"sk 1", 2), (b"sk\n1", 2)] {
        let mut command = place.program(words.split_whitespace());
        let ran = Ran::from(command.env("OPENAI_API_KEY", std::ffi::OsStr::from_bytes(key)).output().unwrap());
        // A busy machine may make a run INVALID.
        assert!(ran.code == code || code == 0 && ran.code == 5, "{key:?}: {}", ran.err);
        assert_eq!(code == 2, ran.err.contains("the API key in `OPENAI_API_KEY` cannot be sent"), "{}", ran.err);
    }
    fs::write(place.file("key"), b"\xff\xfes\0k\0").unwrap();
    let ran = place.run(&format!("{words} --api-key-file key"));
    assert!(ran.code == 3 && ran.err.contains("the API key in `key` cannot be sent"), "{}", ran.err);
}
