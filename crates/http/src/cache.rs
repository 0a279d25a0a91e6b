//! Emptying the prefix cache of a server before a run.

use std::time::Duration;

use serde_json::Value;

use crate::{BlockingClient, HttpError};

/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What servers have for it: vLLM (where `VLLM_SERVER_DEV_MODE=1` is set) and SGLang.
const PATHS: [&str; 2] = ["/reset_prefix_cache", "/flush_cache"];

/// The slots of llama.cpp's server, each with a cache of its own. Erasing one needs `--slots` and `--slot-save-path`.
const SLOTS: &str = "/slots";

/// Empties the prefix cache by the first way that the server has, and returns that way.
///
/// # Errors
/// When the server has none of them, or refuses.
pub fn reset_cache(client: &BlockingClient) -> Result<String, HttpError> {
    let mut tried = Vec::new();
    for path in PATHS {
        match post(client, path) {
            Ok(()) => return Ok(format!("POST {path}")),
            Err(why) => tried.push(format!("`{path}`: {why}")),
        }
    }
    match erase_slots(client) {
        Ok(slots) => Ok(format!("POST {SLOTS}/ID?action=erase of {slots} slots")),
        Err(why) => {
            tried.push(why);
            Err(HttpError::CacheReset { server: client.target().url(""), tried: tried.join("; ") })
        }
    }
}

fn erase_slots(client: &BlockingClient) -> Result<usize, String> {
    let failed = |why: String| format!("`{SLOTS}`: {why}");
    let answer = client.get(SLOTS, TIMEOUT).map_err(|why| failed(why.to_string()))?;
    if !answer.is_success() {
        return Err(failed(format!("status {}", answer.status)));
    }
    let slots: Vec<Value> = serde_json::from_str(&answer.body).map_err(|error| failed(error.to_string()))?;
    let ids: Vec<u64> = slots.iter().filter_map(|slot| slot.get("id")?.as_u64()).collect();
    if ids.is_empty() {
        return Err(failed("it lists no slots".into()));
    }
    for id in &ids {
        let path = format!("{SLOTS}/{id}?action=erase");
        post(client, &path).map_err(|why| format!("`{path}`: {why}"))?;
    }
    Ok(ids.len())
}

fn post(client: &BlockingClient, path: &str) -> Result<(), String> {
    match client.post(path, b"{}", TIMEOUT, TIMEOUT) {
        Ok(answer) if answer.is_success() => Ok(()),
        Ok(answer) => match answer.message() {
            message if message.is_empty() => Err(format!("status {}", answer.status)),
            message => Err(format!("status {}: {message}", answer.status)),
        },
        Err(why) => Err(why.to_string()),
    }
}
