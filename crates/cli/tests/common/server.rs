//! Servers to be measured: the program's own, in a process of its own, and scripted ones in this process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use sagellm_core::Clock;
use sagellm_server::{Script, Scripted};

use super::Place;

/// A server of the program, which ends with this.
pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
}

impl Serving {
    /// Runs `serve` with the words of `line`, and waits until it listens.
    pub(crate) fn start(place: &Place, line: &str) -> Self {
        let mut command = place.program("serve".split_whitespace().chain(line.split_whitespace()));
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let url = said.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    pub(crate) fn port(&self) -> &str {
        self.url.rsplit(':').next().unwrap()
    }

    /// Sends it a signal such as `-TERM`, and gives its exit code; `None` when the signal ended it.
    pub(crate) fn end(mut self, signal: &str) -> Option<i32> {
        super::signal(self.child.id(), signal);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer of two tokens, one byte each, so that the tokenizer of the synthetic models counts them right. Each event
/// comes long after the one before, so that none is read together with it and the time of each is known.
pub(crate) const GOOD: &str = r#"
    wait 30ms
    event {"model":"synthetic:tiny","choices":[{"index":0,"text":"a","finish_reason":null}]}
    wait 30ms
    event {"model":"synthetic:tiny","choices":[{"index":0,"text":"b","finish_reason":"stop"}]}
    wait 30ms
    event [DONE]
"#;

/// The number of the first request to a scripted server that is measured: two for its models and two tiny ones come before.
pub(crate) const FIRST: u64 = 5;

/// A server that lists its model, and answers to everything else by `script`.
pub(crate) fn scripted(script: &str) -> Scripted {
    const MODELS: &str = r#"
        answer /v1/models
        header Content-Type: application/json
        body length
        bytes '{"data":[{"id":"synthetic:tiny"}]}'
    "#;
    let script = Script::parse("test", &format!("{script}\n{MODELS}")).unwrap();
    Scripted::start(script, SocketAddr::from(([127, 0, 0, 1], 0)), Clock::start()).unwrap()
}

/// Whether a process runs; one that waits to be reaped does not.
pub(crate) fn runs(process: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => !stat.rsplit(") ").next().unwrap().starts_with('Z'),
        Err(_) => false,
    }
}
