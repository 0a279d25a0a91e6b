//! A ShareGPT data set. Its first requests are made, or the line that is wrong is named; memory is bounded by its size.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sagellm_core::{SharegptRules, Source};
use sagellm_fuzz::data::DataFile;

static FILE: LazyLock<DataFile> = LazyLock::new(|| DataFile::new("sharegpt.json"));

fuzz_target!(|bytes: &[u8]| {
    FILE.try_source(bytes, |path| Source::Sharegpt { path, rules: SharegptRules::Sglang, output_tokens: Some(1) });
});
