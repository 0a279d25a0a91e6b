//! A server is started, waited for, probed and stopped. The server is this very program, run as another test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use sagellm_core::{Exit, Failure, NoProgress};
use sagellm_http::{Access, BlockingClient, EndpointType, Launched, Probe, ProbeOptions, Profile, prepare};

/// Not a test: the server. It loads for a moment, and serves until it is stopped, or dies when it is told to.
#[test]
#[ignore = "it is the server that the tests below start"]
fn server() {
    // Run without a port along with all ignored tests, it has nothing to do.
    let Ok(port) = std::env::var("PORT") else { return };
    let port: u16 = port.parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut loading = 3;
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while reader.read_line(&mut head).unwrap() > 2 {}
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        reader.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
        let (status, body) = match head.split(' ').nth(1).unwrap() {
            "/health" if loading > 0 => {
                loading -= 1;
                (503, "loading".into())
            }
            "/health" => (200, String::new()),
            "/v1/models" => (200, r#"{"data": [{"id": "tiny"}]}"#.into()),
            "/v1/completions" if std::env::var("DIES").is_ok() => {
                eprintln!("out of memory");
                std::process::exit(9);
            }
            "/v1/completions" => {
                (200, "data: {\"choices\": [{\"text\": \"x\", \"finish_reason\": \"length\"}]}\n\n".repeat(8))
            }
            _ => (404, String::new()),
        };
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
    }
}

/// Starts the server with a variable in its environment, and probes it.
fn run(variable: &str, folder: &Path) -> (Launched, Result<Probe, Failure>) {
    let program = std::env::current_exe().unwrap();
    let command = format!("env {variable} PORT={{port}} '{}' --ignored --exact server --nocapture", program.display());
    let launched = Launched::start(&command, None, &folder.join("server.log")).unwrap();
    let client = BlockingClient::new(Access::new(launched.target())).unwrap();
    let profile = Profile::named("vllm").unwrap();
    let endpoint = EndpointType::Completions;
    let ready_timeout = Duration::from_secs(60);
    let options = ProbeOptions { ready_timeout, ..ProbeOptions::new(profile, endpoint) };
    let go_on = || launched.check().map_err(Failure::from);
    let probe = prepare(&client, &options, &go_on, &NoProgress).map_err(Failure::from);
    (launched, probe)
}

#[test]
fn from_start_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (launched, probe) = run("A=B", folder.path());
    assert_eq!(probe.unwrap().model.id, "tiny");
    launched.check().unwrap();
    launched.stop();
    assert!(
        launched.target().resolve().is_ok_and(|at| std::net::TcpStream::connect(at[0]).is_err()),
        "the port is free"
    );
    let log = std::fs::read_to_string(launched.log()).unwrap();
    assert!(log.contains("running 1 test"), "its output is kept: {log}");
}

#[test]
fn a_server_that_dies_shows_why() {
    let folder = tempfile::tempdir().unwrap();
    let (_launched, probe) = run("DIES=1", folder.path());
    let failure = probe.unwrap_err();
    assert_eq!(failure.exit, Exit::Backend);
    let message = failure.message;
    assert!(message.starts_with("the server ended with status 9; the end of its log `"), "{message}");
    assert!(message.ends_with("\n  out of memory"), "{message}");
}

#[test]
fn a_server_that_never_starts_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (_launched, probe) = run("PATH=/nowhere no-such-program", folder.path());
    let failure = probe.unwrap_err();
    assert!(failure.message.starts_with("the server ended with status 127; "), "{}", failure.message);
}
