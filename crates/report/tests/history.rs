//! The file of many runs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;

use sagellm_report::history::{Entry, History, HistoryError, Trend, csv, list};
use sagellm_report::{Summary, registry, summarize_folder};

use support::{close, header, manifest, success, write_journal, write_manifest};

/// A run that began on a day of January, with gaps of so many milliseconds from token to token.
fn run(day: u32, gap_ms: u64) -> Summary {
    let place = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..20).map(|id| success(id, 1000 + id * 100, 12, gap_ms)).collect();
    let mut manifest = manifest(&["short_input"]);
    write_journal(place.path(), header("short_input", 20), &records, Some(close()));
    write_manifest(place.path(), &manifest);
    let mut summary = summarize_folder(place.path()).unwrap();
    manifest.started_at = format!("2026-01-{day:02}T09:30:00.125Z");
    summary.environment = Some(manifest);
    summary
}

#[test]
fn runs_come_back_as_they_were_added() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("history.sqlite");
    assert!(matches!(History::open(&path), Err(HistoryError::NotFound(_))));
    let history = History::create(&path).unwrap();
    let (first, second) = (run(2, 5), run(1, 6));
    assert_eq!(history.add("main", Some("abc"), &first).unwrap(), 1);
    assert_eq!(history.add("main", None, &second).unwrap(), 2);
    assert_eq!(history.add("feature", None, &second).unwrap(), 3);
    assert!(matches!(history.add("main", None, &first), Err(HistoryError::Twice { .. })));
    drop(history);
    let history = History::open(&path).unwrap();
    let main = history.runs(Some("main")).unwrap();
    assert_eq!(main.iter().map(|entry| entry.id).collect::<Vec<_>>(), [2, 1], "by when they began");
    assert_eq!((main[1].git_commit.as_deref(), main[1].host.as_deref()), (Some("abc"), Some("cd34")));
    assert_eq!(main[1].summary, first);
    assert_eq!(history.runs(None).unwrap().len(), 3);
    assert_eq!(history.run(3).unwrap().name, "feature");
    assert!(matches!(history.run(9), Err(HistoryError::NoSuchRun(9))));
    assert_eq!(list(&main).lines().count(), 3);
    let table = csv(&main);
    assert!(
        table.contains("1,\"main\",2026-01-02T09:30:00.125Z,\"abc\",cd34,VALID,short_input,avg_tbt_ms,5\n"),
        "{table}"
    );
}

#[test]
fn another_file_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let text = place.path().join("notes.txt");
    fs::write(&text, "no database at all, and long enough to be looked at as one").unwrap();
    assert!(History::create(&text).is_err());
    assert!(fs::read_to_string(&text).unwrap().starts_with("no database"));
    let later = place.path().join("later.sqlite");
    rusqlite::Connection::open(&later).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    assert!(matches!(History::open(&later), Err(HistoryError::Foreign(_))));
    assert!(matches!(History::create(&later), Err(HistoryError::Foreign(_))));
}

fn trend(entries: &[Entry]) -> Trend<'_> {
    Trend::new(entries, registry::find("avg_tbt_ms").unwrap())
}

#[test]
fn a_trend_shows_where_the_level_changed() {
    let place = tempfile::tempdir().unwrap();
    let history = History::create(&place.path().join("h")).unwrap();
    for day in 1..=20 {
        history.add("main", None, &run(day, if day <= 10 { 5 } else { 6 })).unwrap();
    }
    let runs = history.runs(None).unwrap();
    let text = trend(&runs).table();
    let marked: Vec<&str> = text.lines().filter(|line| line.contains("changed by")).collect();
    assert_eq!(marked.len(), 1, "{text}");
    assert!(marked[0].trim_start().starts_with("11 ") && marked[0].contains("+20.0 %"), "{text}");
    assert!(text.contains("20 runs: 1 change of level"));
    let page = trend(&runs).html().unwrap();
    assert_eq!(page.matches("class=\"level\"").count(), 2, "the level before and after");
    assert_eq!(page.matches("class=\"load").count(), 20);
    assert!(page.contains("changed by +20.0 %"));
    let mut entries = history.runs(None).unwrap();
    entries[3].host = Some("another".into());
    assert!(trend(&entries).table().contains("left out, as INVALID or of another machine: 1"));
}
