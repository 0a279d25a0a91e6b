//! What a person reads when something is wrong. A refusal has an exit code, one error and, where there is something to do,
//! a hint; it writes nothing to standard output and leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Stdio;

use common::{Place, Ran, Running, testdata};
use serde_json::{Value, json};

/// The beginning of a run that would take no time if it were not refused.
const RUN: &str = "run --workload short --model synthetic:tiny";

/// The answers to lines that begin alike.
#[track_caller]
fn refused(place: &Place, start: &str, ends: &[&str]) -> String {
    ends.iter().map(|end| place.refused(&format!("{start} {end}"))).collect()
}

#[test]
fn command_lines_that_are_wrong() {
    let place = Place::new();
    let lines = ["measure", "run --fast", "run extra", "report --verbose", "schema nothing", "run --workload m2"];
    let mut said: String = lines.iter().map(|line| place.refused(line)).collect();
    said += &refused(
        &place,
        RUN,
        &[
            "--workload long",
            "--verbose --quiet",
            "--mode burst",
            "--format yaml",
            "--dtype int3",
            "--isa sse",
            "--ignore-eos=perhaps",
            "--output",
        ],
    );
    said += &place.refused("report --format pdf");
    insta::assert_snapshot!(said);
}

#[test]
fn options_of_vllm_that_are_not_ours() {
    let ends =
        ["--host localhost", "--disable-tqdm", "--served-model-name=gpt2", "--use-beam-search", "--hf-split train"];
    let mut said = refused(&Place::new(), RUN, &ends);
    // Elsewhere they are as unknown as any other.
    said += &Place::new().refused("report --disable-tqdm");
    insta::assert_snapshot!(said);
}

#[test]
fn calibrations_that_cannot_be_made() {
    let ends = [
        "--rate 0",
        "--rate -1",
        "--rate nan",
        "--rate inf",
        "--rate 1e300",
        "--rate 0.01 --num-prompts 1000",
        "--concurrency 0",
        "--concurrency 100001",
        "--num-prompts 0",
        "--num-prompts 1000001",
        "--num-prompts 1000000 --output-len 100",
        "--itl 60s",
        "--ttft 61s",
        "--itl -1ms",
        "--itl nans",
        "--search-time 2",
    ];
    insta::assert_snapshot!(refused(&Place::new(), "calibrate", &ends));
}

#[test]
fn servers_that_cannot_be_measured() {
    let place = Place::new();
    fs::write(place.file("long.key"), "k".repeat((64 << 10) + 1)).unwrap();
    // Nobody listens on the port of the discard service.
    let nowhere = "--base-url http://127.0.0.1:9 --ready-timeout 0.2";
    let ends = [
        "torch".to_owned(),
        "openai".to_owned(),
        "cpu --base-url http://127.0.0.1:9".to_owned(),
        "vllm --threads 2".to_owned(),
        "vllm --base-url nonsense://".to_owned(),
        format!("vllm {nowhere} --header nonsense"),
        format!("vllm {nowhere} --extra-body [1]"),
        format!("vllm {nowhere} --api-key-file missing"),
        format!("vllm {nowhere} --api-key-file long.key"),
        format!("vllm {nowhere} --api-key-file /dev/zero"),
        format!("vllm {nowhere} --ca-cert missing"),
        format!("vllm {nowhere} --launch x"),
        // No system has so many processes.
        format!("vllm {nowhere} --server-pid 4000000000"),
        "openai --launch".to_owned(),
        format!("openai {nowhere} --top-k 5"),
        format!("sagellm {nowhere} --top-k 5"),
        format!("openai {nowhere} --ignore-eos=true"),
        format!("openai {nowhere} --metrics-interval 1"),
        format!("vllm {nowhere} --extra-body {{\"n\":2}}"),
        format!("vllm {nowhere} --timeout-connect 0"),
        format!("vllm {nowhere} --api-key-file missing --header Authorization=x"),
    ];
    let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
    insta::assert_snapshot!(refused(&place, "run --backend", &ends));
}

#[test]
fn a_server_that_is_not_there() {
    let place = Place::new();
    let ran = place.run("run --backend vllm --base-url http://127.0.0.1:9 --ready-timeout 0.2");
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("127.0.0.1:9"), "{}", ran.err);
    assert!(!place.path().join("benchmark_results").exists());
}

#[test]
fn numbers_that_are_impossible() {
    let place = Place::new();
    let mut said = String::new();
    for (option, values) in [
        ("num-prompts", &["0", "-1", "many", "100000001"][..]),
        ("max-concurrency", &["0", "-1", "1.5", "4294967296"]),
        ("request-rate", &["0", "-1", "nan", "fast"]),
        ("request-rate=1 --burstiness", &["0", "-1", "nan", "inf"]),
        ("num-warmups", &["-1", "100000001"]),
        ("seed", &["-1", "18446744073709551616"]),
        ("timeout", &["0", "-1", "nan", "1e10"]),
        ("max-error-rate", &["-0.1", "1.1", "nan"]),
        ("temperature", &["-1", "nan", "inf"]),
        ("top-p", &["0", "1.1", "nan"]),
        ("top-k", &["-1", "4294967296"]),
        ("threads", &["0", "-1", "1025"]),
        ("kv-cache-tokens", &["0", "255", "-1", "18446744073709551615"]),
        ("max-num-batched-tokens", &["0", "-1", "1048577"]),
        ("max-num-seqs", &["0", "-1", "1048577"]),
    ] {
        let ends: Vec<String> = values.iter().map(|value| format!("--{option}={value}")).collect();
        let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
        said += &refused(&place, RUN, &ends);
    }
    insta::assert_snapshot!(said.replace("--workload short --model synthetic:tiny", "[...]"));
}

#[test]
fn options_that_contradict_each_other() {
    let place = Place::new();
    let ends = ["--burstiness 2", "--request-rate inf --burstiness 2", "--mode batch --request-rate 1"];
    insta::assert_snapshot!(refused(&place, RUN, &ends));
}

#[test]
fn models_that_are_not_there() {
    let place = Place::new();
    let names = ["./nowhere", "no/such/model", "nowhere.gguf", "synthetic:gpt5", "gpt2", "sshleifer/tiny-gpt2"];
    insta::assert_snapshot!(refused(&place, "run --backend cpu --model", &names));
}

#[test]
fn prompts_that_are_too_long_for_the_model() {
    let place = Place::new();
    place.model("gpt2", "small");
    insta::assert_snapshot!(refused(&place, "run --model ./small --workload", &["stress", "m1"]));
}

/// Writes a reference model as `name`, with one file changed.
fn changed(place: &Place, reference: &str, name: &str, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let path = place.model(reference, name).join(file);
    fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
}

fn changed_json(place: &Place, reference: &str, name: &str, file: &str, change: impl FnOnce(&mut Value)) {
    changed(place, reference, name, file, |content| {
        let mut value = serde_json::from_slice(&content).unwrap();
        change(&mut value);
        value.to_string().into_bytes()
    });
}

fn half(content: Vec<u8>) -> Vec<u8> {
    content[..content.len() / 2].to_vec()
}

fn garbage(content: Vec<u8>) -> Vec<u8> {
    content.iter().map(|byte| byte.wrapping_mul(31) ^ 0x5a).collect()
}

/// A pickle that makes a file when it is run instead of read.
fn hostile(witness: &Path) -> Vec<u8> {
    let command = format!("touch {}", witness.display());
    let length = u32::try_from(command.len()).unwrap().to_le_bytes();
    [&b"\x80\x02cposix\nsystem\n(X"[..], &length, command.as_bytes(), b"tR."].concat()
}

#[test]
fn weights_that_are_damaged() {
    let place = Place::new();
    changed(&place, "llama", "half", "model.safetensors", half);
    changed(&place, "llama", "empty", "model.safetensors", |_| Vec::new());
    changed(&place, "llama", "garbage", "model.safetensors", garbage);
    changed(&place, "gpt2-bin", "half-pickle", "pytorch_model.bin", half);
    changed(&place, "gpt2-bin", "garbage-pickle", "pytorch_model.bin", garbage);
    changed(&place, "gpt2-bin-legacy", "half-legacy", "pytorch_model.bin", half);
    let witness = place.file("it-was-run");
    changed(&place, "gpt2-bin", "hostile", "pytorch_model.bin", |_| hostile(&witness));
    changed(&place, "gpt2-bin-legacy", "hostile-legacy", "pytorch_model.bin", |content| {
        // A magic number, a version and a description come first, then the state dict.
        let stop = |from: usize| from + content[from..].iter().position(|byte| *byte == b'.').unwrap() + 1;
        let head = stop(stop(0));
        [&content[..head], &hostile(&witness), &hostile(&witness)].concat()
    });
    fs::remove_file(place.model("llama-sharded", "shard-lost").join("model-00002-of-00002.safetensors")).unwrap();
    let gguf = fs::read(testdata("gguf/llama.gguf")).unwrap();
    fs::write(place.file("half.gguf"), half(gguf.clone())).unwrap();
    fs::write(place.file("head.gguf"), &gguf[..100]).unwrap();
    fs::write(place.file("garbage.gguf"), garbage(gguf)).unwrap();
    let said = refused(
        &place,
        "run --workload short --model",
        &[
            "./half",
            "./empty",
            "./garbage",
            "./half-pickle",
            "./garbage-pickle",
            "./half-legacy",
            "./hostile",
            "./hostile-legacy",
            "./shard-lost",
            "./half.gguf",
            "./head.gguf",
            "./garbage.gguf",
        ],
    );
    assert!(!witness.exists(), "a pickle was run");
    insta::assert_snapshot!(said);
}

#[test]
fn tokenizers_and_configs_that_do_not_fit() {
    let place = Place::new();
    changed(&place, "llama", "garbage", "tokenizer.json", garbage);
    changed(&place, "llama", "half", "tokenizer.json", half);
    changed_json(&place, "llama", "larger", "tokenizer.json", |json| {
        json["model"]["vocab"]["of another model"] = json!(999)
    });
    fs::remove_file(place.model("llama", "none").join("tokenizer.json")).unwrap();
    changed(&place, "llama", "no-json", "config.json", half);
    fs::remove_file(place.model("llama", "no-config").join("config.json")).unwrap();
    for key in ["hidden_size", "num_hidden_layers", "vocab_size"] {
        changed_json(&place, "llama", &format!("no-{key}"), "config.json", |json| {
            json.as_object_mut().unwrap().shift_remove(key).unwrap();
        });
    }
    changed_json(&place, "llama", "no-architecture", "config.json", |json| {
        json.as_object_mut().unwrap().retain(|key, _| key != "model_type" && key != "architectures");
    });
    changed_json(&place, "llama", "mamba", "config.json", |json| json["model_type"] = json!("mamba"));
    changed_json(&place, "llama", "wide", "config.json", |json| json["hidden_size"] = json!(64));
    changed_json(&place, "mistral", "window", "config.json", |json| json["sliding_window"] = json!(64));
    let said = refused(
        &place,
        "run --workload short --model",
        &[
            "./garbage",
            "./half",
            "./larger",
            "./none",
            "./no-json",
            "./no-config",
            "./no-hidden_size",
            "./no-num_hidden_layers",
            "./no-vocab_size",
            "./no-architecture",
            "./mamba",
            "./wide",
            "./window",
        ],
    );
    for architecture in ["gpt2", "opt", "llama", "mistral", "qwen2", "qwen3"] {
        assert!(said.contains(architecture), "what is supported is named");
    }
    insta::assert_snapshot!(said);
}

#[test]
fn places_that_cannot_be_written() {
    let place = Place::new();
    fs::write(place.file("file"), "mine").unwrap();
    fs::create_dir(place.file("folder")).unwrap();
    let said = refused(
        &place,
        RUN,
        &[
            "--output file",
            "--output file/below/it",
            "--output /proc/results",
            "--output-json folder",
            "--output-json file/results.json",
            "--output-json /proc/results.json",
            "--output-json /dev/null",
        ],
    );
    assert_eq!(place.text("file"), "mine");
    assert!(!fs::metadata("/dev/null").unwrap().is_file(), "a device was replaced by a file");
    insta::assert_snapshot!(said);
}

#[test]
fn reports_of_what_is_no_result() {
    let place = Place::new();
    let empty = place.refused("report");
    place.succeed(&format!("{RUN} --output done"));
    fs::create_dir(place.file("nothing")).unwrap();
    fs::write(place.file("half.json"), "{\n  \"schema_version\": 1,\n  \"workloads\": {\n").unwrap();
    fs::write(place.file("list.json"), "[]").unwrap();
    fs::write(place.file("later.json"), r#"{"schema_version": 999}"#).unwrap();
    let said = refused(
        &place,
        "report --input",
        &[
            "missing.json",
            "done/missing.json",
            "missing",
            "nothing",
            "half.json",
            "list.json",
            "later.json",
            "done/short_input_metrics.json",
            "done/short_input.records.jsonl",
            "done/manifest.json",
        ],
    );
    insta::with_settings!({filters => [(r"manifest.json:\d+:\d+", "manifest.json:LINE:COLUMN")]}, {
        insta::assert_snapshot!(empty + &said)
    });
}

#[test]
fn a_journal_that_was_changed() {
    let place = Place::new();
    place.succeed(&format!("{RUN} --output done"));
    let path = place.file("done/short_input.records.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"success\"", "\"splendid\"", 2)).unwrap();
    let said = place.refused("report --input done");
    assert!(said.contains("short_input.records.jsonl:2:"), "{said}");
    insta::with_settings!({filters => [(r":2:\d+:", ":2:COLUMN:")]}, { insta::assert_snapshot!(said) });
}

#[test]
fn a_disk_that_is_full() {
    // A limit on the size of files, in blocks of 512 bytes, stands for a disk that fills up: it is met by the plan, by
    // the journal of five requests, or, when there is only one, by the figures. Without the trap it is a deadly signal.
    for (blocks, prompts, file) in
        [(0, 5, "full/plan.jsonl"), (20, 5, "full/short_input.records.jsonl"), (20, 1, "full/short_input_metrics.json")]
    {
        let place = Place::new();
        let run = format!("{RUN} --num-prompts {prompts} --quiet --output full");
        let line = format!("trap '' XFSZ; ulimit -f {blocks}; exec sagellm-benchmark {run}");
        let ran = Ran::from(place.shell(&line).output().unwrap());
        assert!(ran.err.starts_with(&format!("error: cannot write `{file}`")), "{blocks}: {}", ran.err);
        assert!(ran.err.contains("\nhint: "), "{}", ran.err);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
        // What is there is whole, but for the journal, whose last line may be cut.
        for name in place.listing() {
            assert!(!name.contains("/."), "a temporary file is left: {name}");
            if name.ends_with(".json") {
                place.json(&name);
            }
        }
    }
}

#[test]
fn standard_output_that_is_full() {
    let place = Place::new();
    place.succeed(RUN);
    for line in ["report", "schema", RUN] {
        let mut program = place.program(line.split_whitespace());
        program.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let ran = Ran::from(program.output().unwrap());
        assert_eq!(ran.code, 3, "{}", ran.err);
        let said = ran.err.lines().last().unwrap();
        assert_eq!(said, "error: cannot write to standard output: No space left on device (os error 28)");
    }
}

#[test]
fn readers_that_have_seen_enough() {
    let place = Place::new();
    place.succeed(RUN);
    for line in ["report", "report --format json", "schema benchmark_summary.schema.json", RUN] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut program = place.program(line.split_whitespace());
        program.stdout(writer);
        let ran = Ran::from(program.output().unwrap()).succeeded();
        assert!(!ran.err.contains("error"), "{}", ran.err);
    }
    let head = Ran::from(place.shell("sagellm-benchmark report | head -n 1").output().unwrap()).succeeded();
    assert!(head.out.starts_with("VALID") && head.err.is_empty(), "{}", head.err);
}

#[test]
fn standard_error_that_is_gone() {
    let place = Place::new();
    let mut program = place.program(RUN.split_whitespace().chain(["-v"]));
    program.stderr(Stdio::from(File::options().write(true).open("/dev/full").unwrap()));
    assert!(Ran::from(program.output().unwrap()).succeeded().out.starts_with("VALID"));
}

#[test]
fn a_run_of_which_every_request_fails_is_invalid() {
    let place = Place::new();
    // A model that takes seconds for what it is given a millisecond for.
    let line = "run --workload short --model synthetic:smollm2-135m --num-prompts 2 --num-warmups 0 --timeout 0.001";
    let ran = place.run(line);
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.out.starts_with("INVALID"), "{}", ran.out);
    assert!(ran.err.contains("2 of 2 requests, 2 failed"), "{}", ran.err);
    let figures = place.json("benchmark_results/short_input_metrics.json");
    assert_eq!((&figures["error_rate"], &figures["avg_ttft_ms"]), (&json!(1.0), &Value::Null));
    assert!(figures["reasons"]["avg_ttft_ms"].is_string());
    assert_eq!(figures["outcomes"]["timeout"], 2);
    let patient = place.run(&format!("{line} --max-error-rate 1"));
    assert_eq!(patient.code, 5, "nothing succeeded, however many errors are accepted");
    assert!(patient.out.contains("no request succeeded"), "{}", patient.out);
}

#[test]
fn a_run_that_waits_can_be_ended_by_its_first_signal() {
    let place = Place::new();
    let mut run = Running::start(place.program(format!("{RUN} --request-rate 1e-5").split_whitespace()));
    run.wait_for(&["short_input"]);
    run.signal("-TERM");
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
}
