//! Text from outside steers nothing: not the terminal, nor Markdown, HTML or metrics.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use sagellm_core::OutcomeKind;
use sagellm_report::render::{Format, Look, Wanted, render_path};
use support::*;

/// A run all of whose texts are `text`, in every format.
fn shown(text: &str) -> Vec<(Format, String)> {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = manifest(&["w"]);
    let texts = [
        &mut manifest.version,
        &mut manifest.backend.name,
        &mut manifest.backend.model.name,
        &mut manifest.host.os,
        &mut manifest.host.fingerprint,
    ];
    texts.into_iter().for_each(|field| *field = text.to_owned());
    manifest.git_commit = Some(text.into());
    manifest.backend.version = Some(text.into());
    manifest.backend.model.dtype = Some(text.into());
    manifest.host.cpu_model = Some(text.into());
    manifest.host.governor = Some(text.into());
    manifest.command_line = vec![text.into(), text.into()];
    manifest.faults = vec![text.into()];
    for map in [&mut manifest.config, &mut manifest.metadata, &mut manifest.backend.settings] {
        map.insert(text.into(), text.into());
    }
    write_manifest(folder.path(), &manifest);
    let mut failed = over_http(failure(1, 1100, OutcomeKind::ServerError));
    failed.reason = Some(text.into());
    let mut records = vec![over_http(success(0, 1000, 12, 5)), failed];
    if let Some(http) = &mut records[0].http {
        http.answered_model = Some(text.into());
    }
    write_journal(folder.path(), header("w", 2), &records, Some(close()));
    let text_formats = Format::ALL.into_iter().filter(|format| *format != Format::Parquet);
    text_formats
        .map(|format| {
            let shown = render_path(folder.path(), Wanted::default(), format, Look::default()).unwrap();
            (format, String::from_utf8(shown).unwrap())
        })
        .collect()
}

fn assert_plain(text: &str) {
    for (format, shown) in shown(text) {
        let unsafe_char =
            shown.chars().find(|char| (char.is_control() && !"\n\t".contains(*char)) || *char == '\u{202e}');
        assert_eq!(unsafe_char, None, "{}: {text:?}", format.name());
        if matches!(format, Format::Markdown | Format::Html) {
            // In a fence, as the command line is, nothing is HTML.
            let outside = shown.split("### How to reproduce").next().unwrap().replace("\\<img", "");
            assert!(!outside.contains("<img"), "{}: {text:?}: {outside}", format.name());
        }
        if format == Format::Json {
            let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(json["environment"]["backend"]["model"]["name"], text, "JSON keeps the text itself");
        }
    }
}

#[test]
fn hostile_texts_are_written_out_in_every_format() {
    assert_plain("m\u{1b}]0;title\u{7}\u{1b}[31m<img src=x>\u{202e}\u{9b}2J\u{7f}\r`|");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_text_reaches_a_format_raw(text in "[\\x00-\\x{ff}\\x{202a}-\\x{202e}]{1,12}") {
        assert_plain(&text);
    }
}
