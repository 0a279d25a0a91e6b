//! The rows of the stream grammar as scripts: what real servers send, and what is legal.

use super::Script;
use crate::ServerError;

/// One way in which a stream can arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The row of the grammar that it belongs to, from 1 to 28.
    pub row: u8,
    /// Its name, which begins with the row.
    pub name: &'static str,
    /// What is sent, and what a correct client makes of it.
    pub script: Script,
}

macro_rules! scripts {
    ($($name:literal,)*) => {
        const SCRIPTS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../scripts/", $name, ".script")))),*];
    };
}

scripts! {
    "01-role-first",
    "02-reasoning-content",
    "03-reasoning",
    "04-error-in-stream",
    "05-no-end-mark",
    "06-reset",
    "07-several-tokens-per-chunk",
    "08-usage-with-choices",
    "09a-crlf",
    "09b-lone-cr",
    "09c-crlf-split",
    "10-only-done",
    "11-comments",
    "12a-tool-calls",
    "12b-function-call",
    "13-no-space",
    "14-comment-and-data",
    "15a-other-fields",
    "15b-event-error",
    "15c-event-error-without-data",
    "15d-event-error-without-end",
    "16a-two-in-one-segment",
    "16b-one-byte-per-segment",
    "16c-one-byte-per-chunk",
    "17a-no-usage",
    "17b-no-usage-no-tokenizer",
    "18-data-over-lines",
    "19-byte-order-mark",
    "20a-usage-on-every-chunk",
    "20b-usage-null",
    "20c-usage-below-zero",
    "21-several-choices",
    "22a-finish-length",
    "22b-finish-stop",
    "22c-finish-content-filter",
    "22d-finish-tool-calls",
    "22e-finish-null",
    "22f-finish-in-a-chunk-of-its-own",
    "23a-bad-request",
    "23b-internal-error",
    "23c-too-many-requests",
    "23d-html-error-page",
    "23e-json-instead-of-a-stream",
    "23f-loading",
    "23g-flat-error",
    "23h-long-error-instead-of-a-stream",
    "23i-compressed-refusal",
    "24a-content-length",
    "24b-until-close",
    "24c-gzip",
    "24d-interim-and-trailers",
    "24e-chunk-extensions",
    "24f-length-too-long",
    "25a-line-without-end",
    "25b-header-without-end",
    "25c-garbage",
    "25d-bad-chunk-size",
    "25e-no-json",
    "26a-silence-before-the-head",
    "26b-silence-after-the-head",
    "26c-silence-between-tokens",
    "26d-only-comments",
    "26e-silence-in-an-explanation",
    "27a-vllm-metrics",
    "27b-llamacpp-timings",
    "27c-cached-tokens",
    "28-another-model",
}

/// All cases, in the order of their names.
///
/// # Errors
/// None in a build whose tests pass.
pub fn conformance() -> Result<Vec<Case>, ServerError> {
    SCRIPTS
        .iter()
        .map(|&(name, text)| {
            let row = name.get(..2).and_then(|digits| digits.parse().ok()).unwrap_or_default();
            Ok(Case { row, name, script: Script::parse(name, text)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_script_and_every_script_is_listed() {
        let cases = conformance().unwrap();
        let rows: BTreeSet<u8> = cases.iter().map(|case| case.row).collect();
        assert_eq!(rows, (1..=28).collect());
        let listed: BTreeSet<String> = cases.iter().map(|case| format!("{}.script", case.name)).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
        let present: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".script"))
            .collect();
        assert_eq!(listed, present);
        assert!(cases.iter().all(|case| case.script.expect.contains_key("outcome")));
    }
}
