//! Certificates and keys as PEM. They are read, or refused with words; memory is bounded by the size of the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sagellm_fuzz::memory::bounded;
use sagellm_http::fuzzing::pem;

fuzz_target!(|bytes: &[u8]| {
    match bounded((1 << 20) + 64 * bytes.len(), || pem(bytes)) {
        Ok((certificates, _)) => assert!(certificates > 0),
        Err(why) => assert!(!why.is_empty() && why.len() < 1024, "{why}"),
    }
});
