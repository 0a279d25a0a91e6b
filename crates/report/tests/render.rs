//! What people and programs read, in full.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use sagellm_core::{BackendStats, Exit, Measured, OutcomeKind, Stamp, TokenSource, UserError};
use sagellm_report::render::{Format, Look, WIDE, Wanted, render, render_path, repeats, write_records};
use sagellm_report::{Summary, summarize_folder};
use support::*;

/// Two workloads that went well: five requests one after the other, and a hundred of which up to four ran at once.
fn good() -> Summary {
    let folder = tempfile::tempdir().unwrap();
    write_manifest(folder.path(), &manifest(&["short_input", "stress_test"]));
    let sequential: Vec<_> = (0..5).map(|id| success(id, 1000 + id * 40, 12 + id % 3, 5)).collect();
    write_journal(folder.path(), header("short_input", 5), &sequential, Some(close()));
    let mut stress = header("stress_test", 100);
    stress.start_ns = 5000 * MS;
    stress.workload.max_concurrency = Some(4);
    let concurrent: Vec<_> = (0..100).map(|id| success(id, 5000 + id * 10, 20 + id * 7 % 11, 3 + id % 4)).collect();
    write_journal(folder.path(), stress, &concurrent, Some(close()));
    summarize_folder(folder.path()).unwrap()
}

/// A workload most of whose requests failed, on a backend that tells little, and one that was cut short.
fn bad() -> Summary {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = manifest(&["short_input", "long_input"]);
    manifest.backend.model.synthetic = false;
    manifest.backend.model.name = "my|model".into();
    manifest.command_line.clear();
    write_manifest(folder.path(), &manifest);
    let mut records = vec![success(0, 1000, 12, 0)];
    records[0].chunks = vec![sagellm_core::Chunk { at_ns: 1012 * MS, tokens: 4, delay_ns: None, uncertainty_ns: 0 }];
    records.push(failure(1, 1040, OutcomeKind::Timeout));
    records.push(failure(2, 1080, OutcomeKind::Connection));
    records.push(failure(3, 1120, OutcomeKind::Timeout));
    let mut close = close();
    close.memory.peak_bytes = Measured::unknown("the process cannot be seen");
    close.backend.kv_used_tokens = Measured::unknown("the server does not tell");
    close.backend.prefix_lookup_tokens = Measured::known(0);
    write_journal(folder.path(), header("short_input", 5), &records, Some(close));
    let mut long = header("long_input", 3);
    long.start_ns = 3000 * MS;
    write_journal(folder.path(), long, &[success(0, 3000, 30, 6)], None);
    summarize_folder(folder.path()).unwrap()
}

/// Two workloads on a server: one that tells everything about itself, and one, without usage and calibration, that tells
/// nothing.
fn served() -> Summary {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = manifest(&["short_input", "stress_test"]);
    manifest.backend.name = "vllm".into();
    manifest.backend.version = Some("0.33.0".into());
    manifest.backend.stamp = Stamp::Kernel;
    manifest.backend.model.synthetic = false;
    manifest.backend.settings = [
        ("base_url", "https://localhost:8000"),
        ("probe.ignore_eos", "understood"),
        ("probe.usage", "in a chunk of its own"),
        ("tls_insecure", "true"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    manifest.command_line.clear();
    write_manifest(folder.path(), &manifest);
    let mut telling = close();
    telling.backend.server = Some(server_window(12.1));
    telling.memory.kind = "process_resident_memory_bytes".into();
    telling.memory.baseline_bytes = Measured::unknown("a server's memory counts in full");
    telling.client_cpu_percent = Measured::known(3.4);
    telling.server_cpu_percent = Measured::known(171.2);
    let mut first = header("short_input", 5);
    first.calibration = Some(calibration(0.12, 0.02));
    let mut records: Vec<_> = (0..5).map(|id| over_http(success(id, 1000 + id * 40, 12 + id % 3, 5))).collect();
    records[0].http.as_mut().unwrap().connect_ns = Some(MS / 4);
    write_journal(folder.path(), first, &records, Some(telling));
    let mut silent = close();
    silent.backend = BackendStats::unknown("the server exposes no `/metrics`");
    silent.client_cpu_percent = Measured::known(17.0);
    silent.server_cpu_percent = Measured::unknown("the server's process is not known");
    let mut second = header("stress_test", 100);
    second.start_ns = 5000 * MS;
    second.workload.max_concurrency = Some(4);
    let mut records: Vec<_> =
        (0..100).map(|id| over_http(success(id, 5000 + id * 10, 20 + id * 7 % 11, 3 + id % 4))).collect();
    for record in &mut records {
        record.output_tokens_source = TokenSource::Chunks;
        let http = record.http.as_mut().unwrap();
        (http.usage_tokens, http.tokenizer_tokens) = (None, None);
    }
    records[7].http.as_mut().unwrap().retries = 1;
    records[8].http.as_mut().unwrap().merged_chunks = 2;
    write_journal(folder.path(), second, &records, Some(silent));
    summarize_folder(folder.path()).unwrap()
}

#[test]
fn table_of_a_served_run() {
    insta::assert_snapshot!(render(&served(), Format::Table, Look::default()).unwrap());
}

#[test]
fn markdown_of_a_served_run() {
    insta::assert_snapshot!(render(&served(), Format::Markdown, Look::default()).unwrap());
}

#[test]
fn a_server_that_is_slower_than_its_client_sees_is_not_subtracted_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut close = close();
    close.backend.server = Some(server_window(50.0));
    let records: Vec<_> = (0..5).map(|id| over_http(success(id, 1000 + id * 40, 12, 5))).collect();
    write_journal(folder.path(), header("w", 5), &records, Some(close));
    let text = render(&summarize_folder(folder.path()).unwrap(), Format::Table, Look::default()).unwrap();
    assert!(text.contains("= w: client TTFT 12.00 ms is below the server's 50.00 ms: the server"), "{text}");
}

#[test]
fn table_of_a_valid_run() {
    insta::assert_snapshot!(render(&good(), Format::Table, Look::default()).unwrap());
}

#[test]
fn table_of_an_invalid_run() {
    insta::assert_snapshot!(render(&bad(), Format::Table, Look::default()).unwrap());
}

#[test]
fn markdown_of_a_valid_run() {
    insta::assert_snapshot!(render(&good(), Format::Markdown, Look::default()).unwrap());
}

#[test]
fn markdown_of_an_invalid_run() {
    insta::assert_snapshot!(render(&bad(), Format::Markdown, Look::default()).unwrap());
}

#[test]
fn json_of_a_valid_run() {
    insta::assert_snapshot!(render(&good(), Format::Json, Look::default()).unwrap());
}

/// Days of waiting, a long name, and as many tokens as make wide cells.
fn wide() -> Summary {
    let folder = tempfile::tempdir().unwrap();
    let mut records: Vec<_> = (0..50)
        .map(|id| sagellm_core::Record {
            input_tokens: 120_000,
            ..over_http(success(id, 1000 + id * 7_654_321, 1_234_567, 345_678))
        })
        .collect();
    for record in &mut records {
        let http = record.http.as_mut().unwrap();
        (http.retries, http.merged_chunks, http.connect_ns) = (9999, 12_345, Some(123_456 * MS));
        (http.usage_tokens, http.tokenizer_tokens) = (Some(4_000_000), Some(4_000_000));
    }
    let mut close = close();
    close.backend.server = Some(server_window(1_234_567.8));
    close.client_cpu_percent = Measured::known(1234.5);
    close.server_cpu_percent = Measured::known(12_345.6);
    close.backend.kv_used_tokens = Measured::known(12_345_678);
    close.backend.kv_used_bytes = Measured::known(1 << 40);
    close.backend.evict_count = Measured::known(1_234_567);
    close.backend.evict_ms = Measured::known(123_456.7);
    close.backend.spec_drafted_tokens = Measured::known(7);
    close.backend.spec_accepted_tokens = Measured::known(7);
    close.memory.peak_bytes = Measured::known(1 << 42);
    write_journal(folder.path(), header("a_rather_long_workload_name", 50), &records, Some(close));
    summarize_folder(folder.path()).unwrap()
}

#[test]
fn the_table_fits_a_terminal_of_80_columns() {
    for summary in [good(), bad(), served(), wide()] {
        let all = Look { wide: true, ..Look::default() };
        for line in render(&summary, Format::Table, all).unwrap().lines() {
            assert!(line.chars().count() <= usize::from(WIDE), "{line}");
        }
        for line in render(&summary, Format::Table, Look::default()).unwrap().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn a_wide_table_shows_the_whole_distribution() {
    insta::assert_snapshot!(render(&served(), Format::Table, Look { wide: true, ..Look::default() }).unwrap());
}

#[test]
fn every_text_ends_with_one_newline() {
    for summary in [good(), bad(), served()].map(one) {
        for format in Format::ALL.into_iter().filter(|format| *format != Format::Parquet) {
            let text = render(&summary, format, Look { colour: true, wide: false }).unwrap();
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{}", format.name());
        }
    }
}

#[test]
fn colour_is_used_only_when_asked_for() {
    assert!(!render(&good(), Format::Table, Look::default()).unwrap().contains('\u{1b}'));
    let coloured = render(&good(), Format::Table, Look { colour: true, wide: false }).unwrap();
    assert!(coloured.starts_with("\u{1b}[1;32mVALID\u{1b}[0m"), "{coloured}");
    assert!(!render(&good(), Format::Markdown, Look { colour: true, wide: false }).unwrap().contains('\u{1b}'));
}

#[test]
fn formats_are_named_as_on_the_command_line() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    let message = "pdf".parse::<Format>().unwrap_err().to_string();
    assert_eq!(
        message,
        "unknown format `pdf`: the formats are table, json, markdown, csv, vllm, sglang, junit, openmetrics, html, parquet"
    );
}

#[test]
fn junit_of_a_run_that_failed() {
    insta::assert_snapshot!(render(&bad(), Format::Junit, Look::default()).unwrap());
}

/// The first workload alone.
fn one(summary: Summary) -> Summary {
    summary.only(Some("short_input")).unwrap()
}

#[test]
fn a_file_of_vllm_holds_one_workload() {
    let error = render(&good(), Format::Vllm, Look::default()).unwrap_err();
    assert_eq!(error.to_string(), "a file of vLLM's holds one workload, and the run has 2: short_input, stress_test");
    assert_eq!(error.hint().unwrap(), "name it, file by file: `report --format vllm --workload short_input`");
    assert_eq!(error.exit(), Exit::Usage);
    let text = render(&one(good()), Format::Vllm, Look::default()).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object());
    let error = good().only(Some("long_input")).unwrap_err().to_string();
    assert_eq!(error, "there is no workload `long_input`: the run has short_input, stress_test");
}

#[test]
fn one_workload_of_a_run_keeps_its_own_findings() {
    let all = bad();
    let long = all.clone().only(Some("long_input")).unwrap();
    assert_eq!((long.workloads.len(), long.overall.total_workloads, long.overall.total_requests), (1, 1, 1));
    let of = |summary: &Summary, name: &str| {
        let all = summary.validity.reasons.iter().chain(&summary.validity.warnings);
        all.filter(|finding| finding.workload.as_deref() == Some(name)).count()
    };
    assert!(of(&all, "short_input") > 0 && of(&long, "short_input") == 0);
    assert_eq!(of(&long, "long_input"), of(&all, "long_input"));
}

#[test]
fn results_as_rivals_write_them() {
    let (vllm, sglang) = (
        render(&one(good()), Format::Vllm, Look::default()).unwrap(),
        render(&good(), Format::Sglang, Look::default()).unwrap(),
    );
    insta::assert_snapshot!(format!("{vllm}{sglang}"));
    // Five times to the first token of 12, 13, 14, 12 and 13 ms: their variance over all five is 0.56 ms².
    let first: serde_json::Value = serde_json::from_str(vllm.lines().next().unwrap()).unwrap();
    assert!((first["std_ttft_ms"].as_f64().unwrap() - 0.56_f64.sqrt()).abs() < 1e-9);
}

#[test]
fn csv_has_every_figure_and_leaves_out_what_is_unknown() {
    let summary = bad();
    let text = render(&summary, Format::Csv, Look::default()).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    assert_eq!(head[..4], ["workload", "verdict", "reasons", "warnings"]);
    assert_eq!(head.len(), 4 + sagellm_report::registry::all().len());
    for (workload, cells) in summary.workloads.iter().zip(lines) {
        assert_eq!((cells.len(), cells[0], cells[1]), (head.len(), workload.name(), "INVALID"));
        for (place, findings) in [(2, &workload.details.validity.reasons), (3, &workload.details.validity.warnings)] {
            for finding in findings {
                assert!(cells[place].split(';').any(|code| code == finding.code.name()), "{}", cells[place]);
            }
        }
        for (key, cell) in head.iter().zip(cells).skip(4) {
            assert_eq!(cell.parse().ok(), workload.get(key), "{key}");
        }
    }
}

#[test]
fn openmetrics_has_a_type_a_help_and_an_end() {
    let text = render(&good(), Format::Openmetrics, Look::default()).unwrap();
    assert!(text.ends_with("# EOF\n"));
    let value = good().workloads.get("stress_test").unwrap().get("p99.9_ttft_ms").unwrap();
    let sample = format!(
        "sagellm_benchmark_p99_9_ttft_ms{{workload=\"stress_test\",model=\"synthetic:gpt2\",backend=\"cpu\"}} {value}\n"
    );
    assert!(text.contains(&sample), "{sample}{text}");
    let finding = "sagellm_benchmark_finding{workload=\"stress_test\",model=\"synthetic:gpt2\",backend=\"cpu\",\
                   kind=\"warning\",code=\"few_samples\"} 1\n";
    assert!(text.contains(finding), "{text}");
    let invalid = render(&bad(), Format::Openmetrics, Look::default()).unwrap();
    assert!(invalid.contains("kind=\"reason\",code=\"error_rate\"} 1\n"), "{invalid}");
    let mut names = std::collections::HashSet::new();
    for block in text.trim_end_matches("# EOF\n").split("# TYPE ").skip(1) {
        let name = block.split(' ').next().unwrap();
        assert!(names.insert(name.to_owned()), "{name} comes twice");
        let lines: Vec<&str> = block.lines().collect();
        assert!(lines[0].ends_with(" gauge") && lines[1].starts_with(&format!("# HELP {name} ")), "{block}");
        for line in &lines[2..] {
            assert!(line.starts_with(&format!("{name}{{workload=")), "{line}");
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
}

#[test]
fn a_folder_of_repeated_runs_is_shown_as_one() {
    let folder = tempfile::tempdir().unwrap();
    for nth in 1..=10 {
        let run = folder.path().join(format!("run-{nth}"));
        std::fs::create_dir(&run).unwrap();
        write_manifest(&run, &manifest(&["w"]));
        // The tenth is cut short.
        let close = (nth < 10).then(close);
        write_journal(&run, header("w", 1), &[success(0, 1000, 10 + nth, 5)], close);
    }
    let show = |path: &std::path::Path, format| render_path(path, Wanted::default(), format, Look::default());
    let table = String::from_utf8(show(folder.path(), Format::Table).unwrap()).unwrap();
    assert!(table.starts_with("9 of 10 runs VALID\nrun 10 INVALID, w: the journal ends early"), "{table}");
    assert!(table.lines().any(|line| line.starts_with("avg_ttft_ms") && line.contains("15.23")), "{table}");
    // As `report` without an input looks for it.
    let summary = folder.path().join("benchmark_summary.json");
    assert_eq!(show(&summary, Format::Table).unwrap(), table.as_bytes());
    assert!(String::from_utf8(show(folder.path(), Format::Markdown).unwrap()).unwrap().contains("| runs |"));
    let error = show(folder.path(), Format::Json).unwrap_err();
    assert!(error.to_string().ends_with("holds 10 runs, which are shown together as `table` or `markdown` only"));
    assert!(error.hint().unwrap().ends_with("run-1`"), "{:?}", error.hint());
    let parquet = folder.path().join("x.parquet");
    assert!(write_records(folder.path(), Wanted::default(), &parquet).unwrap_err().hint().unwrap().ends_with("run-1`"));
    assert!(!parquet.exists());
}

#[test]
fn repeated_runs_are_the_sample_of_an_interval() {
    let (one, other) = (good(), good());
    let table = repeats::table(&[one.clone(), other]);
    assert!(table.contains("95 % interval") && table.contains("2 of 2 runs VALID"), "{table}");
    // Two runs that agree leave no width, one run has no interval.
    let line = |text: &str| text.lines().find(|line| line.starts_with("avg_ttft_ms")).unwrap().to_owned();
    let cells: Vec<String> = line(&table).split_whitespace().map(str::to_owned).collect();
    assert_eq!((&cells[3..6], &*cells[1]), (&[cells[2].clone(), "to".into(), cells[2].clone()][..], "2"), "{table}");
    let cells: Vec<String> =
        line(&repeats::table(std::slice::from_ref(&one))).split_whitespace().map(str::to_owned).collect();
    assert_eq!((&*cells[1], &*cells[3]), ("1", "-"));
    insta::assert_snapshot!("repeats_markdown", repeats::markdown(&[one.clone(), one]));
}

#[test]
fn reasons_of_repeated_runs_are_no_markup() {
    let mut run = bad();
    run.validity.reasons[0].message = "model `x not found <img>\n# a".into();
    let text = repeats::markdown(&[run.clone(), run]);
    assert!(text.contains(r"model \`x not found \<img> # a"), "{text}");
}
