//! Workloads, plans and what a run makes of them, through the program.

mod common;

use common::server::Serving;
use common::{Place, number, testdata};

use serde_json::Value;

/// A run that is over at once.
const RUN: &str =
    "run --quiet --model synthetic:tiny --dataset-name text --input-len 16 --output-len 4 --num-prompts 2";

#[test]
fn notes_of_a_run_are_in_its_results() {
    let place = Place::new();
    place.succeed(&format!("{RUN} --metadata gpu=none tp=1 --metadata label=before"));
    let manifest = place.json("benchmark_results/manifest.json");
    assert_eq!(manifest["metadata"], serde_json::json!({"gpu": "none", "tp": "1", "label": "before"}));
    assert!(place.succeed("report --format markdown").out.contains("| gpu | none |"));
    let vllm: Value = serde_json::from_str(&place.succeed("report --format vllm").out).unwrap();
    assert_eq!((&vllm["label"], &vllm["tp"]), (&"before".into(), &"1".into()));
    for wrong in ["--metadata gpu", "--metadata =1", "--metadata a=1 --metadata a=2"] {
        assert!(place.refused(&format!("{RUN} -o other {wrong}")).contains("--metadata"), "{wrong}");
    }
}

#[test]
fn report_takes_one_workload_of_several_and_all_of_repeated_runs() {
    let place = Place::new();
    let several = "run --quiet --model synthetic:tiny --num-prompts 2";
    let refused = place.run(&format!("{several} --format vllm"));
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("holds one workload") && !place.file("benchmark_results").exists(), "{}", refused.err);
    place.succeed(several);
    let vllm: Value = serde_json::from_str(&place.succeed("report --format vllm --workload long_input").out).unwrap();
    assert_eq!((&vllm["num_prompts"], &vllm["total_input_tokens"]), (&2.into(), &400.into()));
    let refused = place.run("report --format vllm");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("--workload short_input"), "{}", refused.err);
    let refused = place.run("report --workload other");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("short_input, long_input, stress_test"), "{}", refused.err);
    place.succeed(&format!("{RUN} --repeat 2 -o many"));
    let shown = place.succeed("report --input many").out;
    assert!(shown.contains("of 2 runs VALID") && shown.contains("95 % interval"), "{shown}");
    assert_eq!(place.run("report --input many --format csv").code, 2);
}

#[test]
fn arrivals_are_checked_and_drawn_as_planned_and_as_sent() {
    let place = Place::new();
    // Whether the machine keeps such a pace is not the question here.
    place.run(&format!("{} --request-rate 400 --burstiness 0.5", RUN.replace("prompts 2", "prompts 40")));
    let planned = place.succeed("plan check benchmark_results/plan.jsonl --svg planned.svg").out;
    assert!(planned.contains("shared       0.0 %") && !planned.contains("as sent"), "{planned}");
    let sent = place.succeed("plan check --results benchmark_results --svg sent.svg --workload text").out;
    assert!(sent.contains("as sent      40 arrivals"), "{sent}");
    let (planned, sent) = (place.text("planned.svg"), place.text("sent.svg"));
    assert!(planned.contains("text: 40 arrivals as planned") && sent.contains("text: 40 arrivals as sent"));
    for wrong in [
        "plan check",
        "plan check a --results b",
        "plan check --results nowhere",
        "plan check --workload x benchmark_results/plan.jsonl",
    ] {
        assert!([2, 3].contains(&place.run(wrong).code), "{wrong}");
    }
    let wrong = place.refused("plan check benchmark_results/plan.jsonl --svg x.svg --workload other");
    assert!(wrong.contains("the plan holds the workloads text"), "{wrong}");
}

#[test]
fn repeated_runs_have_folders_and_seeds_of_their_own() {
    let place = Place::new();
    let first = place.succeed(&format!("{RUN} --repeat 4 --seed 7 -o one"));
    assert!(first.out.starts_with("4 of 4 runs VALID"), "{}", first.out);
    let rows: Vec<&str> = first.out.lines().filter(|line| line.starts_with("avg_ttft_ms")).collect();
    assert_eq!((rows.len(), rows[0].split_whitespace().nth(1)), (1, Some("4")), "{}", first.out);
    let manifests: Vec<Value> = (1..=4).map(|nth| place.json(&format!("one/run-{nth}/manifest.json"))).collect();
    let seeds: Vec<u64> = manifests.iter().map(|it| it["seeds"]["workload"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [7, 8, 9, 10]);
    assert_eq!(manifests[1]["config"]["repeat"], "2 of 4");
    let plans: Vec<&Value> = manifests.iter().map(|it| &it["hashes"]["plans"]["text"]).collect();
    assert!(plans[1..].iter().all(|plan| plan.is_string() && *plan != plans[0]), "{plans:?}");

    place.succeed(&format!("{RUN} --repeat 4 --seed 7 -o other --format markdown"));
    assert_eq!(place.json("other/run-3/manifest.json")["hashes"], manifests[2]["hashes"]);
    let compared = place.succeed("compare one other");
    assert!(compared.out.contains("runs are compared"), "{}", compared.out);
}

#[test]
fn repeated_runs_end_with_the_worst_exit_code_and_mix_with_nothing() {
    let place = Place::new();
    let invalid = place.run(&format!("{RUN} --repeat 2 --timeout 1e-9 -o late"));
    assert_eq!(invalid.code, 5, "{}", invalid.err);
    assert!(invalid.out.starts_with("0 of 2 runs VALID\nrun 1 INVALID, text: "), "{}", invalid.out);
    assert!(place.path().join("late/run-2/manifest.json").exists());

    place.succeed(&format!("{RUN} -o single"));
    for wrong in [
        "-o single --repeat 2",
        "-o late/run-3 --repeat 2 --format csv",
        "--repeat 0",
        "--repeat 2 --plan late/run-1/plan.jsonl",
    ] {
        let ran = place.run(&format!("{RUN} {wrong}"));
        assert!([2, 3].contains(&ran.code) && ran.err.contains("hint:") | ran.err.contains("--repeat"), "{}", ran.err);
    }
    place.succeed(&format!("{RUN} -o late/run-3"));
    assert!(place.run(&format!("{RUN} -o late --repeat 2")).err.contains("holds the run `run-3` already"));
}

/// The measured records of a workload, by number.
fn records(place: &Place, folder: &str, workload: &str) -> Vec<Value> {
    let mut records: Vec<Value> =
        place.records(folder, workload).into_iter().filter(|record| record["warmup"] == false).collect();
    records.sort_by_key(|record| record["id"].as_u64());
    records
}

#[test]
fn later_turns_find_the_conversation_in_the_prefix_cache() {
    let place = Place::new();
    let (turns, first, turn, output) = (5, 64, 40, 24);
    place.succeed(&format!(
        "run --quiet --model synthetic:tiny --dataset-name multi_turn --turns {turns} --first-turn-len {first} \
         --turn-len {turn} --output-len {output} --num-prompts 20 --max-concurrency 2 -o out"
    ));
    let records = records(&place, "out", "multi_turn");
    assert_eq!(records.len(), 20);
    let (mut found, mut looked_up, mut rates) = (0, 0, Vec::new());
    for (nth, record) in (0..).zip(&records) {
        // What was said before: its last token has never been computed, and the cache holds whole blocks of 16.
        let prompt = first + nth % turns * (turn + output);
        let before = if nth % turns == 0 { 0 } else { prompt - turn - 1 };
        let cached = before / 16 * 16;
        assert_eq!((&record["input_tokens"], &record["cached_tokens"]), (&prompt.into(), &cached.into()), "{record}");
        found += cached;
        looked_up += prompt;
        rates.push(f64::from(cached) / f64::from(prompt));
    }
    assert!(rates[..turns as usize].windows(2).all(|pair| pair[1] > pair[0]), "{rates:?}");
    let rate = number(&place.json("out/multi_turn_metrics.json"), "prefix_hit_rate");
    assert!((rate - f64::from(found) / f64::from(looked_up)).abs() < 1e-12, "{rate}");
}

#[test]
fn a_plan_is_the_same_on_the_engine_and_on_a_server() {
    let place = Place::new();
    let random =
        "--dataset-name random --random-input-len 48 --random-range-ratio 0.5 --num-prompts 6 --request-rate 50";
    let talks = "--dataset-name multi_turn --turns 2 --first-turn-len 48 --turn-len 40 --num-prompts 4";
    for (name, options) in [("random", random), ("multi_turn", talks)] {
        place.succeed(&format!("plan write --quiet --model synthetic:tiny {options} --output-len 8 -o {name}.jsonl"));
        place.run(&format!("run --quiet --model synthetic:tiny --plan {name}.jsonl -o engine"));
        let server = Serving::start(&place, "--model synthetic:tiny --port 0 --threads 1");
        let to_server =
            format!("run --quiet --backend vllm --base-url {} --no-calibrate --plan {name}.jsonl", server.url);
        place.run(&format!("{to_server} --tokenizer synthetic:tiny -o server"));
        assert_eq!(place.text("engine/plan.jsonl"), place.text(&format!("{name}.jsonl")));
        assert_eq!(place.text("server/plan.jsonl"), place.text(&format!("{name}.jsonl")));
        let asked = |folder: &str| -> Vec<String> {
            let keys = ["id", "session", "input_tokens", "planned_input_tokens", "max_tokens", "ignore_eos", "outcome"];
            // Random tokens are no text: what a server answered is not what a later turn carries on, to the token.
            let first =
                |record: &&Value| record["session"].is_null() || record["id"].as_u64().unwrap().is_multiple_of(2);
            let line = |record: &Value| keys.map(|key| record[key].to_string()).join(" ");
            records(&place, folder, name).iter().filter(first).map(line).collect()
        };
        assert!(asked("engine").len() > 1 && asked("engine")[0].ends_with("\"success\""), "{:?}", asked("engine"));
        assert_eq!(asked("engine"), asked("server"));

        // With another tokenizer the same texts are sent, and the engine refuses.
        let ran = place.run(&format!("{to_server} --tokenizer {} -o text", testdata("models/llama").display()));
        assert!(ran.err.contains("warning: the plan was made with another tokenizer"), "{}", ran.err);
        let sent = records(&place, "text", name);
        assert!(sent.iter().all(|record| record["outcome"] == "success" && record["planned_input_tokens"].is_null()));
        server.end("-TERM");
    }
    let model = testdata("models/llama").display().to_string();
    assert!(place.run(&format!("run --model {model} --plan random.jsonl -o none")).err.contains("another tokenizer"));
}

#[test]
fn bad_input_gets_one_clear_error() {
    let place = Place::new();
    let file = |name: &str, text: &str| std::fs::write(place.file(name), text).unwrap();
    file("empty.json", "");
    file("none.json", "[]");
    file("truncated.json", "[{\"conversations\": [{\"from\": \"human\", \"value\": \"Why?\"}, {\"from\": \"gp");
    let line = |prompt: &str| format!("{{\"prompt\": {prompt}, \"output_tokens\": 8}}\n");
    file("line3.jsonl", &[line("\"One.\""), line("\"Two.\""), line("Three")].concat());
    let head = "Timestamp,Model,Request tokens,Response tokens\n";
    file("back.csv", &format!("{head}5,ChatGPT,40,8\n9,ChatGPT,40,8\n7,ChatGPT,40,8\n"));
    let workload = "name: a\nsource: {text: {input_tokens: 16, output_tokens: 4}}\n";
    file("negative.yaml", &format!("{workload}arrival: {{poisson: {{rate: -2}}}}\n"));
    file("zero.yaml", &format!("{workload}num_prompts: 0\n"));
    let options = [
        "--dataset-name sharegpt --dataset-path missing.json",
        "--dataset-name sharegpt",
        "--dataset-name sharegpt --dataset-path empty.json",
        "--dataset-name sharegpt --dataset-path none.json",
        "--dataset-name sharegpt --dataset-path truncated.json",
        "--dataset-name custom --dataset-path empty.json",
        "--dataset-name custom --dataset-path line3.jsonl",
        "--dataset-name burstgpt --dataset-path empty.json",
        "--dataset-name burstgpt --dataset-path back.csv",
        "--dataset-name text --request-rate -1",
        "--workload negative.yaml",
        "--workload zero.yaml",
        "--dataset-name text --num-prompts 0",
        "--dataset-name random --random-input-len 100000 --num-prompts 2",
        "--dataset-name text --input-len 2000 --num-prompts 2",
    ];
    let refuse = |options: &&str| {
        let ran = place.run(&format!("run --model synthetic:tiny {options}"));
        assert!([2, 3].contains(&ran.code) && ran.out.is_empty(), "{options}: {}", ran.err);
        assert!(!place.path().join("benchmark_results").exists(), "{options} leaves something behind");
        format!("$ run {options}\n{}[exit {}]\n\n", ran.err, ran.code)
    };
    let mut said: String = options.iter().map(refuse).collect();
    said += &place.run("plan write --tokenizer missing --dataset-name text").err;
    insta::assert_snapshot!(place.anonymous(&said));
}
