//! Lines and events of a stream: the same however it is cut, and bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sagellm_fuzz::{cuts, memory};
use sagellm_http::fuzzing;

/// Short, so that inputs reach it.
const MAX_LINE: usize = 200;
/// Two buffers that grow by doubling, and the line that is joined from two pieces.
const MEMORY: usize = 8 * MAX_LINE;

fn events(stream: &[u8], cuts: &[usize]) -> (Vec<(bool, Vec<u8>)>, bool) {
    let mut found = Vec::new();
    let whole = fuzzing::events(stream, cuts, MAX_LINE, &mut |error, data| found.push((error, data.to_vec())));
    (found, whole)
}

fuzz_target!(|stream: &[u8]| {
    memory::bounded(MEMORY, || fuzzing::events(stream, &[], MAX_LINE, &mut |_, _| ()));
    let whole = events(stream, &[]);
    assert!(whole.0.iter().all(|(_, data)| data.len() <= MAX_LINE));
    for cuts in cuts::ways(stream) {
        assert_eq!(events(stream, &cuts), whole, "cut at {cuts:?}");
        memory::bounded(MEMORY, || fuzzing::events(stream, &cuts, MAX_LINE, &mut |_, _| ()));
    }
});
