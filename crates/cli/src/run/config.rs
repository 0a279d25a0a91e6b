//! What a run was told, for its manifest: every option in force, and the command itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sagellm_core::Slo;
use sagellm_http::StampChoice;
use sagellm_report::compare::Gate;
use sagellm_telemetry::SCRAPE_INTERVAL;

use crate::args::{BackendName, EndpointName, RunArgs, ServerArgs, StampName};
use crate::secrets::{hide_in_body, hide_in_header, hide_in_word};

/// Longest wait for a server that runs already, unless told otherwise.
const READY_TIMEOUT_S: f64 = 10.0;
/// Longest wait for a server that is launched, unless told otherwise.
const LAUNCH_TIMEOUT_S: f64 = 600.0;
/// Longest time that setting up a connection may take, unless told otherwise.
const CONNECT_TIMEOUT_S: f64 = 10.0;

/// Every option in force, by its name on the command line.
pub(super) fn of(args: &RunArgs) -> BTreeMap<String, String> {
    let RunArgs { workload, backend, limits, .. } = args;
    let (load, sampling, dataset) = (&workload.load, &workload.sampling, &workload.dataset);
    let slo = Slo::of(&args.goodput).ok().flatten();
    let or_own = |value: Option<String>| value.unwrap_or_else(|| "workload".into());
    let text = |value: &dyn ToString| value.to_string();
    let name = match (&args.plan, dataset.dataset_name) {
        (Some(_), _) => "plan".into(),
        (None, Some(name)) => name.name().into(),
        (None, None) => workload.workload.clone(),
    };
    let mut config = BTreeMap::from([
        ("workload".into(), name),
        ("repeat".into(), format!("{} of {}", args.nth + 1, args.repeat)),
        ("backend".into(), backend.name().into()),
        ("mode".into(), or_own(workload.mode.map(|mode| format!("{mode:?}").to_lowercase()))),
        ("num_prompts".into(), or_own(load.num_prompts.map(|v| text(&v)))),
        ("max_concurrency".into(), or_own(load.max_concurrency.map(|v| text(&v)))),
        ("request_rate".into(), or_own(load.request_rate.map(|v| text(&v)))),
        ("burstiness".into(), or_own(load.burstiness.map(|v| text(&v)))),
        ("num_warmups".into(), or_own(load.num_warmups.map(|v| text(&v)))),
        ("warmup_max_s".into(), text(&limits.warmup_max)),
        ("duration_s".into(), or_own(load.duration.map(|v| text(&v)))),
        ("drain_s".into(), text(&limits.drain)),
        ("seed".into(), or_own(load.seed.map(|v| text(&v)))),
        ("timeout_s".into(), text(&limits.timeout)),
        ("max_error_rate".into(), text(&limits.max_error_rate)),
        ("goodput".into(), or_own(slo.map(|v| text(&v)))),
        ("cache_bust".into(), text(&args.cache_bust)),
        ("fail_on".into(), fail_on(&args.fail_on)),
        ("temperature".into(), or_own(sampling.temperature.map(|v| text(&v)))),
        ("top_p".into(), or_own(sampling.top_p.map(|v| text(&v)))),
        ("top_k".into(), or_own(sampling.top_k.map(|v| text(&v)))),
        ("ignore_eos".into(), or_own(sampling.ignore_eos.map(|v| text(&v)))),
    ]);
    if args.backend != BackendName::Cpu {
        config.extend(of_server(&args.server));
    }
    config
}

fn fail_on(gates: &[Gate]) -> String {
    match gates {
        [] => "workload".into(),
        gates => gates.iter().map(Gate::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// The options of a server. What has no value is `none`.
fn of_server(options: &ServerArgs) -> impl Iterator<Item = (String, String)> {
    let or = |value: Option<String>, usual: &str| value.unwrap_or_else(|| usual.into());
    let none = |value: Option<String>| or(value, "none");
    let seconds = |value: Option<f64>| none(value.map(|value| value.to_string()));
    let path = |value: &Option<PathBuf>| none(value.as_ref().map(|path| path.display().to_string()));
    let named = |value: Option<String>| or(value, "from the backend");
    let headers: Vec<&str> =
        options.header.iter().map(|header| header.split(['=', ':']).next().unwrap_or_default()).collect();
    let stamp = match StampName::choice(options.stamp) {
        StampChoice::Kernel => "kernel",
        StampChoice::User => "user",
    };
    let endpoint_type = match options.endpoint_type {
        Some(EndpointName::Chat) => "chat",
        Some(EndpointName::Completions) | None => "completions",
    };
    let usual_metrics = SCRAPE_INTERVAL.as_secs_f64();
    [
        ("base_url", named(options.base_url.clone())),
        ("endpoint_type", endpoint_type.into()),
        ("endpoint", named(options.endpoint.clone())),
        ("tokenizer", or(options.tokenizer.clone(), "from the model")),
        // Their values may be secret.
        ("header", none(Some(headers.join(", ")).filter(|names| !names.is_empty()))),
        ("extra_body", none(options.extra_body.as_deref().map(hide_in_body))),
        ("ready_timeout_s", ready_timeout(options).to_string()),
        ("launch", none(options.launch.clone())),
        ("server_pid", none(options.server_pid.map(|pid| pid.to_string()))),
        ("stamp", stamp.into()),
        ("priority", or(options.priority.map(|name| name.choice().name().to_owned()), "the highest that is permitted")),
        ("client_threads", or(options.client_threads.map(|n| n.to_string()), "from the processors")),
        ("reset_cache", options.reset_cache.to_string()),
        ("calibrate", (!options.no_calibrate).to_string()),
        ("timeout_connect_s", connect_timeout(options).to_string()),
        ("retries", options.retries.unwrap_or(0).to_string()),
        ("timeout_first_token_s", seconds(options.timeout_first_token)),
        ("timeout_between_s", seconds(options.timeout_between)),
        ("metrics_interval_s", options.metrics_interval.unwrap_or(usual_metrics).to_string()),
        ("ca_cert", path(&options.ca_cert)),
        ("client_cert", path(&options.client_cert)),
        ("insecure", options.insecure.to_string()),
        // One with credentials is refused.
        ("proxy", none(options.proxy.clone())),
    ]
    .map(|(name, value)| (name.to_owned(), hide_in_word(&value)))
    .into_iter()
}

/// Seconds to wait for a server. One that is started now has to load its model; one that should be there can be told of
/// soon when it is not.
pub(super) fn ready_timeout(options: &ServerArgs) -> f64 {
    let usual = if options.launch.is_some() { LAUNCH_TIMEOUT_S } else { READY_TIMEOUT_S };
    options.ready_timeout.unwrap_or(usual)
}

/// Seconds that setting up a connection may take.
pub(super) fn connect_timeout(options: &ServerArgs) -> f64 {
    options.timeout_connect.unwrap_or(CONNECT_TIMEOUT_S)
}

/// The command as one would type it, without secrets; where the program is on this machine is of no use elsewhere.
pub(super) fn command_line() -> Vec<String> {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    std::iter::once("sagellm-benchmark".to_owned()).chain(without_secrets(words)).collect()
}

fn without_secrets(words: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut option = String::new();
    words.map(move |word| {
        let before = std::mem::replace(&mut option, word.clone());
        match word.split_once('=').map(|(name, value)| (name, value, hide_in_value_of(name))) {
            Some((name, value, Some(hide))) => format!("{name}={}", hide(value)),
            _ => hide_in_value_of(&before).unwrap_or(hide_in_word)(&word),
        }
    })
}

/// What removes the secrets from the value of an option that is not a plain word.
fn hide_in_value_of(option: &str) -> Option<fn(&str) -> String> {
    match option {
        "--header" => Some(hide_in_header),
        "--extra-body" => Some(hide_in_body),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_noted_without_secrets() {
        let hidden =
            |words: &[&str]| without_secrets(words.iter().map(|word| (*word).to_owned())).collect::<Vec<_>>().join(" ");
        for (words, expected) in [
            (&["--header", "X-A: null", "--seed", "1"][..], "--header X-A=REDACTED --seed 1"),
            (&["--header=Cookie=a=b"], "--header=Cookie=REDACTED"),
            (&["--extra-body", r#"{"token":"1"}"#, "-v"], r#"--extra-body {"token":"REDACTED"} -v"#),
            (&["--endpoint", "/v1/completions?api-key=k"], "--endpoint /v1/completions?api-key=REDACTED"),
            (&["--launch", "env A_TOKEN=t s --port {port}"], "--launch env A_TOKEN=REDACTED s --port {port}"),
            (&["--metadata", "sig=5", "gpu=H100"], "--metadata sig=REDACTED gpu=H100"),
            (&["--base-url", "http://u:p@h"], "--base-url http://REDACTED@h"),
            (&["--model", "token", "--output", "null"], "--model token --output null"),
        ] {
            assert_eq!(hidden(words), expected);
        }
    }
}
