//! Getting to know servers, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sagellm_core::{Exit, Failure, NoProgress, Sampling, UserError};
use sagellm_http::{
    Access, BlockingClient, EndpointType, NoAnswer, Probe, ProbeError, ProbeOptions, Profile, Secret, Target, prepare,
};
use serde_json::{Value, json};

/// What a server was asked.
struct Asked {
    path: String,
    headers: String,
    body: Value,
}

/// A server that answers as it is told, one request per connection.
fn serve(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || one(stream.unwrap(), &*answer));
        }
    });
    address
}

fn one(mut stream: TcpStream, answer: &dyn Fn(&Asked) -> (u16, String)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = String::new();
    while reader.read_line(&mut headers).unwrap() > 2 {}
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (status, text) = answer(&Asked { path, headers, body });
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    stream.write_all(format!("{head}{text}").as_bytes()).unwrap();
}

fn client(address: SocketAddr) -> BlockingClient {
    BlockingClient::new(Access::new(Target::parse(&format!("http://{address}")).unwrap())).unwrap()
}

fn options(backend: &str) -> ProbeOptions {
    ProbeOptions::new(Profile::named(backend).unwrap(), EndpointType::Completions)
}

fn probe(address: SocketAddr, options: &ProbeOptions) -> Result<Probe, ProbeError> {
    prepare(&client(address), options, &|| Ok(()), &NoProgress)
}

/// A stream of completions of so many tokens.
fn stream(prompt_tokens: u64, tokens: u64, finish: &str, usage: bool) -> String {
    let mut text = String::new();
    for token in 1..=tokens {
        let finish = if token == tokens { json!(finish) } else { Value::Null };
        let chunk = json!({ "model": "tiny", "choices": [{ "index": 0, "text": " x", "finish_reason": finish }] });
        text += &format!("data: {chunk}\n\n");
    }
    if usage {
        let usage = json!({ "prompt_tokens": prompt_tokens, "completion_tokens": tokens });
        text += &format!("data: {}\n\n", json!({ "model": "tiny", "choices": [], "usage": usage }));
    }
    text + "data: [DONE]\n\n"
}

/// A well-behaved vLLM.
fn vllm(asked: &Asked) -> (u16, String) {
    match asked.path.as_str() {
        "/health" => (200, String::new()),
        "/version" => (200, r#"{"version": "0.33.0"}"#.into()),
        "/v1/models" => (200, r#"{"data": [{"id": "tiny", "root": "models/tiny", "max_model_len": 2048}]}"#.into()),
        "/v1/completions" => {
            let wanted = asked.body["max_tokens"].as_u64().unwrap();
            let tokens = if asked.body["ignore_eos"] == json!(true) { wanted } else { wanted.min(3) };
            let prompt = asked.body["prompt"].as_array().map_or(7, |ids| ids.len() as u64);
            let finish = if tokens == wanted { "length" } else { "stop" };
            (200, stream(prompt, tokens, finish, asked.body["stream_options"]["include_usage"] == json!(true)))
        }
        _ => (404, r#"{"detail": "Not Found"}"#.into()),
    }
}

fn completions_with(answer: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static) -> SocketAddr {
    serve(move |asked| if asked.path == "/v1/completions" { answer(&asked.body) } else { vllm(asked) })
}

#[test]
fn everything_that_a_server_tells_is_found() {
    let found = probe(serve(vllm), &options("vllm")).unwrap();
    assert_eq!(found.version.as_deref(), Some("0.33.0"));
    assert_eq!((found.model.id.as_str(), found.model.context_length), ("tiny", Some(2048)));
    let fields = &found.understood.fields;
    assert!(fields.include_usage && fields.ignore_eos && fields.min_tokens && fields.token_ids);
    assert!(found.understood.usage && !found.understood.cached_tokens && !found.understood.reasoning);
    assert_eq!(found.settings["probe.ignore_eos"], "accepted: 8 of 8 tokens came");
    assert_eq!(found.settings["probe.token_ids"], "understood: 4 ids are 4 tokens");
    assert_eq!(found.settings["probe.usage"], "yes");
    let info = found.info(Profile::named("vllm").unwrap());
    assert_eq!((info.name.as_str(), info.version.as_deref()), ("vllm", Some("0.33.0")));
    assert_eq!((info.model.name.as_str(), info.model.context_length), ("tiny", Some(2048)));
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let busy_at_first = move |body: &Value| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (429, "slow down".to_owned()),
        1 => (503, r#"{"error": {"message": "overloaded"}}"#.to_owned()),
        _ => vllm(&Asked { path: "/v1/completions".into(), headers: String::new(), body: body.clone() }),
    };
    let found = probe(completions_with(busy_at_first), &options("vllm")).unwrap();
    let fields = &found.understood.fields;
    assert!(fields.include_usage && fields.ignore_eos && fields.min_tokens, "none of them was refused");
    assert_eq!(found.settings["probe.ignore_eos"], "accepted: 8 of 8 tokens came");
}

#[test]
fn a_running_count_is_asked_for_where_chunks_hold_several_tokens() {
    let running = |body: &Value| body["stream_options"]["continuous_usage_stats"] == json!(true);
    let two_at_once = move |body: &Value| {
        let tokens = body["max_tokens"].as_u64().unwrap();
        let whole = stream(7, tokens.div_ceil(2), "length", false).replace("data: [DONE]\n\n", "");
        let usage = json!({ "prompt_tokens": 7, "completion_tokens": tokens });
        (200, format!("{whole}data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": usage })))
    };
    let found = probe(completions_with(two_at_once), &options("vllm")).unwrap();
    assert!(found.understood.fields.continuous_usage);
    assert_eq!(found.settings["probe.continuous_usage"], "wanted: 8 tokens came in 4 chunks");
    // Where it is refused, or not known of, or of no use, it is not sent.
    let refuses = move |body: &Value| if running(body) { (400, "what?".to_owned()) } else { two_at_once(body) };
    let found = probe(completions_with(refuses), &options("vllm")).unwrap();
    assert!(!found.understood.fields.continuous_usage);
    assert_eq!(found.settings["probe.continuous_usage"], "wanted: 8 tokens came in 4 chunks; refused: what?");
    assert!(!probe(completions_with(two_at_once), &options("lmdeploy")).unwrap().understood.fields.continuous_usage);
    assert!(!probe(serve(vllm), &options("vllm")).unwrap().understood.fields.continuous_usage);
}

#[test]
fn real_streams_are_understood() {
    for (name, backend) in [("vllm", "vllm"), ("sglang", "sglang"), ("llama-server", "llamacpp")] {
        let (_, body) = kept(&format!("{name}/completions_stream.sse"));
        let found = probe(completions_with(move |_| (200, body.clone())), &options(backend)).unwrap();
        assert!(found.understood.usage, "{name}");
        assert_eq!(found.understood.answered_model.as_deref(), Some("smollm2"), "{name}");
        assert_eq!(
            found.settings["probe.ignore_eos"], "not obeyed: 12 of 8 tokens came",
            "{name}: it was recorded with 12"
        );
        assert_eq!(found.understood.server_times, name == "llama-server", "{name}");
        assert!(found.understood.finish_reason, "{name}");
    }
}

/// Status and body of a real answer.
fn kept(name: &str) -> (u16, String) {
    let path = format!("{}/../../testdata/servers/{name}", env!("CARGO_MANIFEST_DIR"));
    let whole = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    let Some(rest) = whole.strip_prefix("HTTP/1.1 ") else { return (200, whole) };
    let (head, body) = rest.split_once("\n\n").unwrap();
    let status = head.split(' ').next().unwrap().parse().unwrap();
    if !head.to_lowercase().contains("transfer-encoding: chunked") || !name.ends_with(".http") {
        return (status, body.to_owned());
    }
    // The lines that frame the chunks are the only ones made of a hexadecimal number.
    let text = |line: &&str| u32::from_str_radix(line, 16).is_err();
    (status, body.split('\n').filter(text).collect::<Vec<_>>().join("\n"))
}

#[test]
fn real_servers_tell_what_they_are() {
    for (backend, version, context_length, answers) in [
        (
            "vllm",
            Some("0.32.0"),
            Some(2048),
            &[("/health", ""), ("/version", "vllm/version.txt"), ("/v1/models", "vllm/models.json")][..],
        ),
        ("sglang", None, Some(8192), &[("/health", ""), ("/v1/models", "sglang/models.json")]),
        (
            "llamacpp",
            Some("b0-unknown"),
            Some(2048),
            &[("/health", ""), ("/props", "llama-server/props.json"), ("/v1/models", "llama-server/models.json")],
        ),
        ("llamacpp", None, None, &[("/v1/models", "llama-cpp-python/models.http")]),
    ] {
        let address = serve(move |asked| match answers.iter().find(|(path, _)| *path == asked.path) {
            Some((_, "")) => (200, String::new()),
            Some((_, file)) => kept(file),
            None if asked.path == "/v1/completions" => vllm(asked),
            None => kept("llama-cpp-python/metrics.http"),
        });
        let found = probe(address, &options(backend)).unwrap();
        assert_eq!((found.model.id.as_str(), found.version.as_deref()), ("smollm2", version), "{backend}");
        assert_eq!(found.model.context_length, context_length, "{backend}");
    }
}

#[test]
fn llamacpps_python_server_is_understood() {
    let streams = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&streams);
    let address = serve(move |asked| match asked.path.as_str() {
        "/v1/models" => kept("llama-cpp-python/models.http"),
        "/openapi.json" => (200, r#"{"info": {"title": "llama.cpp Python API", "version": "0.3.36"}}"#.into()),
        "/v1/completions" => {
            let name = asked.headers.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
            keep.lock().unwrap().push(name.to_owned());
            // It takes no other names than UUIDs, and no token ids.
            let uuid = name.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && name.len() == 36;
            match asked.body["prompt"] {
                _ if !uuid => kept("llama-cpp-python/error_request_id.http"),
                Value::Array(_) => kept("llama-cpp-python/error_value.http"),
                _ => kept("llama-cpp-python/completions_stream.http"),
            }
        }
        _ => kept("llama-cpp-python/metrics.http"),
    });
    let found = probe(address, &options("llamacpp")).unwrap();
    assert_eq!(found.version.as_deref(), Some("0.3.36"));
    let fields = &found.understood.fields;
    assert!(fields.ignore_eos && fields.min_tokens && !fields.token_ids, "{fields:?}");
    assert!(!found.understood.usage && found.understood.finish_reason);
    let note = &found.settings["probe.token_ids"];
    assert!(note.starts_with("refused (status 500): 1 validation error"), "{note}");
    let names = streams.lock().unwrap();
    assert!(names.len() >= 2 && names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1));
    let client = client(address);
    let reason = client.text("/metrics", Duration::from_secs(5)).unwrap_err();
    assert!(reason.contains("status 404"), "{reason}");
}

#[test]
fn only_what_the_profile_vouches_for_is_sent() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let address = serve(move |asked| {
        if asked.path.starts_with("/v1/c") {
            keep.lock().unwrap().push((asked.path.clone(), asked.body.clone()));
            return (200, stream(9, 3, "stop", true));
        }
        vllm(asked)
    });
    let profile = Profile::named("openai").unwrap();
    let endpoint = EndpointType::Chat;
    let mut fields = profile.fields(endpoint);
    fields.extra_body.insert("user".into(), "me".into());
    let found = probe(address, &ProbeOptions { endpoint, fields, ..options("openai") }).unwrap();
    let seen = seen.lock().unwrap();
    let [(path, body)] = seen.as_slice() else { panic!("one request is enough: {seen:?}") };
    assert_eq!(path, "/v1/chat/completions");
    let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["model", "messages", "max_completion_tokens", "temperature", "stream", "stream_options", "user"];
    assert_eq!(names, expected);
    assert_eq!(found.settings.get("probe.ignore_eos"), None, "it was not tried");
}

#[test]
fn a_refused_field_is_found_and_left_out() {
    let address = completions_with(|body| match body.get("ignore_eos") {
        Some(_) => (400, r#"{"error": {"message": "unknown field: ignore_eos"}}"#.into()),
        None => (200, stream(4, body["max_tokens"].as_u64().unwrap().min(3), "stop", true)),
    });
    let found = probe(address, &options("vllm")).unwrap();
    assert!(!found.understood.fields.ignore_eos && found.understood.fields.include_usage);
    assert_eq!(found.settings["probe.ignore_eos"], "refused: unknown field: ignore_eos");
}

#[test]
fn what_the_user_asks_of_sampling_is_tried_too() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let address = completions_with(move |body| {
        keep.lock().unwrap().push(body.clone());
        match body.get("top_k") {
            Some(_) => (400, r#"{"error": {"message": "top_k is unknown"}}"#.into()),
            None => (200, stream(4, body["max_tokens"].as_u64().unwrap(), "length", true)),
        }
    });
    let sampling = Sampling { temperature: 0.5, top_p: 0.25, top_k: 5, seed: 0 };
    let asked = ProbeOptions { sampling, ignore_eos: false, ..options("vllm") };
    let found = probe(address, &asked).unwrap();
    assert!(!found.understood.fields.top_k && found.understood.fields.top_p && found.understood.fields.seed);
    assert_eq!(found.settings["probe.top_k"], "refused: top_k is unknown");
    assert_eq!(found.settings.get("probe.ignore_eos"), None, "nobody asks for it");
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|body| body.get("ignore_eos").is_none() && body["top_p"] == json!(0.25)));
}

#[test]
fn a_server_that_refuses_several_fields_is_sent_the_others() {
    let address = completions_with(|body| {
        let extra = ["ignore_eos", "stream_options"].iter().any(|name| body.get(*name).is_some());
        if extra { (422, r#"{"message": "extra fields"}"#.into()) } else { (200, stream(4, 8, "length", false)) }
    });
    let found = probe(address, &options("vllm")).unwrap();
    let fields = &found.understood.fields;
    assert!(!fields.ignore_eos && !fields.include_usage && fields.temperature);
    for refused in ["ignore_eos", "include_usage"] {
        assert_eq!(found.settings[&format!("probe.{refused}")], "refused: extra fields");
    }
    assert_eq!(found.settings.get("probe.temperature"), None);
}

#[test]
fn what_has_no_effect_is_not_relied_upon() {
    let address = completions_with(|_| (200, stream(99, 3, "stop", true)));
    let found = probe(address, &options("vllm")).unwrap();
    assert!(!found.understood.fields.ignore_eos && !found.understood.fields.token_ids);
    assert_eq!(found.settings["probe.ignore_eos"], "not obeyed: 3 of 8 tokens came");
    assert_eq!(found.settings["probe.token_ids"], "not understood: 4 ids were read as 99 tokens");

    let address = completions_with(|_| (200, stream(0, 8, "length", false)));
    let found = probe(address, &options("vllm")).unwrap();
    assert!(found.understood.fields.ignore_eos && !found.understood.usage);
    let note = "accepted, but without usage it cannot be told how they were read";
    assert_eq!(found.settings["probe.token_ids"], note);
}

#[test]
fn thoughts_are_noticed() {
    let chunk = json!({ "choices": [{ "delta": { "reasoning_content": "hm" }, "finish_reason": "length" }] });
    let body = format!("data: {chunk}\n\ndata: [DONE]\n\n");
    let address =
        serve(move |asked| if asked.path.ends_with("chat/completions") { (200, body.clone()) } else { vllm(asked) });
    let profile = Profile::named("sglang").unwrap();
    let chat =
        ProbeOptions { endpoint: EndpointType::Chat, fields: profile.fields(EndpointType::Chat), ..options("sglang") };
    assert_eq!(probe(address, &chat).unwrap().settings["probe.reasoning"], "yes");
}

#[test]
fn a_server_that_loads_is_waited_for() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let address = serve(move |asked| {
        if asked.path == "/health" && count.fetch_add(1, Ordering::SeqCst) < 2 {
            return (503, r#"{"error": {"message": "Loading model"}}"#.into());
        }
        vllm(asked)
    });
    probe(address, &options("llamacpp")).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn waiting_ends_with_what_was_met_last() {
    let address = serve(|_| (503, r#"{"error": {"message": "Loading model"}}"#.into()));
    let short = ProbeOptions { ready_timeout: Duration::from_millis(600), ..options("llamacpp") };
    let error = probe(address, &short).unwrap_err();
    let expected = format!("`http://{address}/health` was not ready within 0.6 s: status 503: Loading model");
    assert_eq!((error.to_string(), error.exit()), (expected, Exit::Backend));

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = probe(nobody, &short).unwrap_err();
    assert!(error.to_string().ends_with("was not ready within 0.6 s: the connection was refused"), "{error}");
}

#[test]
fn waiting_can_be_ended_from_outside() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let looks = AtomicUsize::new(0);
    let go_on = || match looks.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(()),
        _ => Err(Failure::new(Exit::Interrupted, "interrupted").with_hint("again?")),
    };
    let failure = Failure::from(prepare(&client(nobody), &options("vllm"), &go_on, &NoProgress).unwrap_err());
    assert_eq!((failure.exit, failure.message.as_str()), (Exit::Interrupted, "interrupted"));
    assert_eq!(failure.hint.as_deref(), Some("again?"));
}

#[test]
fn a_hanging_probe_can_be_ended_from_outside() {
    let address = completions_with(|_| {
        std::thread::sleep(Duration::from_secs(60));
        (200, String::new())
    });
    let looks = AtomicUsize::new(0);
    let go_on = || match looks.fetch_add(1, Ordering::SeqCst) {
        0..3 => Ok(()),
        _ => Err(Failure::new(Exit::Interrupted, "interrupted")),
    };
    let error = prepare(&client(address), &options("vllm"), &go_on, &NoProgress).unwrap_err();
    assert_eq!(error.exit(), Exit::Interrupted);
}

#[test]
fn a_hanging_probe_ends_with_the_limits_on_a_request() {
    let hanging = |path: &'static str| {
        serve(move |asked| {
            if asked.path == path {
                std::thread::sleep(Duration::from_secs(60));
            }
            vllm(asked)
        })
    };
    let moment = Duration::from_millis(300);
    let whole = ProbeOptions { ready_timeout: moment, timeout: moment, ..options("vllm") };
    let first = ProbeOptions { ready_timeout: moment, timeout_first_token: Some(moment), ..options("vllm") };
    for (path, options) in [("/v1/completions", &whole), ("/v1/completions", &first), ("/v1/models", &whole)] {
        let address = hanging(path);
        let error = probe(address, options).unwrap_err();
        assert!(
            matches!(error, ProbeError::NoAnswer { why: NoAnswer::Timeout(limit), .. } if limit == moment),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("--timeout"));
    }
    // A server that is given the time to get ready may use it for its first answer.
    let slow = completions_with(|body| {
        std::thread::sleep(Duration::from_millis(500));
        (200, stream(4, body["max_tokens"].as_u64().unwrap(), "length", true))
    });
    let patient = ProbeOptions { timeout: moment, fields: Default::default(), ..options("openai") };
    probe(slow, &patient).unwrap();
}

#[test]
fn a_server_that_dies_while_it_is_probed_says_more_than_its_connection() {
    let dead = Arc::new(AtomicUsize::new(0));
    let dies = Arc::clone(&dead);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let dies = Arc::clone(&dies);
            one(stream.unwrap(), &move |asked: &Asked| {
                if asked.path == "/v1/completions" {
                    dies.store(1, Ordering::SeqCst);
                    panic!("the end of the server");
                }
                vllm(asked)
            });
        }
    });
    let go_on = || match dead.load(Ordering::SeqCst) {
        0 => Ok(()),
        _ => Err(Failure::new(Exit::Backend, "the server ended by signal SIGSEGV")),
    };
    let error = prepare(&client(address), &options("vllm"), &go_on, &NoProgress).unwrap_err();
    assert_eq!(error.to_string(), "the server ended by signal SIGSEGV");
}

#[test]
fn a_server_without_health_or_models_will_do_when_the_model_is_named() {
    let address = serve(|asked| if asked.path == "/v1/completions" { vllm(asked) } else { (404, String::new()) });
    let named = ProbeOptions { model: Some("tiny".into()), ..options("vllm") };
    let found = probe(address, &named).unwrap();
    assert_eq!((found.model.id.as_str(), found.version, found.models.len()), ("tiny", None, 0));
    let error = probe(address, &options("vllm")).unwrap_err();
    assert_eq!(error.to_string(), format!("`http://{address}/v1/models` lists no model"));
    assert_eq!(error.exit(), Exit::Usage);
}

#[test]
fn an_unknown_model_is_answered_with_the_known_ones() {
    let wrong = ProbeOptions { model: Some("huge".into()), ..options("vllm") };
    let error = probe(serve(vllm), &wrong).unwrap_err();
    assert_eq!(error.to_string(), "the server does not serve the model `huge`; it serves `tiny`");
}

#[test]
fn each_obstacle_has_its_own_words() {
    let at =
        |status: u16, body: &'static str| probe(completions_with(move |_| (status, body.into())), &options("vllm"));
    let message = |error: Result<Probe, ProbeError>| {
        let error = error.unwrap_err();
        assert_eq!(error.exit(), Exit::Backend);
        assert!(error.hint().is_some());
        let text = error.to_string();
        text.split_once("http://")
            .map_or(text.clone(), |(before, after)| format!("{before}{}", &after[after.find('/').unwrap()..]))
    };
    assert_eq!(message(at(401, "")), "`/v1/completions` refuses access (status 401)");
    assert_eq!(
        message(at(404, r#"{"detail": "Not Found"}"#)),
        "`/v1/completions` does not exist on this server (status 404)"
    );
    assert_eq!(
        message(at(500, "out of\nmemory")),
        "the server refuses a request of 8 tokens to `/v1/completions` (status 500): out of memory"
    );
    assert_eq!(
        message(at(200, "data: {\"error\": {\"message\": \"no template\"}}\n\n")),
        "the server refuses a request of 8 tokens to `/v1/completions` (status 200): no template"
    );
    assert_eq!(
        message(at(200, r#"{"choices": []}"#)),
        "the answer of `/v1/completions` cannot be used: it is no stream of events but `{\"choices\": []}`"
    );
    let models = serve(|asked| if asked.path == "/v1/models" { (200, "<html>".into()) } else { vllm(asked) });
    assert!(
        message(probe(models, &options("vllm")))
            .starts_with("the answer of `/v1/models` cannot be used: it is no JSON: ")
    );
}

#[test]
fn key_and_headers_are_sent_and_the_key_is_not_repeated() {
    let address = serve(|asked| match asked.path.as_str() {
        "/metrics" => (200, asked.headers.clone()),
        _ => (403, format!("the key {} is not good", asked.headers.split("Bearer ").nth(1).unwrap().trim())),
    });
    let mut access = Access::new(Target::parse(&format!("http://{address}")).unwrap());
    access.headers.push(("x-team".into(), "seven".into()));
    access.api_key = Some(Secret::new("hunter2"));
    let client = BlockingClient::new(access).unwrap();
    let headers = client.text("/metrics", Duration::from_secs(5)).unwrap();
    assert!(headers.contains("x-team: seven") && headers.contains("authorization: Bearer hunter2"), "{headers}");
    let refusal = client.get("/v1/models", Duration::from_secs(5)).unwrap();
    assert_eq!(refusal.message(), "the key … is not good");
    let reason = client.text("/v1/models", Duration::from_secs(5)).unwrap_err();
    assert_eq!(reason, "the server answered `/v1/models` with status 403");
}

#[test]
fn metrics_that_are_missing_come_with_what_to_do() {
    let address = serve(|_| (404, "no".into()));
    let fetch = Profile::named("sglang").unwrap().fetch_metrics(client(address));
    let reason = "the server answered `/metrics` with status 404 (start SGLang with --enable-metrics)";
    assert_eq!(fetch("/metrics").unwrap_err(), reason);
    assert_eq!(fetch("/slots").unwrap_err(), "the server answered `/slots` with status 404");
    let address = serve(|asked| (200, asked.path.clone()));
    let fetch = Profile::named("vllm").unwrap().fetch_metrics(client(address));
    assert_eq!(fetch("/metrics").unwrap(), "/metrics");
}

#[test]
fn an_unknown_host_is_not_waited_for() {
    let target = Target::parse("http://no-such-host.invalid").unwrap();
    let client = BlockingClient::new(Access::new(target)).unwrap();
    let error = prepare(&client, &options("vllm"), &|| Ok(()), &NoProgress).unwrap_err();
    assert!(error.to_string().starts_with("cannot find the host `no-such-host.invalid`: "), "{error}");
}

#[test]
fn a_silent_server_is_given_up_and_a_redirect_is_not_followed() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(silent.local_addr().unwrap());
    let timeout = Duration::from_millis(300);
    assert_eq!(client.get("/metrics", timeout), Err(NoAnswer::Timeout(timeout)));
    assert_eq!(
        client.text("/metrics", timeout).unwrap_err(),
        "`/metrics` could not be read: no answer came within 0.3 s"
    );

    let address = serve(|_| (302, String::new()));
    let client = BlockingClient::new(Access::new(Target::parse(&format!("http://{address}")).unwrap())).unwrap();
    assert_eq!(client.get("/health", Duration::from_secs(5)).unwrap().status, 302);
}

#[test]
fn a_body_is_read_up_to_what_is_allowed() {
    let client = client(serve(|_| (200, "x".repeat(17 << 20))));
    let timeout = Duration::from_secs(30);
    assert!(matches!(client.get("/", timeout), Err(NoAnswer::Protocol(_))));
    let answer = client.with_largest_body(17 << 20).get("/", timeout).unwrap();
    assert_eq!(answer.body.len(), 17 << 20);
}

#[test]
fn what_speaks_no_http_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(b"SSH-2.0-OpenSSH\r\n\r\n").unwrap();
        }
    });
    let error = probe(address, &options("vllm")).unwrap_err();
    assert!(matches!(error, ProbeError::NoAnswer { why: NoAnswer::Protocol(_), .. }), "{error}");
}
