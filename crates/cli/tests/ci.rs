//! The files for continuous integration: their shell parts are run as a runner would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Place, repository};
use serde_json::Value;

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(repository().join(name)).unwrap()).unwrap()
}

/// Runs lines by the shell that they are for, in the environment of a runner.
fn run(place: &Place, shell: &str, lines: &str, environment: &BTreeMap<&str, String>) -> i32 {
    fs::write(place.file("step.sh"), lines).unwrap();
    let mut command = place.shell(&format!("{shell} step.sh"));
    let out = command.envs(environment).output().unwrap();
    let code = out.status.code().unwrap();
    assert!([0, 5, 6].contains(&code), "{lines}\n{}", String::from_utf8_lossy(&out.stderr));
    code
}

/// The steps of the action but for those that need a network. Its expressions are the inputs, by their names.
fn act(place: &Place, inputs: &[(&str, &str)]) -> i32 {
    let action = yaml("action.yml");
    let mut code = 0;
    for step in action["runs"]["steps"].as_array().unwrap() {
        let id = step["id"].as_str().unwrap();
        if ["install", "comment"].contains(&id)
            || (id == "compare" && inputs.iter().all(|(name, _)| *name != "baseline"))
        {
            continue;
        }
        // What a former job told is not this one's.
        fs::write(place.file(&format!("{id}.output")), "").unwrap();
        let mut environment = BTreeMap::from([
            ("GITHUB_OUTPUT", place.file(&format!("{id}.output")).display().to_string()),
            ("GITHUB_STEP_SUMMARY", place.file("summary.md").display().to_string()),
        ]);
        for (name, expression) in step["env"].as_object().unwrap() {
            let inner = expression.as_str().unwrap().trim_start_matches("${{").trim_end_matches("}}").trim().to_owned();
            let value = match inner.strip_prefix("inputs.") {
                Some(input) => {
                    let default = &action["inputs"][input]["default"];
                    let given = inputs.iter().find(|(name, _)| *name == input).map(|(_, value)| *value);
                    given.or(default.as_str()).unwrap().to_owned()
                }
                None => {
                    let step = inner.split('.').nth(1).unwrap();
                    let told = fs::read_to_string(place.file(&format!("{step}.output"))).unwrap_or_default();
                    told.trim().strip_prefix("exit-code=").unwrap_or_default().to_owned()
                }
            };
            environment.insert(name, value);
        }
        code = run(place, "bash -eo pipefail", step["run"].as_str().unwrap(), &environment);
    }
    code
}

#[test]
fn the_action_runs_reports_and_compares() {
    let place = Place::new();
    let tiny = (
        "arguments",
        "--workload short --model synthetic:tiny --metadata 'note=two words' code=$(touch${IFS}ran) --quiet",
    );
    assert_eq!(act(&place, &[tiny, ("output", "baseline")]), 0);
    let metadata = &place.json("baseline/manifest.json")["metadata"];
    assert_eq!((&metadata["note"], &metadata["code"]), (&"two words".into(), &"$(touch${IFS}ran)".into()));
    assert!(!place.file("ran").exists(), "arguments are words, not code");
    assert!(place.text("summary.md").contains("## Benchmark: VALID"));
    assert!(place.text("baseline/report.html").starts_with("<!doctype html>"));
    assert_eq!(act(&place, &[tiny, ("output", "now"), ("baseline", "baseline")]), 0);
    assert!(place.text("summary.md").contains("now against baseline"));
    // A limit on the value itself, which no run can keep.
    let never = ("fail-on", "p50_ttft_ms>0");
    assert_eq!(act(&place, &[tiny, ("output", "late"), ("baseline", "baseline"), never]), 6);
}

/// Options of a run of which no request succeeds in time.
const HASTY: &str = "--workload short --model synthetic:tiny --timeout 0.0001 --quiet";

#[test]
fn the_action_reports_an_invalid_run_before_it_fails() {
    let place = Place::new();
    assert_eq!(act(&place, &[("arguments", HASTY), ("output", "now")]), 5);
    assert!(place.text("summary.md").contains("## Benchmark: INVALID"));
    assert!(place.text("now/report.html").contains("INVALID"));
}

#[test]
fn the_template_runs_reports_and_compares() {
    let place = Place::new();
    let template = yaml("examples/ci/gitlab-template.yml");
    let job = &template[".sagellm-benchmark"];
    let mut environment: BTreeMap<&str, String> = job["variables"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str().unwrap().to_owned()))
        .collect();
    environment.insert("BENCHMARK_ARGUMENTS", "--workload short --model synthetic:tiny --quiet".into());
    let lines = |part: &str| {
        job[part].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(run(&place, "sh -e", &lines("script"), &environment), 0);
    assert_eq!(run(&place, "sh -e", &lines("after_script"), &environment), 0);
    for file in job["artifacts"]["paths"].as_array().unwrap() {
        assert!(place.file(file.as_str().unwrap()).exists(), "{file}");
    }
    fs::rename(place.file("benchmark_results"), place.file("baseline")).unwrap();
    environment.insert("BENCHMARK_BASELINE", "baseline".into());
    environment.insert("BENCHMARK_FAIL_ON", "p50_ttft_ms>0".into());
    assert_eq!(run(&place, "sh -e", &lines("script"), &environment), 6);
    environment.insert("BENCHMARK_ARGUMENTS", HASTY.into());
    assert_eq!(run(&place, "sh -e", &lines("script"), &environment), 5);
    assert_eq!(run(&place, "sh -e", &lines("after_script"), &environment), 0);
    assert!(place.text("REPORT.md").contains("## Benchmark: INVALID"));
    let workflow = yaml("examples/ci/github-action.yml");
    for input in workflow["jobs"]["benchmark"]["steps"][2]["with"].as_object().unwrap().keys() {
        assert!(yaml("action.yml")["inputs"].get(input).is_some(), "{input}");
    }
}
