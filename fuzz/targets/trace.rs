//! A trace in each of the formats, of which the first byte chooses one. Its first requests are made, or the line that is
//! wrong is named; memory is bounded by its size.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sagellm_core::{Source, TraceFormat};
use sagellm_fuzz::data::DataFile;

static FILE: LazyLock<DataFile> = LazyLock::new(|| DataFile::new("trace"));

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let formats = [TraceFormat::Mooncake, TraceFormat::Burstgpt, TraceFormat::Azure];
    let format = formats[usize::from(*choice) % formats.len()];
    FILE.try_source(bytes, |path| Source::Trace { path, format, time_scale: 1.0, skip_s: 0.0, take_s: None });
});
