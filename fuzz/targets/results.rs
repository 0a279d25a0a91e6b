//! Files of results: a journal, a summary, or the file of another tool. Each is loaded, or the place that is wrong is named.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sagellm_core::UserError;
use tempfile::TempDir;

static FOLDER: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = folder.path().join("run");
    fs::create_dir(&run).expect("a folder in a temporary folder");
    (folder, run)
});

fuzz_target!(|bytes: &[u8]| {
    let (folder, run) = &*FOLDER;
    let (journal, summary) = (run.join("w.records.jsonl"), folder.path().join("benchmark_summary.json"));
    for path in [&journal, &summary] {
        fs::write(path, bytes).expect("a file in a temporary folder");
    }
    for error in [
        sagellm_report::read_journal(&journal, None).err(),
        sagellm_report::load(run).err(),
        sagellm_report::load(&summary).err(),
    ]
    .into_iter()
    .flatten()
    {
        let text = error.to_string();
        assert!(error.hint().is_some() && text.len() < 8192, "{text}");
    }
});
