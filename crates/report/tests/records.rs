//! The requests as a Parquet table, read back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs::File;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;
use sagellm_core::{OutcomeKind, Slo};
use sagellm_report::registry;
use sagellm_report::render::{Format, Look, Wanted, render, render_path, write_records};
use support::{MS, close, failure, header, manifest, over_http, success, warmup, write_journal, write_manifest};

/// The table of a run of `count` requests and a failed one.
fn table(count: u64, slo: Option<&Slo>) -> (SerializedFileReader<File>, Vec<Row>) {
    let reader = file_of(count, slo);
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    (reader, rows)
}

fn file_of(count: u64, slo: Option<&Slo>) -> SerializedFileReader<File> {
    let folder = tempfile::tempdir().unwrap();
    let mut records = vec![warmup()];
    records.extend((0..count).map(|id| success(id, 1000 + 10 * id, 20, 5)));
    records.push(over_http(failure(count, 1000 + 10 * count, OutcomeKind::Connection)));
    write_journal(folder.path(), header("w", count as u32 + 1), &records, Some(close()));
    write_manifest(folder.path(), &manifest(&["w"]));
    let file = folder.path().join("records.parquet");
    write_records(folder.path(), Wanted { slo, ..Wanted::default() }, &file).unwrap();
    let bytes =
        render_path(folder.path(), Wanted { slo, ..Wanted::default() }, Format::Parquet, Look::default()).unwrap();
    assert_eq!(bytes, std::fs::read(&file).unwrap());
    SerializedFileReader::new(File::open(&file).unwrap()).unwrap()
}

fn value(row: &Row, name: &str) -> Field {
    row.get_column_iter().find(|(column, _)| *column == name).unwrap().1.clone()
}

#[test]
fn a_row_tells_of_its_request() {
    let slo = Slo { ttft_ms: Some(19.0), ..Slo::default() };
    let (_, rows) = table(3, Some(&slo));
    assert_eq!(rows.len(), 4, "the warm-up is left out");
    let row = &rows[1];
    let text = |text: &str| Field::Str(text.into());
    // Sent at 1010 ms; chunks of one token after 20, 25, 30 and 35 ms.
    for (name, expected) in [
        ("workload", text("w")),
        ("id", Field::Long(1)),
        ("outcome", text("success")),
        ("reason", Field::Null),
        ("finish_reason", text("length")),
        ("sent_ns", Field::Long(1010 * MS as i64)),
        ("queue_client_ms", Field::Double(0.0)),
        ("ttft_ms", Field::Double(20.0)),
        ("tbt_ms", Field::Double(5.0)),
        ("tpot_ms", Field::Double(35.0 / 4.0)),
        ("e2e_ms", Field::Double(35.0)),
        ("e2e_from_schedule_ms", Field::Double(35.0)),
        ("within_slo", Field::Bool(false)),
        ("output_tokens", Field::Long(4)),
        ("http_status", Field::Null),
    ] {
        assert_eq!(value(row, name), expected, "{name}");
    }
    let Field::Double(rate) = value(row, "throughput_tps") else { panic!("no number") };
    assert!((rate - 4.0 / 0.035).abs() < 1e-9, "{rate}");
    let list = |name: &str, row: &Row| match value(row, name) {
        Field::ListInternal(list) => list.elements().to_vec(),
        other => panic!("{other:?} is no list"),
    };
    let at = |nth: i64| Field::Long((1030 + 5 * nth) * MS as i64);
    assert_eq!(list("chunk_at_ns", row), [at(0), at(1), at(2), at(3)]);
    assert_eq!(list("chunk_tokens", row), [1, 1, 1, 1].map(Field::Long));
    let failed = &rows[3];
    assert_eq!(value(failed, "outcome"), text("connection"));
    assert_ne!(value(failed, "reason"), Field::Null);
    for name in ["ttft_ms", "tbt_ms", "tpot_ms", "e2e_ms", "throughput_tps", "ttft_from_schedule_ms"] {
        assert_eq!(value(failed, name), Field::Null, "{name}");
    }
    assert_eq!(value(failed, "within_slo"), Field::Bool(false));
    assert_eq!(list("chunk_at_ns", failed), []);
}

#[test]
fn many_rows_come_in_groups() {
    let reader = file_of(70_000, None);
    assert_eq!(reader.metadata().num_row_groups(), 2);
    let columns = parse_message_type("message requests { optional int64 id; optional boolean within_slo; }").unwrap();
    let rows: Vec<Row> = reader.get_row_iter(Some(columns)).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 70_001);
    assert!(rows.iter().enumerate().all(|(nth, row)| value(row, "id") == Field::Long(nth as i64)));
    assert_eq!(value(&rows[69_999], "within_slo"), Field::Null);
}

#[test]
fn columns_of_latencies_have_the_names_of_the_registry() {
    let (reader, _) = table(1, None);
    let schema = reader.metadata().file_metadata().schema().clone();
    let names: Vec<&str> =
        schema.get_fields().iter().map(|field| field.name()).filter(|name| name.ends_with("_ms")).collect();
    assert!(names.len() > 8);
    for name in names {
        let own = ["server_ttft_ms", "server_queue_ms", "server_prefill_ms", "server_generation_ms"].contains(&name);
        let known = |stat: &str| registry::find(&format!("{stat}_{name}")).is_some();
        assert!(own || name == "client_delay_max_ms" || known("avg") || known("p50"), "{name}");
    }
}

#[test]
fn a_summary_alone_has_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    write_journal(folder.path(), header("w", 1), &[success(0, 1000, 20, 5)], Some(close()));
    write_manifest(folder.path(), &manifest(&["w"]));
    let summary = sagellm_report::load(folder.path()).unwrap();
    assert!(render(&summary, Format::Parquet, Look::default()).is_err());
    let alone = tempfile::tempdir().unwrap();
    sagellm_report::write_results(alone.path(), &summary).unwrap();
    let error = write_records(alone.path(), Wanted::default(), &alone.path().join("r.parquet")).unwrap_err();
    assert!(error.to_string().contains("no journals"), "{error}");
    assert!(!alone.path().join("r.parquet").exists());
}

#[test]
fn the_table_carries_the_verdict_of_its_run() {
    let folder = tempfile::tempdir().unwrap();
    write_manifest(folder.path(), &manifest(&["w"]));
    write_journal(folder.path(), header("w", 9), &[success(0, 1000, 20, 5)], Some(close()));
    let validity = |folder: &std::path::Path| -> serde_json::Value {
        let file = folder.join("records.parquet");
        write_records(folder, Wanted::default(), &file).unwrap();
        let reader = SerializedFileReader::new(File::open(&file).unwrap()).unwrap();
        let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
        let pair = pairs.into_iter().find(|pair| pair.key == "sagellm_benchmark.validity").unwrap();
        serde_json::from_str(&pair.value.unwrap()).unwrap()
    };
    assert_eq!(validity(folder.path()), serde_json::Value::Null, "no summary lies there");
    let summary = sagellm_report::summarize_folder(folder.path()).unwrap();
    sagellm_report::write_results(folder.path(), &summary).unwrap();
    let found = validity(folder.path());
    assert_eq!((&found["verdict"], &found["reasons"][0]["code"]), (&"INVALID".into(), &"never_sent".into()));
}
