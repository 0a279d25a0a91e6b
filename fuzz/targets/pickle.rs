//! The weights of a folder as pickle, of either kind. It opens and can be read to its end, or it is refused with words; memory is bounded by its size.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sagellm_fuzz::model::Workshop;

static WORKSHOP: LazyLock<Workshop> = LazyLock::new(|| Workshop::new("gpt2-width2", "pytorch_model.bin"));

fuzz_target!(|bytes: &[u8]| WORKSHOP.try_model(bytes));
