//! Too little of something: open files, memory, and a file that loses its end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::Place;

/// A server started by a line of the shell, and its address.
fn serving(place: &Place, line: &str) -> (Child, String) {
    let mut child = place.shell(line).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}: {said}"));
    (child, address.to_owned())
}

fn is_healthy(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 ")
}

#[test]
fn a_server_survives_running_out_of_open_files() {
    let place = Place::new();
    for what in ["--simulate", "--model synthetic:tiny"] {
        let line = format!("ulimit -n 48; exec sagellm-benchmark serve {what} --port 0 --until-eof");
        let mut command = place.shell(&line);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim().strip_prefix("listening on http://").unwrap();
        let many: Vec<_> = (0..80).filter_map(|_| TcpStream::connect(address).ok()).collect();
        // Long enough for it to accept as many as it can.
        std::thread::sleep(Duration::from_millis(500));
        drop(many);
        assert!(is_healthy(address), "{what}");
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{what}");
    }
}

#[test]
fn a_server_that_others_can_reach_warns() {
    let place = Place::new();
    for (options, warns) in [("", false), ("--host 0.0.0.0", true), ("--host 0.0.0.0 --api-key k1", false)] {
        let line = format!("sagellm-benchmark serve --simulate --port 0 --until-eof {options}");
        let output = place.shell(&line).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.starts_with("warning: anyone who can reach 0.0.0.0:"), warns, "{options}: {said}");
        assert!(!said.contains("k1"), "{said}");
    }
}

#[test]
fn a_model_file_that_becomes_shorter_is_an_error() {
    let place = Place::new();
    // Its embedding is looked up in the file, row by row.
    let folder = place.model("llama-untied", "m");
    let (child, address) = serving(&place, "exec sagellm-benchmark serve --model m --port 0");
    File::options().write(true).open(folder.join("model.safetensors")).unwrap().set_len(100).unwrap();
    let mut stream = TcpStream::connect(&address).unwrap();
    let body = r#"{"prompt": "the harbour", "max_tokens": 4}"#;
    write!(stream, "POST /v1/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("error: `m/model.safetensors` is damaged: the file became shorter while it was in use"),
        "{said}"
    );
    assert!(said.contains("\nhint: "), "{said}");
}

#[test]
fn a_model_larger_than_the_memory_limit_is_refused() {
    let place = Place::new();
    for limit in ["-v", "-d"] {
        let line = format!(
            "ulimit {limit} 400000; exec sagellm-benchmark run --model synthetic:gpt2 --dataset-name random \
             --random-input-len 16 --random-output-len 4 --num-prompts 1 --output out"
        );
        let output = place.shell(&line).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        let expected = format!("this process may use 410 MB (`ulimit {limit}`)");
        assert!(said.starts_with("error: the model needs about ") && said.contains(&expected), "{said}");
        assert!(said.contains("hint: use a smaller model, `--dtype int8`"), "{said}");
    }
}
