//! The simulator in a process of its own, so that its work is not this client's.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sagellm_core::{Exit, Failure};
use sagellm_http::{Access, BlockingClient, Target};
use sagellm_server::Truth;

use super::Load;

/// What `serve` prints before its address.
pub(crate) const LISTENING: &str = "listening on ";
/// Longest wait for what the simulator noted.
const TRUTH_TIMEOUT: Duration = Duration::from_secs(60);

/// Ended when dropped; ends by itself when this process does, because its standard input closes then.
pub(super) struct SimulatorProcess {
    child: Child,
    url: String,
}

impl SimulatorProcess {
    pub(super) fn start(load: &Load, tokenizer: Option<&str>) -> Result<Self, Failure> {
        let failed = |why: String| Failure::new(Exit::Backend, format!("cannot start the simulator: {why}"));
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let milliseconds = |time: Duration| format!("{}us", time.as_micros());
        let mut child = Command::new(program)
            .args(["serve", "--simulate", "--port", "0", "--until-eof"])
            .args(["--ttft", &milliseconds(load.ttft), "--itl", &milliseconds(load.itl)])
            .args(["--server-threads", &load.server_threads.to_string()])
            .args(tokenizer.into_iter().flat_map(|named| ["--tokenizer", named]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(|error| failed(error.to_string()))?;
        }
        match line.trim().strip_prefix(LISTENING) {
            Some(url) => Ok(Self { url: url.to_owned(), child }),
            None => {
                end(&mut child);
                Err(failed("it ended at once".into()))
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn target(&self) -> Result<Target, Failure> {
        Ok(Target::parse(&self.url)?)
    }

    /// What it truly did, by the `x-request-id` of each of so many requests.
    pub(super) fn truth(&self, requests: u32) -> Result<HashMap<String, Truth>, Failure> {
        let failed = |why: String| Failure::new(Exit::Backend, format!("cannot read what the simulator noted: {why}"));
        let longest = BlockingClient::LARGEST_BODY.max(u64::from(requests) * Truth::LONGEST_LINE);
        let client = BlockingClient::new(Access::new(self.target()?))?.with_largest_body(longest);
        let text = client.text("/admin/truth", TRUTH_TIMEOUT).map_err(failed)?;
        let mut truths = HashMap::new();
        for line in text.lines() {
            let truth: Truth = serde_json::from_str(line).map_err(|error| failed(error.to_string()))?;
            if let Some(request) = truth.request.clone() {
                truths.insert(request, truth);
            }
        }
        Ok(truths)
    }
}

impl Drop for SimulatorProcess {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // One that has ended already needs no end.
    let _ = child.kill();
    let _ = child.wait();
}
