//! A `tokenizer.json`. It opens and can be used, or it is refused with words; memory is bounded by its size.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sagellm_fuzz::model::Workshop;

static WORKSHOP: LazyLock<Workshop> = LazyLock::new(|| Workshop::new("gpt2-width2", "tokenizer.json"));

fuzz_target!(|bytes: &[u8]| WORKSHOP.try_tokenizer(bytes));
