//! The output folder: one run at a time writes to it, and no result is lost.
#![cfg(target_os = "linux")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use common::{Place, Ran, Running, number};

const TINY: &str = "run --model synthetic:tiny";
/// Long enough to be met in the middle.
const LONG: &str = "run --model synthetic:tiny --workload short --num-prompts 5000 -v --output out";

fn start(place: &Place, line: &str) -> Running {
    Running::start(place.program(line.split_whitespace()))
}

#[test]
fn a_second_run_is_refused_while_another_writes() {
    let place = Place::new();
    let mut first = start(&place, LONG);
    first.wait_for(&["short_input #3 ", "success"]);
    let second = place.run(&format!("{TINY} --workload short --seed 2 --output out"));
    assert_eq!((second.code, second.out.as_str()), (3, ""), "{}", second.err);
    let expected = format!("error: another run writes to `out` (process {}, since 2", first.id());
    assert!(second.err.starts_with(&expected), "{}", second.err);
    let repeated = place.run(&format!("{TINY} --workload short --repeat 2 --output out"));
    assert_eq!(repeated.code, 3, "{}", repeated.err);
    first.signal("-INT");
    let (code, said) = first.end();
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(place.records("out", "short_input").len(), 5000, "the first run ended whole");
    assert_eq!(
        place.json("out/manifest.json")["seeds"]["workload"],
        place.json("out/benchmark_summary.json")["environment"]["seeds"]["workload"]
    );
}

#[test]
fn results_of_an_earlier_run_are_kept_unless_they_are_given_up() {
    let place = Place::new();
    place.succeed(&format!("{TINY} --output-json benchmark_results/flat.json"));
    let first = place.json("benchmark_results/manifest.json");
    let started = first["started_at"].as_str().unwrap();
    let again = place.succeed(&format!("{TINY} --workload short --seed 1 --output-json benchmark_results/flat.json"));
    let moved = started.replace([':', '.'], "-");
    let note = format!(
        "note: `./benchmark_results` contained the results of the run of {started}; they are in \
        `./benchmark_results/earlier/{moved}` now (`--overwrite` deletes them)\n"
    );
    assert!(again.err.contains(&note), "{}", again.err);
    let summary = place.json("benchmark_results/benchmark_summary.json");
    assert_eq!(number(&summary["overall"], "total_workloads"), 1.0);
    assert_eq!(summary["environment"]["seeds"]["workload"], 1);
    assert!(!summary["validity"]["warnings"].to_string().contains("other_run"), "{summary:#}");
    assert!(!place.file("benchmark_results/long_input_metrics.json").exists());
    // The earlier run is complete where it is now.
    let earlier = format!("benchmark_results/earlier/{moved}");
    assert_eq!(place.json(&format!("{earlier}/manifest.json")), first);
    assert_eq!(place.json(&format!("{earlier}/flat.json")).as_object().unwrap().len(), 3);
    assert!(place.succeed(&format!("report --input {earlier}")).out.contains("stress_test"));
    assert!(place.succeed("report").out.contains("short_input"));

    place.succeed(&format!("{TINY} --workload long --overwrite --quiet"));
    let names = fs::read_dir(place.file("benchmark_results/earlier")).unwrap().count();
    assert_eq!(names, 1, "the second run was given up");
    assert!(!place.file("benchmark_results/short_input_metrics.json").exists());
    assert!(place.file("benchmark_results/long_input_metrics.json").exists());
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let place = Place::new();
    let run = start(
        &place,
        "run --model synthetic:tiny --dataset-name random --random-input-len 200 --random-output-len 8 --num-prompts \
         2000000 --output out",
    );
    while !place.file("out/.sagellm-benchmark-scratch").exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    run.signal("-KILL");
    assert_eq!(run.end().0, None);
    assert!(place.listing().iter().any(|name| name.contains(".sagellm")), "{:?}", place.listing());
    place.succeed(&format!("{TINY} --workload short --output out"));
    assert!(!place.listing().iter().any(|name| name.contains(".sagellm")), "{:?}", place.listing());
}

#[test]
fn a_folder_that_disappears_is_reported_at_once_and_written_again() {
    let place = Place::new();
    let mut run = start(&place, LONG);
    run.wait_for(&["short_input #3 ", "success"]);
    fs::remove_dir_all(place.file("out")).unwrap();
    run.wait_for(&["error: the output directory `out` disappeared during the run"]);
    run.signal("-INT");
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(place.records("out", "short_input").len(), 5000, "{said}");
    assert!(place.file("out/plan.jsonl").exists());
    assert!(place.succeed("report --input out").out.starts_with("INVALID"));
}

#[test]
fn a_limit_on_file_sizes_names_the_file() {
    let place = Place::new();
    let line = format!("ulimit -f 40; exec sagellm-benchmark {TINY} --workload short --output out --num-prompts 200");
    let ran = Ran::from(place.shell(&line).output().unwrap());
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("`out/") && ran.err.contains("File too large"), "{}", ran.err);
    assert!(!place.listing().iter().any(|name| name.contains(".sagellm")), "{:?}", place.listing());
}

#[test]
fn a_folder_may_have_any_name() {
    let place = Place::new();
    let name = OsStr::from_bytes(b"z\xff");
    let mut command = place.program(TINY.split_whitespace().chain(["--workload", "short", "-o"]));
    let ran = Ran::from(command.arg(name).output().unwrap()).succeeded();
    assert!(ran.err.contains("Results are in z\u{fffd}"), "{}", ran.err);
    assert!(place.path().join(name).join("benchmark_summary.json").exists());
}
