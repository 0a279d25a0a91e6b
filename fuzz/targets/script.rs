//! The script of a scripted server. It is read, or the line that is wrong is named.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sagellm_fuzz::memory;
use sagellm_server::{Script, ServerError};

/// What `fill` lines may make, and some more for what else there is.
const MEMORY: usize = 65 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match memory::bounded(MEMORY + 256 * bytes.len(), || Script::parse("fuzz", text)) {
        Ok(script) => {
            assert!(script.ask.keys().all(|key| Script::ASK.contains(&key.as_str())));
            assert!(script.expect.keys().all(|key| Script::EXPECT.contains(&key.as_str())));
        }
        Err(ServerError::Script { line, .. }) => assert!((1..=text.lines().count()).contains(&line)),
        Err(other) => panic!("{other}"),
    }
});
