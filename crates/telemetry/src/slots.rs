//! What llama.cpp's `/slots` tells, which its metrics lack: the tokens that requests hold.

use serde::Deserialize;

use crate::server_metrics::Reading;

impl Reading {
    /// Adds what llama.cpp's `/slots` tells, which its metrics lack: the tokens that requests hold.
    ///
    /// The capacity stays unknown: the slots have a length each, but may share one context (`--kv-unified`), which
    /// neither `/slots` nor `/props` tells.
    ///
    /// # Errors
    /// Says what is wrong when the text is no list of slots, or one of an older server that does not count tokens.
    pub fn add_slots(&mut self, json: &str) -> Result<(), String> {
        let slots: Vec<Slot> =
            serde_json::from_str(json).map_err(|error| format!("`/slots` is no list of slots: {error}"))?;
        let busy = slots.iter().filter(|slot| slot.is_processing);
        let used: Option<u64> = busy.map(Slot::tokens).sum();
        self.sample.kv_used_tokens = Some(used.ok_or("this version's `/slots` does not count tokens")? as f64);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Slot {
    is_processing: bool,
    n_prompt_tokens: Option<u32>,
    #[serde(default)]
    n_prompt_tokens_processed: u32,
    #[serde(default)]
    n_prompt_tokens_cache: u32,
    #[serde(default)]
    next_token: Vec<NextToken>,
}

#[derive(Deserialize)]
struct NextToken {
    n_decoded: u32,
}

impl Slot {
    /// Tokens of the prompt so far, and those generated.
    fn tokens(&self) -> Option<u64> {
        let prompt = u64::from(self.n_prompt_tokens?);
        let done = u64::from(self.n_prompt_tokens_processed) + u64::from(self.n_prompt_tokens_cache);
        Some(done.min(prompt) + self.next_token.iter().map(|next| u64::from(next.n_decoded)).sum::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_slots_hold_what_of_their_prompt_is_done_and_what_they_generated() {
        let mut read = Reading::default();
        let slots = r#"[
            {"id": 0, "is_processing": true, "n_prompt_tokens": 100, "n_prompt_tokens_processed": 30,
             "n_prompt_tokens_cache": 20, "next_token": [{"n_decoded": 0}]},
            {"id": 1, "is_processing": true, "n_prompt_tokens": 10, "n_prompt_tokens_processed": 10,
             "next_token": [{"n_decoded": 7}]},
            {"id": 2, "is_processing": false, "n_prompt_tokens": 999, "n_prompt_tokens_processed": 999}
        ]"#;
        read.add_slots(slots).unwrap();
        assert_eq!(read.sample.kv_used_tokens, Some(67.0));
        let old = read.add_slots(r#"[{"id": 0, "is_processing": true}]"#).unwrap_err();
        assert_eq!(old, "this version's `/slots` does not count tokens");
        assert!(read.add_slots(r#"{"error": "no"}"#).unwrap_err().starts_with("`/slots` is no list of slots: "));
    }
}
