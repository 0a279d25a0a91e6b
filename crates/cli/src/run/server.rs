//! A server, from the command line to a client that is connected to it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sagellm_core::file::FileError;
use sagellm_core::journal::Calibration;
use sagellm_core::{BackendInfo, BackendStats, Clock, Exit, Failure, OutcomeKind};
use sagellm_http::{
    Access, BlockingClient, EndpointType, HttpBackend, HttpOptions, LaunchError, Launched, Probe, ProbeOptions,
    Profile, Secret, StatsSource, Target, TlsOptions, make_room_for, prepare, reset_cache,
};
use sagellm_model::Tokenizer;
use sagellm_plan::PlanFile;
use sagellm_run::WorkloadRun;
use sagellm_telemetry::{SCRAPE_INTERVAL, Scraper, process_runs};
use serde_json::{Map, Value};

use super::asked::{Asked, firsts};
use super::calibration;
use super::config::{connect_timeout, ready_timeout};
use super::connections::Connections;
use super::setup;
use super::subject::{LogPath, Ready, open_options};
use super::watch::{Launch, ServerWatch};
use crate::args::{EndpointName, PriorityName, RunArgs, ServerArgs, StampName, refuse};
use crate::calibrate::{ClientOptions, Load, counter, measure};
use crate::secrets::{Secrets, hide_in_word};
use crate::signals::Interrupt;
use crate::terminal::{Progress, Unit};

/// A server that dies breaks its connections this much before its end can be seen, at most.
const DYING: Duration = Duration::from_millis(100);
/// Longest file of an API key, in bytes. Servers refuse headers far shorter than this.
const MAX_KEY_FILE: u64 = 64 << 10;
/// Output of a server that was launched, in the folder of the run.
pub(super) const SERVER_LOG: &str = "server.log";

/// A server that is ready.
pub(super) struct Server {
    profile: &'static Profile,
    endpoint: EndpointType,
    access: Access,
    probe: Probe,
    tokenizer: Tokenizer,
    timeout_connect: Duration,
    launch: Launch,
}

impl Server {
    /// Starts it where asked, waits until it is ready, and finds out what it understands.
    pub(super) fn open(
        args: &RunArgs,
        asked: &Asked,
        log: LogPath<'_>,
        interrupt: &Interrupt,
        secrets: &Secrets,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let options = &args.server;
        let profile = profile(args)?;
        if let Some(pid) = options.server_pid.filter(|pid| !process_runs(*pid)) {
            let failure = Failure::new(Exit::Usage, format!("`--server-pid {pid}`: no such process runs"));
            return Err(
                failure.with_hint("give the number of the server's first process; its children are counted too")
            );
        }
        let endpoint = match options.endpoint_type {
            Some(EndpointName::Chat) => EndpointType::Chat,
            Some(EndpointName::Completions) | None => EndpointType::Completions,
        };
        let mut fields = profile.fields(endpoint);
        fields.extra_body = extra_body(options)?;
        fields.check()?;
        asked.check_profile(profile, &fields)?;
        if profile.metrics.is_none() {
            let with = format!("`--backend {}`, whose metrics are not read", profile.name);
            let hint = "name the server's kind, such as `--backend vllm`";
            refuse(&[("--metrics-interval", options.metrics_interval.is_some())], &with, hint)?;
        }
        let ready_timeout = Duration::from_secs_f64(ready_timeout(options));
        let timeout_connect = Duration::from_secs_f64(connect_timeout(options));
        let mut access = access(args, profile)?;
        if let Some(key) = &access.api_key {
            secrets.keep(key.reveal());
        }
        access.secrets = secrets.all().into_iter().map(Secret::new).collect();
        // Whatever of this cannot be used is found before a server is launched or asked.
        BlockingClient::new(access.clone())?;
        let named = options.tokenizer.as_deref().map(|named| open_tokenizer(named, progress)).transpose()?;
        let timeout = setup::timeout(args)?;
        let timeout_first_token = seconds(options.timeout_first_token);
        let launch = launch(args, profile, log, interrupt, secrets)?;
        let launched = launch.launched.as_ref();
        if let Some(launched) = launched {
            access.target = launched.target();
        }
        let client = BlockingClient::new(access.clone())?;
        let probe_options = ProbeOptions {
            model: args.model.clone(),
            // It may serve the model under another name than it was launched with.
            or_first: launched.is_some(),
            ready_timeout,
            timeout,
            timeout_first_token,
            fields,
            sampling: asked.sampling.clone(),
            ignore_eos: asked.ignore_eos,
            ..ProbeOptions::new(profile, endpoint)
        };
        let go_on = || {
            interrupt.check()?;
            launched.map_or(Ok(()), |launched| launched.check().map_err(|error| quoted(error, secrets)))
        };
        let probe = prepare(&client, &probe_options, &go_on, progress)?;
        asked.check_probe(&probe.understood.fields, &probe.settings)?;
        let tokenizer = named.map_or_else(|| tokenizer(args, &probe, progress), Ok)?;
        Ok(Self { profile, endpoint, access, probe, tokenizer, timeout_connect, launch })
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What the probe found out.
    pub(super) fn info(&self) -> BackendInfo {
        self.probe.info(self.profile)
    }

    pub(super) fn context_length(&self) -> usize {
        self.probe.model.context_length.map_or(usize::MAX, |length| length as usize)
    }

    pub(super) fn can_ignore_eos(&self) -> bool {
        self.probe.understood.fields.ignore_eos
    }

    /// Measures a simulated server under the load of each workload of the plan, in their order, to learn this client's own
    /// error. Loads that are alike are measured once.
    pub(super) fn calibrate(
        &self,
        args: &RunArgs,
        plan: &PlanFile,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> Result<Vec<Calibration>, Failure> {
        // What the run could not do is said before it is calibrated for.
        make_room_for(Connections::of(plan).at_once)?;
        let mut known: Vec<(Load, Calibration)> = Vec::new();
        let mut all = Vec::new();
        for outline in plan.outlines() {
            let load = calibration::load(outline, &args.server);
            if let Some((_, calibration)) = known.iter().find(|(before, _)| *before == load) {
                all.push(calibration.clone());
                continue;
            }
            progress.start(&format!("calibrating the client at {}", calibration::name(&load)), None, Unit::Tokens);
            let client = ClientOptions {
                tokenizer: Some(counter(self.tokenizer.clone())),
                simulated: None,
                retries: args.server.retries.unwrap_or(0),
            };
            let measured = measure(&load, &client, interrupt).and_then(|measured| measured.check().map(|()| measured));
            progress.stop(None);
            let measured = measured.map_err(|failure| {
                let message = format!("the client could not be calibrated: {}", failure.message);
                Failure::new(Exit::Backend, message).with_hint("`--no-calibrate` leaves it out")
            })?;
            let calibration = measured.calibration(&load);
            all.push(calibration.clone());
            known.push((load, calibration));
        }
        Ok(all)
    }

    /// Connects to it.
    pub(super) fn start(
        self,
        args: &RunArgs,
        plan: &PlanFile,
        secrets: &Secrets,
        clock: Clock,
    ) -> Result<Ready, Failure> {
        let options = &args.server;
        let connections = Connections::of(plan);
        let path = self.profile.path(self.endpoint);
        let mut info = self.info();
        if options.reset_cache {
            let way = reset_cache(&BlockingClient::new(self.access.clone())?)?;
            info.settings.insert("cache_reset".into(), way);
        }
        info.settings.insert("base_url".into(), self.access.target.url(""));
        info.settings.insert("tls_insecure".into(), options.insecure.to_string());
        let http = HttpOptions {
            endpoint_type: self.endpoint,
            fields: self.probe.understood.fields.clone(),
            examples: firsts(plan)?,
            headers: self.access.headers.clone(),
            api_key: self.access.api_key.clone(),
            secrets: secrets.all().into_iter().map(Secret::new).collect(),
            tls: self.access.tls.clone(),
            proxy: self.access.proxy.clone(),
            stamp: StampName::choice(options.stamp),
            priority: options.priority.map(PriorityName::choice),
            client_threads: options.client_threads.unwrap_or(0),
            connections: connections.ahead,
            most_connections: connections.at_once,
            reserve: connections.reserve,
            timeout: Some(setup::timeout(args)?),
            timeout_first_token: seconds(options.timeout_first_token),
            timeout_between: seconds(options.timeout_between),
            timeout_connect: self.timeout_connect,
            retries: options.retries.unwrap_or(0),
            tokenizer: Some(counter(self.tokenizer.clone())),
            stream_text: args.verbose,
            finish_reason: self.probe.understood.finish_reason,
            ..HttpOptions::new(self.access.target.clone(), path, self.probe.model.id.clone(), info)
        };
        let scraper = self.scraper(options, clock)?;
        let stats = scraper.clone().map(|scraper| Box::new(Stats(scraper)) as Box<dyn StatsSource>);
        let pid = self.launch.launched.as_ref().map(|launched| launched.pid()).or(options.server_pid);
        let backend = Box::new(HttpBackend::start(http, stats, clock)?);
        let launched = self.launch.launched.clone();
        let watch = Box::new(ServerWatch::new(pid, scraper, self.launch, clock));
        Ok(Ready { backend, watch, launched })
    }

    /// What reads the server's own metrics, where it has any.
    fn scraper(&self, options: &ServerArgs, clock: Clock) -> Result<Option<Arc<Scraper>>, Failure> {
        let interval = seconds(options.metrics_interval).unwrap_or(SCRAPE_INTERVAL);
        let Some(path) = self.profile.metrics else { return Ok(None) };
        let client = BlockingClient::new(self.access.clone())?;
        Ok(Some(Arc::new(Scraper::new(self.profile.fetch_metrics(client), path, interval, clock))))
    }
}

/// Lets the client of `http` use `telemetry` without knowing it.
struct Stats(Arc<Scraper>);

impl StatsSource for Stats {
    fn begin(&self) {
        self.0.begin();
    }

    fn window(&self) -> BackendStats {
        self.0.window()
    }
}

/// Why the server that was launched is gone, when a workload that has just been run found out.
pub(super) fn died(launched: Option<&Launched>, run: &WorkloadRun, secrets: &Secrets) -> Option<Failure> {
    let launched = launched?;
    if run.outcomes.contains_key(&OutcomeKind::Connection) {
        std::thread::sleep(DYING);
    }
    launched.check().err().map(|error| quoted(error, secrets))
}

/// An error that quotes the server's log, without secrets.
fn quoted(error: LaunchError, secrets: &Secrets) -> Failure {
    let failure = Failure::from(error);
    Failure { message: secrets.redact(&failure.message), ..failure }
}

/// Takes secrets out of what a server that was launched wrote.
pub(super) fn clean_log(folder: &Path, secrets: &Secrets) -> io::Result<()> {
    match secrets.redact_file(&folder.join(SERVER_LOG)) {
        // It was not even started.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The kind of server, with another path where one is given.
fn profile(args: &RunArgs) -> Result<&'static Profile, Failure> {
    let profile = Profile::named(args.backend.name())?;
    let Some(path) = &args.server.endpoint else { return Ok(profile) };
    if !path.starts_with('/') {
        let message = format!("invalid value `{}` for `--endpoint`: a path begins with `/`", hide_in_word(path));
        return Err(Failure::new(Exit::Usage, message));
    }
    let base = args.server.base_url.as_deref().map(Target::parse).transpose()?;
    let path = base.map_or_else(|| path.clone(), |base| base.endpoint(path));
    // Profiles are constants; the one of this run lives as long as the program, too.
    let path: &'static str = Box::leak(path.into_boxed_str());
    Ok(Box::leak(Box::new(Profile { completions: path, chat: path, ..profile.clone() })))
}

/// How the server is reached.
fn access(args: &RunArgs, profile: &Profile) -> Result<Access, Failure> {
    let options = &args.server;
    let url = match &options.base_url {
        Some(url) => url.clone(),
        // Of one that is launched the address is known once it is.
        None if options.launch.is_some() => "http://127.0.0.1".into(),
        None => profile.default_url().ok_or_else(|| {
            let message = format!("`--backend {}` needs the address of the server", args.backend.name());
            Failure::new(Exit::Usage, message).with_hint("give it with `--base-url http://HOST:PORT`")
        })?,
    };
    let target = Target::parse(&url)?;
    if !target.https {
        let tls = [
            ("--ca-cert", options.ca_cert.is_some()),
            ("--client-cert", options.client_cert.is_some()),
            ("--insecure", options.insecure),
        ];
        refuse(&tls, &format!("`{}`", hide_in_word(&url)), "it concerns https only")?;
    }
    let mut headers = options.header.iter().map(|header| split_header(header)).collect::<Result<Vec<_>, _>>()?;
    let api_key = match take_bearer(&mut headers)? {
        Some(_) if options.api_key_file.is_some() => {
            let message = "`--api-key-file` and a `--header` for `Authorization` contradict each other";
            return Err(Failure::new(Exit::Usage, message).with_hint("give one of them"));
        }
        Some(key) => key,
        None => api_key(options.api_key_file.as_deref())?,
    };
    Ok(Access {
        headers,
        api_key,
        tls: TlsOptions {
            ca_cert: options.ca_cert.clone(),
            client_cert: options.client_cert.clone(),
            client_key: options.client_key.clone(),
            insecure: options.insecure,
        },
        proxy: options.proxy.as_deref().map(Target::parse).transpose()?,
        ..Access::new(target)
    })
}

fn launch(
    args: &RunArgs,
    profile: &Profile,
    log: LogPath<'_>,
    interrupt: &Interrupt,
    secrets: &Secrets,
) -> Result<Launch, Failure> {
    let Some(command) = &args.server.launch else { return Ok(Launch::none()) };
    let command = match (command.as_str(), profile.launch) {
        ("", None) => {
            let message = format!("`--launch` needs a command for `--backend {}`", args.backend.name());
            return Err(Failure::new(Exit::Usage, message));
        }
        ("", Some(usual)) => usual,
        (given, _) => given,
    };
    let log = log()?;
    let (folder, secrets) = (args.output.clone(), secrets.clone());
    // The program ends now, and an error would not be seen.
    let then = move || drop(clean_log(&folder, &secrets));
    Launch::start(|| Ok(Launched::start(command, args.model.as_deref(), &log)?), interrupt, then)
}

fn open_tokenizer(named: &str, progress: &Progress) -> Result<Tokenizer, Failure> {
    Ok(sagellm_model::open_tokenizer(named, &open_options(), progress)?)
}

/// The tokenizer of what the server says it loaded, as far as that can be found here; else that of the model's name.
fn tokenizer(args: &RunArgs, probe: &Probe, progress: &Progress) -> Result<Tokenizer, Failure> {
    let open = |named: &str| open_tokenizer(named, progress);
    let model = &probe.model;
    // An adapter, whose folder seldom has a tokenizer, is used with that of its model.
    let parent = probe.models.iter().find(|other| Some(&other.id) == model.parent.as_ref());
    let roots = [model.root.as_ref(), parent.and_then(|parent| parent.root.as_ref()), model.parent.as_ref()];
    if let Some(tokenizer) =
        roots.into_iter().flatten().filter(|root| **root != model.id).find_map(|root| open(root).ok())
    {
        return Ok(tokenizer);
    }
    let named = args.model.as_ref().unwrap_or(&model.id);
    open(named).map_err(|error| {
        let message = format!("no tokenizer for the model `{named}`: {}", error.message);
        Failure::new(Exit::Input, message)
            .with_hint("name one with `--tokenizer`: a folder, a tokenizer.json, a .gguf file or a hub name")
    })
}

fn extra_body(options: &ServerArgs) -> Result<Map<String, Value>, Failure> {
    let Some(text) = &options.extra_body else { return Ok(Map::new()) };
    serde_json::from_str(text)
        .map_err(|error| Failure::new(Exit::Usage, format!("`--extra-body` is no JSON object: {error}")))
}

fn split_header(header: &str) -> Result<(String, String), Failure> {
    // The first of the two: a value such as a cookie's may have either.
    let split = header.split_once(['=', ':']);
    let (name, value) = split.map(|(name, value)| (name.trim(), value.trim())).unwrap_or_default();
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) || value.chars().any(char::is_control) {
        return Err(Failure::new(Exit::Usage, "a `--header` is not of the form NAME=VALUE"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The authorization among the headers, where there is one. A key is taken out, so that it is kept as secret as any; other
/// schemes stay a header, beside which no key is sent.
fn take_bearer(headers: &mut Vec<(String, String)>) -> Result<Option<Option<Secret>>, Failure> {
    let Some(place) = headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("authorization")) else {
        return Ok(None);
    };
    let Some(key) = headers[place].1.strip_prefix("Bearer ") else { return Ok(Some(None)) };
    let key = key_of(key.as_bytes(), "the header `Authorization`", Exit::Usage)?;
    headers.remove(place);
    Ok(Some(key))
}

/// The key from the file, else from the environment. It is never shown.
fn api_key(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let Some(path) = file else {
        let key = std::env::var_os("OPENAI_API_KEY").unwrap_or_default();
        return key_of(key.as_encoded_bytes(), "`OPENAI_API_KEY`", Exit::Usage);
    };
    let unreadable = |error: io::Error| {
        Failure::new(Exit::Input, format!("cannot read the API key in `{}`: {error}", path.display()))
    };
    // It may be a pipe, such as that of a command that prints the key, and a pipe may never end.
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_KEY_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_KEY_FILE {
        let error = FileError::TooLarge { limit: MAX_KEY_FILE };
        return Err(unreadable(error.clone().into()).with_hint(error.hint()));
    }
    match key_of(&bytes, &format!("`{}`", path.display()), Exit::Input)? {
        None => Err(Failure::new(Exit::Input, format!("the API key file `{}` is empty", path.display()))),
        key => Ok(key),
    }
}

/// The key in a text, without what editors, `echo` and shells put around it. None in an empty one.
fn key_of(bytes: &[u8], place: &str, exit: Exit) -> Result<Option<Secret>, Failure> {
    let text = std::str::from_utf8(bytes).ok().map(|text| text.trim_start_matches('\u{feff}').trim());
    match text {
        Some("") => Ok(None),
        Some(key) if key.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(Secret::new(key))),
        _ => Err(Failure::new(exit, format!("the API key in {place} cannot be sent in a header"))
            .with_hint("a key is printable ASCII on one line, without spaces")),
    }
}

fn seconds(value: Option<f64>) -> Option<Duration> {
    value.map(Duration::from_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lose_line_ends_and_marks_and_are_blamed_when_they_cannot_be_sent() {
        let key = |bytes: &[u8]| key_of(bytes, "`K`", Exit::Usage).map(|key| key.map(|key| key.reveal().to_owned()));
        for text in ["sk-1", "sk-1\n", "\u{feff}sk-1\r\n", " sk-1\t"] {
            assert_eq!(key(text.as_bytes()).unwrap().as_deref(), Some("sk-1"), "{text:?}");
        }
        assert_eq!(key(b" \n").unwrap(), None);
        for bytes in [&b"k\xff"[..], b"a\nb", b"a b", "schlüssel".as_bytes(), b"a\0"] {
            let failure = key(bytes).unwrap_err();
            assert_eq!(failure.message, "the API key in `K` cannot be sent in a header");
        }
    }
}
