//! The frame of an answer: the same however it is cut, nothing made up and nothing kept.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sagellm_fuzz::cuts;
use sagellm_http::fuzzing::response;

fuzz_target!(|bytes: &[u8]| {
    for to_connect in [false, true] {
        let whole = response(bytes, &[], to_connect);
        for cuts in cuts::ways(bytes) {
            assert_eq!(response(bytes, &cuts, to_connect), whole, "cut at {cuts:?}");
        }
        match whole {
            Ok(read) => {
                assert!(read.body.len() + read.rest.len() <= bytes.len());
                assert!(bytes.ends_with(&read.rest));
                if read.over {
                    // What follows does not matter to an answer that is complete.
                    let alone = response(&bytes[..bytes.len() - read.rest.len()], &[], to_connect);
                    assert_eq!(alone, Ok(sagellm_http::fuzzing::Unframed { rest: Vec::new(), ..read }));
                }
            }
            // Made fit to be shown by who reads the whole answer.
            Err(how) => assert!(!how.is_empty()),
        }
    }
});
