//! A data set of prompts. Its first requests are made, or the line that is wrong is named; memory is bounded by its size.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sagellm_core::Source;
use sagellm_fuzz::data::DataFile;

static FILE: LazyLock<DataFile> = LazyLock::new(|| DataFile::new("prompts.jsonl"));

fuzz_target!(|bytes: &[u8]| FILE.try_source(bytes, |path| Source::Custom { path, output_tokens: None }));
