//! The server over the CPU engine, by plain requests.

#![expect(clippy::unwrap_used, reason = "a test that cannot start has failed")]

mod support;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use sagellm_core::{Backend, Clock, EventKind, NoProgress, Prompt, Request, Sampling, event_channel};
use sagellm_engine::{CpuEngine, EngineOptions};
use sagellm_model::{Model, OpenOptions};
use sagellm_server::{ConnectionLimits, EngineServer, EngineServerOptions};
use serde_json::{Value, json};
use support::{anywhere, connect, events, get, post, read_response, send, until};

const CHAT: &str = "{{ bos_token }}{% for message in messages %}[{{ message.role }}] {{ message.content }}\n\
    {% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

fn model(name: &str) -> Model {
    let folder = format!("{}/../../testdata/models/{name}", env!("CARGO_MANIFEST_DIR"));
    sagellm_model::open(&folder, &OpenOptions::default(), &NoProgress).unwrap()
}

fn engine() -> EngineOptions {
    EngineOptions {
        threads: 1,
        isa: None,
        dtype: None,
        kv_cache_tokens: 4096,
        max_num_batched_tokens: 256,
        max_num_seqs: 16,
        prefix_caching: true,
        draft_tokens: 0,
        stream_text: false,
    }
}

fn start_with(engine: EngineOptions) -> EngineServer {
    let model = Model { chat_template: Some(CHAT.into()), ..model("llama") };
    let options = EngineServerOptions {
        engine,
        served_model_name: Some("tiny".into()),
        api_key: None,
        limits: ConnectionLimits::default(),
    };
    EngineServer::start(model, options, anywhere(), Clock::start(), &NoProgress).unwrap()
}

fn start() -> EngineServer {
    start_with(engine())
}

fn ask(stream: &mut TcpStream, path: &str, body: &Value) -> (u16, Value) {
    send(stream, path, &body.to_string());
    let (head, body) = read_response(stream);
    (status(&head), serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn stream(stream: &mut TcpStream, path: &str, body: &Value) -> Vec<Value> {
    send(stream, path, &body.to_string());
    let (head, body) = read_response(stream);
    assert_eq!(status(&head), 200, "{body}");
    let mut events = events(&body);
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

fn text_of(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect()
}

/// What the engine itself makes of a prompt.
fn tokens_by_the_engine(prompt: &[u32], count: u32, sampling: Sampling) -> Vec<u32> {
    let engine = CpuEngine::start(model("llama"), &engine(), Clock::start(), &NoProgress).unwrap();
    let (sink, received) = event_channel();
    let request = Request {
        id: 0,
        offset_ns: 0,
        session: None,
        prompt: Prompt::tokenized(String::new(), prompt.to_vec()),
        max_tokens: count,
        sampling,
        ignore_eos: true,
        keep_answer: false,
    };
    engine.submit(Arc::new(request), &sink).unwrap();
    drop(sink);
    received
        .filter_map(|event| match event.kind {
            EventKind::Chunk(piece) => piece.token,
            _ => None,
        })
        .collect()
}

#[test]
fn the_text_is_that_of_the_engines_tokens() {
    let server = start();
    let mut client = connect(server.address());
    let tokenizer = model("llama").tokenizer;
    let samplings = [
        (json!({"temperature": 0}), Sampling::default()),
        (
            json!({"temperature": 1.5, "top_p": 0.9, "top_k": 40, "seed": 5}),
            Sampling { temperature: 1.5, top_p: 0.9, top_k: 40, seed: 5 },
        ),
    ];
    for (fields, sampling) in samplings {
        let prompt = tokenizer.encode("The quick brown fox", true).unwrap();
        let expected = tokenizer.decode(&tokens_by_the_engine(&prompt, 60, sampling));
        for given in [json!("The quick brown fox"), json!(["The quick brown fox"]), json!(prompt), json!([prompt])] {
            let mut body = json!({"model": "tiny", "prompt": given, "max_tokens": 60, "ignore_eos": true});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let (code, whole) = ask(&mut client, "/v1/completions", &body);
            assert_eq!((code, whole["choices"][0]["text"].as_str()), (200, Some(expected.as_str())));
            assert_eq!(whole["usage"]["completion_tokens"], 60);
            assert_eq!(whole["usage"]["prompt_tokens"], prompt.len());
            body["stream"] = true.into();
            assert_eq!(text_of(&stream(&mut client, "/v1/completions", &body)), expected);
        }
    }
}

#[test]
fn a_stream_has_the_form_that_vllm_gives_it() {
    let server = start();
    let body = json!({"model": "tiny", "prompt": [9, 10, 11], "max_tokens": 6, "temperature": 0, "ignore_eos": true,
        "stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": true}});
    let chunks = stream(&mut connect(server.address()), "/v1/completions", &body);
    let (last, tokens) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 6);
    assert_eq!(last["usage"]["prompt_tokens_details"], json!({"cached_tokens": 0}));
    assert!(!tokens.is_empty() && tokens.len() <= 6);
    for (place, chunk) in tokens.iter().enumerate() {
        assert_eq!(chunk["object"], "text_completion");
        assert_eq!(chunk["model"], "tiny");
        let reason = if place + 1 == tokens.len() { json!("length") } else { Value::Null };
        assert_eq!(chunk["choices"][0]["finish_reason"], reason);
        assert!(chunk["usage"]["completion_tokens"].as_u64().unwrap() > place as u64);
    }
}

#[test]
fn a_chat_goes_through_the_template() {
    let server = start();
    let mut client = connect(server.address());
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]);
    let (_, tokenized) = ask(&mut client, "/tokenize", &json!({"messages": messages}));
    let tokenizer = model("llama").tokenizer;
    let bos = model("llama").config.bos_token_id.map(|id| tokenizer.decode(&[id])).unwrap_or_default();
    let expected = tokenizer.encode(&format!("{bos}[user] Hello\n[assistant]"), false).unwrap();
    assert_eq!(tokenized["tokens"], json!(expected));
    let body = json!({"messages": messages, "max_completion_tokens": 5, "temperature": 0, "ignore_eos": true});
    let (_, whole) = ask(&mut client, "/v1/chat/completions", &body);
    let (_, plain) = ask(
        &mut client,
        "/v1/completions",
        &json!({"prompt": expected, "max_tokens": 5, "temperature": 0, "ignore_eos": true}),
    );
    assert_eq!(whole["choices"][0]["message"], json!({"role": "assistant", "content": plain["choices"][0]["text"]}));
    assert_eq!(whole["usage"]["prompt_tokens"], expected.len());
    let mut body = body;
    body["stream"] = true.into();
    let chunks = stream(&mut client, "/v1/chat/completions", &body);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let text: String =
        chunks[1..].iter().map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap()).collect();
    assert_eq!(text, plain["choices"][0]["text"]);
}

#[test]
fn stop_strings_and_end_tokens_end_an_answer() {
    let server = start();
    let mut client = connect(server.address());
    let body = json!({"prompt": [9, 10, 11], "max_tokens": 40, "temperature": 0, "ignore_eos": true});
    let (_, whole) = ask(&mut client, "/v1/completions", &body);
    let text = whole["choices"][0]["text"].as_str().unwrap().to_owned();
    let middle = text.char_indices().nth(text.chars().count() / 2).unwrap().0;
    let stop: String = text[middle..].chars().take(3).collect();
    let mut stopped = body.clone();
    stopped["stop"] = json!([stop]);
    let (_, answer) = ask(&mut client, "/v1/completions", &stopped);
    let expected = &text[..text.find(&stop).unwrap()];
    assert_eq!(answer["choices"][0]["text"], expected);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["choices"][0]["stop_reason"], stop);
    assert!(answer["usage"]["completion_tokens"].as_u64() < Some(40));
    stopped["stream"] = true.into();
    let chunks = stream(&mut client, "/v1/completions", &stopped);
    assert_eq!(text_of(&chunks), expected);
    assert_eq!(chunks.last().unwrap()["choices"][0]["stop_reason"], stop);

    // An end-of-text token: found by sampling, since a model with random weights ends by chance only.
    let ended = (0..200).find_map(|seed| {
        let body = json!({"prompt": [9], "max_tokens": 900, "temperature": 5.0, "seed": seed});
        let (_, answer) = ask(&mut client, "/v1/completions", &body);
        (answer["choices"][0]["finish_reason"] == "stop").then_some(answer)
    });
    assert_eq!(ended.unwrap()["choices"][0]["stop_reason"], Value::Null);
}

#[test]
fn what_is_not_served_is_said_in_vllms_words() {
    let server = start();
    let mut client = connect(server.address());
    let mut refused = |path: &str, body: Value| {
        let (status, answer) = ask(&mut client, path, &body);
        let error = &answer["error"];
        assert_eq!(error["code"], status, "{answer}");
        (status, error["message"].as_str().unwrap().to_owned(), error["param"].as_str().unwrap_or_default().to_owned())
    };
    let completions = "/v1/completions";
    let with = |field: &str, value: Value| {
        let mut body = json!({"prompt": "a"});
        body[field] = value;
        body
    };
    for (field, value, message) in [
        ("model", json!("other"), "The model `other` does not exist. It is `tiny` that is served."),
        ("n", json!(2), "`n` = 2 is not supported: leave it out or set it to 1"),
        ("echo", json!(true), "`echo` = true is not supported: leave it out"),
        ("temperature", json!("hot"), "`temperature` has to be a number, but is \"hot\""),
        ("temperature", json!(-1), "temperature must be from 0 to 100, got -1."),
        ("top_p", json!(0), "top_p must be in (0, 1], got 0."),
        ("top_k", json!(-2), "top_k must be -1, or at least 0, got -2."),
        ("max_tokens", json!(0), "max_tokens must be at least 1, got 0."),
        (
            "max_tokens",
            json!(100_000),
            "max_tokens=100000 cannot be greater than max_model_len=1024. Please request fewer output tokens.",
        ),
        ("stop", json!([""]), "`stop` cannot contain an empty text"),
        ("stream_options", json!(1), "`stream_options` has to be an object, but is 1"),
        ("prompt", json!(["a", "b"]), "one prompt is served at a time, but `prompt` has 2"),
        ("prompt", json!([]), "the prompt has no tokens"),
        ("prompt", json!([1, "a"]), "`prompt` has to be a text or token ids, but is [1,\"a\"]"),
        ("prompt", json!([331]), "token id 331 is outside the model's vocabulary of 331"),
        ("response_format", json!({"type": "json_object"}), "response_format `json_object` is not supported"),
        ("response_format", json!("json"), "response_format \"json\" has no type"),
        (
            "skip_special_tokens",
            json!(false),
            "`skip_special_tokens` = false is not supported: leave it out or set it to true",
        ),
        ("top_logprobs", json!(3), "`top_logprobs` = 3 is not supported: leave it out or set it to 0"),
        ("bad_words", json!(["a"]), "`bad_words` = [\"a\"] is not supported: leave it out"),
        (
            "chat_template_kwargs",
            json!({"enable_thinking": false}),
            "`chat_template_kwargs` = {\"enable_thinking\":false} is not supported: leave it out",
        ),
        (
            "structured_outputs",
            json!({"choice": ["a"]}),
            "`structured_outputs` = {\"choice\":[\"a\"]} is not supported: leave it out",
        ),
    ] {
        let (status, told, param) = refused(completions, with(field, value));
        assert_eq!((told.as_str(), param.as_str()), (message, field));
        assert_eq!(status, if field == "model" { 404 } else { 400 });
    }
    let (_, message, _) = refused(completions, json!({"prompt": vec![9; 1000], "max_tokens": 25}));
    assert!(message.starts_with("This model's maximum context length is 1024 tokens."), "{message}");
    assert_eq!(refused(completions, json!({})).1, "`prompt` is missing");
    assert_eq!(refused(completions, json!([1])).1, "the body has to be a JSON object");
    let chat = "/v1/chat/completions";
    assert_eq!(refused(chat, json!({})).1, "`messages` is missing");
    assert!(refused(chat, json!({"messages": [{"content": "a"}]})).1.starts_with("a message needs a role"));
    let picture = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    assert!(refused(chat, json!({"messages": picture})).1.starts_with("only text can be read"));
    assert_eq!(refused("/nothing", json!({})).0, 404);
    assert_eq!(refused("/health", json!({})).0, 405);
    // The connection is still good, and fields that change nothing are no matter.
    let harmless = json!({
        "prompt": "a", "max_tokens": 1, "skip_special_tokens": true, "top_logprobs": 0, "bad_words": [],
        "chat_template_kwargs": {}, "use_beam_search": false, "guided_json": null, "response_format": {"type": "text"},
    });
    let (status, _) = ask(&mut client, completions, &harmless);
    assert_eq!(status, 200);
}

#[test]
fn a_model_without_a_template_refuses_chats() {
    let options = EngineServerOptions {
        engine: engine(),
        served_model_name: None,
        api_key: None,
        limits: ConnectionLimits::default(),
    };
    let server = EngineServer::start(model("gpt2"), options, anywhere(), Clock::start(), &NoProgress).unwrap();
    assert!(server.model().ends_with("testdata/models/gpt2"));
    let body = json!({"messages": [{"role": "user", "content": "hi"}]}).to_string();
    assert!(
        post(server.address(), "/v1/chat/completions", &body).contains("has no chat template: use /v1/completions")
    );
}

fn metrics(client: &mut TcpStream) -> BTreeMap<String, f64> {
    get(client, "/metrics");
    let (_, text) = read_response(client);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.replace("engine=\"0\",model_name=\"tiny\"", "*"), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn pages_and_metrics() {
    let server = start();
    let mut client = connect(server.address());
    let mut page = |path: &str| {
        get(&mut client, path);
        let (head, body) = read_response(&mut client);
        (status(&head), body)
    };
    assert_eq!(page("/health"), (200, String::new()));
    assert!(page("/version").1.contains("\"version\""));
    let models: Value = serde_json::from_str(&page("/v1/models").1).unwrap();
    assert_eq!((&models["data"][0]["id"], &models["data"][0]["max_model_len"]), (&json!("tiny"), &json!(1024)));
    let (_, tokenized) = ask(&mut client, "/tokenize", &json!({"prompt": "Hello there", "add_special_tokens": false}));
    let ids = model("llama").tokenizer.encode("Hello there", false).unwrap();
    assert_eq!((&tokenized["tokens"], &tokenized["count"]), (&json!(ids), &json!(ids.len())));
    let (_, text) = ask(&mut client, "/detokenize", &json!({"tokens": ids}));
    assert_eq!(text["prompt"], "Hello there");

    let before = metrics(&mut client);
    assert_eq!(before["vllm:generation_tokens_total{*}"], 0.0);
    let prompt: Vec<u32> = (0..64).map(|id| 9 + id % 200).collect();
    let body = json!({"prompt": prompt, "max_tokens": 4, "ignore_eos": true});
    let first = ask(&mut client, "/v1/completions", &body).1;
    let second = ask(&mut client, "/v1/completions", &body).1;
    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_f64().unwrap();
    assert_eq!(cached(&first), 0.0);
    assert!(cached(&second) > 0.0);
    let after = metrics(&mut client);
    for (name, value) in [
        ("vllm:generation_tokens_total{*}", 8.0),
        ("vllm:prompt_tokens_total{*}", 128.0),
        ("vllm:prefix_cache_queries_total{*}", 128.0),
        ("vllm:prefix_cache_hits_total{*}", cached(&second)),
        ("vllm:num_preemptions_total{*}", 0.0),
        ("vllm:num_requests_running{*}", 0.0),
        ("vllm:num_requests_waiting{*}", 0.0),
        ("vllm:kv_cache_usage_perc{*}", 0.0),
        ("vllm:request_success_total{finished_reason=\"length\",*}", 2.0),
        ("vllm:time_to_first_token_seconds_count{*}", 2.0),
        ("vllm:inter_token_latency_seconds_count{*}", 6.0),
        ("vllm:request_queue_time_seconds_count{*}", 2.0),
    ] {
        assert_eq!(after[name], value, "{name}");
    }
    assert!(after["vllm:time_to_first_token_seconds_sum{*}"] > 0.0);
    let cache = after.keys().find(|name| name.starts_with("vllm:cache_config_info")).unwrap();
    assert!(cache.contains("kv_cache_size_tokens=\"4096\"") && cache.contains("block_size=\"16\""), "{cache}");
    assert!(cache.contains("kv_cache_memory_bytes=\"") && !cache.contains("kv_cache_memory_bytes=\"\""), "{cache}");
    assert_eq!(after["process_start_time_seconds"], before["process_start_time_seconds"]);
    assert!(after["process_start_time_seconds"] > 1.7e9);
    assert!(!after.keys().any(|name| name.contains("spec_decode")), "nothing is drafted");
    #[cfg(target_os = "linux")]
    assert!(after["process_resident_memory_bytes"] > 1e6);
}

#[test]
fn drafts_are_counted_where_tokens_are_drafted() {
    let server = start_with(EngineOptions { draft_tokens: 4, ..engine() });
    let mut client = connect(server.address());
    assert_eq!(metrics(&mut client)["vllm:spec_decode_num_drafts_total{*}"], 0.0);
    // The most likely tokens of a tiny model soon go round in a circle, in which the next can be guessed.
    let body = json!({"prompt": [9, 10, 11], "max_tokens": 400, "temperature": 0, "ignore_eos": true});
    ask(&mut client, "/v1/completions", &body);
    let after = metrics(&mut client);
    let count = |name: &str| after[&format!("vllm:spec_decode_num_{name}_total{{*}}")];
    let (drafts, drafted, accepted) = (count("drafts"), count("draft_tokens"), count("accepted_tokens"));
    assert!(0.0 < drafts && drafts <= drafted && accepted <= drafted, "{drafts}, {drafted}, {accepted}");
}

#[test]
fn ten_at_once_get_what_one_alone_gets() {
    let server = start();
    let body = |place: u32| {
        json!({"prompt": [9 + place, 10, 11], "max_tokens": 30, "temperature": 0, "ignore_eos": true,
        "stream": true})
    };
    let alone: Vec<String> = (0..10)
        .map(|place| text_of(&stream(&mut connect(server.address()), "/v1/completions", &body(place))))
        .collect();
    let together: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..10)
            .map(|place| {
                let server = &server;
                scope.spawn(move || text_of(&stream(&mut connect(server.address()), "/v1/completions", &body(place))))
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(together, alone);
}

#[test]
fn a_client_that_goes_frees_its_place() {
    // One at a time, so that the second waits for the first.
    let server = start_with(EngineOptions { max_num_seqs: 1, ..engine() });
    let long =
        |stream: bool| json!({"prompt": "a", "max_tokens": 1000, "ignore_eos": true, "stream": stream}).to_string();
    let mut watcher = connect(server.address());
    for stream in [true, false] {
        let mut first = connect(server.address());
        send(&mut first, "/v1/completions", &long(stream));
        let mut waiting = connect(server.address());
        send(&mut waiting, "/v1/completions", &long(stream));
        until(|| metrics(&mut watcher)["vllm:num_requests_waiting{*}"] == 1.0);
        drop(waiting);
        drop(first);
        until(|| {
            let now = metrics(&mut watcher);
            now["vllm:num_requests_running{*}"] == 0.0 && now["vllm:num_requests_waiting{*}"] == 0.0
        });
    }
    let mut ended = |reason: &str| {
        let key = format!("vllm:request_success_total{{finished_reason=\"{reason}\",*}}");
        metrics(&mut watcher).get(&key).copied().unwrap_or(0.0)
    };
    // A fast engine may have answered one before its client was seen to go.
    until(|| ended("abort") + ended("length") == 4.0);
    assert!(ended("abort") >= 2.0, "those that waited were never begun");
    let (status, _) = ask(&mut watcher, "/v1/completions", &json!({"prompt": "a", "max_tokens": 1}));
    assert_eq!(status, 200);
}

#[test]
fn a_busy_server_can_be_stopped() {
    let server = start();
    let body = json!({"prompt": "a", "max_tokens": 1000, "ignore_eos": true, "stream": true}).to_string();
    // So many that it cannot have answered them all before it is stopped.
    let mut clients: Vec<_> = (0..32).map(|_| connect(server.address())).collect();
    clients.iter_mut().for_each(|client| send(client, "/v1/completions", &body));
    std::io::Read::read_exact(&mut clients[0], &mut [0; 10]).unwrap();
    drop(server);
    let whole = clients.iter_mut().filter_map(|client| {
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut rest = Vec::new();
        // An orderly end or a reset, but an end.
        if let Err(error) = std::io::Read::read_to_end(client, &mut rest) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it goes on");
        }
        String::from_utf8_lossy(&rest).contains("[DONE]").then_some(())
    });
    assert!(whole.count() < 32);
}
