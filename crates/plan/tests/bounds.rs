//! Files of prompts that are not what they should be: too long, of another kind, in another encoding or unit.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use sagellm_core::{Exit, NoProgress, SharegptRules, Source, TraceFormat, UserError};
use sagellm_model::{OpenOptions, open};
use sagellm_plan::{PlanError, Planner, Spec, builtin, read_workloads};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// Reads `path` as a source of prompts.
fn read(source: Source) -> Result<usize, PlanError> {
    let tokenizer = open("synthetic:tiny", &OpenOptions::default(), &NoProgress).unwrap().tokenizer;
    let spec = builtin("short").unwrap().remove(0);
    let spec = Spec { source, num_prompts: None, num_warmups: Some(0), ..spec };
    Ok(Planner::new(&spec, &tokenizer, 1 << 16)?.requests().map(Result::unwrap).count())
}

fn custom(path: PathBuf) -> Source {
    Source::Custom { path, output_tokens: None }
}

fn sharegpt(path: PathBuf) -> Source {
    Source::Sharegpt { path, rules: SharegptRules::Vllm, output_tokens: None }
}

fn trace(format: TraceFormat) -> impl Fn(PathBuf) -> Source {
    move |path| Source::Trace { path, format, time_scale: 1.0, skip_s: 0.0, take_s: None }
}

/// What is wrong with a file of `content`, from the name of the file on, and what to do.
fn refusal(source: impl Fn(PathBuf) -> Source, content: &[u8]) -> (String, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    fs::write(&path, content).unwrap();
    refusal_at(source, &path)
}

fn refusal_at(source: impl Fn(PathBuf) -> Source, path: &Path) -> (String, String) {
    let error = read(source(path.to_owned())).unwrap_err();
    assert_eq!(error.exit(), Exit::Input);
    let failure = sagellm_core::Failure::from(error);
    let message = failure.message.rsplit("data`").next().unwrap().to_owned();
    (message, failure.hint.unwrap())
}

const CUSTOM: &str = "{\"prompt\": \"a\", \"max_tokens\": 3}\n";
const SHAREGPT: &str = "[{\"conversations\": [{\"value\": \"a long question\"}, {\"value\": \"a long answer\"}]}]";
const MOONCAKE: &str = "{\"timestamp\": 0, \"input_length\": 9, \"output_length\": 5, \"hash_ids\": [1]}\n";
const BURSTGPT: &str = "Timestamp,Request tokens,Response tokens\n5,472,18\n";

#[test]
fn a_byte_order_mark_is_skipped() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    let check = |content: &str, source: Source| {
        fs::write(&path, [b"\xef\xbb\xbf", content.as_bytes()].concat()).unwrap();
        assert_eq!(read(source).unwrap(), 1, "{content}");
    };
    check(CUSTOM, custom(path.clone()));
    check(SHAREGPT, sharegpt(path.clone()));
    check(MOONCAKE, trace(TraceFormat::Mooncake)(path.clone()));
    check(BURSTGPT, trace(TraceFormat::Burstgpt)(path.clone()));
}

#[test]
fn another_encoding_is_named() {
    let utf16: Vec<u8> = "\u{feff}{\"prompt\"".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (message, hint) = refusal(custom, &utf16);
    assert!(message.ends_with("it is encoded in UTF-16, expected UTF-8"), "{message}");
    assert_eq!(hint, "save the file as UTF-8");
}

#[test]
fn what_is_too_long_is_refused_where_it_begins() {
    let long = "a".repeat(17 * MIB);
    let line = format!("{CUSTOM}{{\"prompt\": \"{long}\", \"max_tokens\": 3}}\n");
    assert_eq!(refusal(custom, line.as_bytes()).0, ", line 2: the line is longer than 16 MiB");
    let text = format!("[\n{{\"conversations\": [{{\"value\": \"{long}");
    assert_eq!(refusal(sharegpt, text.as_bytes()).0, ", line 2: a string is longer than 16 MiB");
    let deep = format!("[{{\"x\":\n{}", "[[],".repeat(MIB));
    assert_eq!(refusal(sharegpt, deep.as_bytes()).0, ", line 2: it is nested too deep");
    let row = format!("{MOONCAKE}{}", &long[..2 * MIB]);
    assert_eq!(refusal(trace(TraceFormat::Mooncake), row.as_bytes()).0, ", line 2: the line is longer than 1 MiB");
    // Inside of quotes, a row may have many lines.
    for filler in ["a", "\"", "\n", ",", "\"\n"] {
        let row = format!("{BURSTGPT}\"{}", filler.repeat(3 * MIB / filler.len()));
        let message = refusal(trace(TraceFormat::Burstgpt), row.as_bytes()).0;
        let known = [", line 3: the line is longer than 1 MiB", ", line 3: 1 fields, but the header has 3"];
        assert!(known.contains(&&*message), "{filler:?}: {message}");
    }
    let header = &long[..3 * MIB];
    assert_eq!(refusal(trace(TraceFormat::Azure), header.as_bytes()).0, ", line 1: the line is longer than 1 MiB");
}

#[test]
fn only_regular_files_are_read() {
    let folder = TempDir::new().unwrap();
    let (message, _) = refusal_at(custom, folder.path());
    assert!(message.ends_with("it is a directory, not a regular file"), "{message}");
    #[cfg(unix)]
    {
        let (message, hint) = refusal_at(trace(TraceFormat::Azure), Path::new("/dev/zero"));
        assert!(message.ends_with("it is a device, not a regular file"), "{message}");
        assert!(hint.starts_with("name a regular file"), "{hint}");
        let error = read_workloads(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(error, PlanError::File { .. }), "{error}");
    }
}

#[test]
fn a_git_lfs_pointer_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4bb3783693d0\nsize 52283111\n";
    let (message, hint) = refusal(trace(TraceFormat::Burstgpt), pointer.as_bytes());
    assert!(message.ends_with("it is a Git LFS pointer, not the file itself"), "{message}");
    assert!(hint.contains("git lfs pull"), "{hint}");
}

#[test]
fn a_trace_with_blocks_of_another_size_is_refused() {
    let ids = vec!["7"; 33].join(", ");
    let row = format!("{{\"timestamp\": 0.0, \"input_length\": 521, \"output_length\": 6, \"hash_ids\": [{ids}]}}\n");
    let (message, hint) = refusal(trace(TraceFormat::Mooncake), row.as_bytes());
    assert_eq!(message, ", line 1: 33 hash ids for 521 tokens, expected at most 2: one for 512 tokens");
    assert!(hint.contains("512 tokens") && hint.contains("milliseconds"), "{hint}");
}

#[test]
fn a_large_workload_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.yaml");
    fs::write(&path, "#".repeat(MIB + 1)).unwrap();
    let failure = sagellm_core::Failure::from(read_workloads(&path).unwrap_err());
    assert!(failure.message.ends_with("it is larger than 1 MiB"), "{}", failure.message);
}

#[test]
fn parts_of_a_message_are_read_one_after_the_other() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    let line = |content: &str| {
        format!("{{\"messages\": [{{\"role\": \"user\", \"content\": {content}}}], \"max_tokens\": 3}}")
    };
    for content in ["\"ab\"", "null", "[{\"type\": \"text\", \"text\": \"a\"}, {\"text\": \"b\"}]"] {
        fs::write(&path, line(content)).unwrap();
        assert_eq!(read(custom(path.clone())).unwrap(), 1, "{content}");
    }
    let image = refusal(custom, line("[{\"type\": \"image_url\", \"image_url\": {}}]").as_bytes()).0;
    assert!(image.starts_with(", line 1: only parts of type `text` can be sent"), "{image}");
    let number = refusal(custom, line("5").as_bytes()).0;
    assert!(number.contains("expected a text or a list of parts"), "{number}");
}
