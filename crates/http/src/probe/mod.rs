//! Getting to know a server before it is measured.

mod error;
mod patience;
mod ready;
mod served;
mod trial;

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use self::patience::Patience;
use sagellm_core::redact::hide_in_url;
use sagellm_core::{BackendInfo, Failure, ModelInfo, Progress, Sampling, Stamp};

pub use error::ProbeError;
pub use served::ServedModel;
pub use trial::Understood;

use crate::{BlockingClient, EndpointType, Profile, RequestFields};

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The kind of server.
    pub profile: &'static Profile,
    /// Where requests will go.
    pub endpoint: EndpointType,
    /// The model to ask for; `None` takes the server's first.
    pub model: Option<String>,
    /// Whether the server's first is taken where it does not list that model.
    pub or_first: bool,
    /// How long to wait until the server is ready.
    pub ready_timeout: Duration,
    /// Longest time that a measured request may take, and so one of the probe, once the server had its time to get ready.
    pub timeout: Duration,
    /// Longest silence before the first token of a measured request; of the probe's, before the head of the answer.
    pub timeout_first_token: Option<Duration>,
    /// The fields to try, usually [`Profile::fields`] with what the user adds.
    pub fields: RequestFields,
    /// How measured requests choose tokens: what this takes is tried as well.
    pub sampling: Sampling,
    /// Whether they go on past an end of sequence.
    pub ignore_eos: bool,
}

impl ProbeOptions {
    /// What is tried and how long that may take when nobody says otherwise.
    pub fn new(profile: &'static Profile, endpoint: EndpointType) -> Self {
        Self {
            profile,
            endpoint,
            model: None,
            or_first: false,
            ready_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(600),
            timeout_first_token: None,
            fields: profile.fields(endpoint),
            sampling: Sampling::default(),
            ignore_eos: true,
        }
    }
}

/// What was found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Version of the server, where it tells.
    pub version: Option<String>,
    /// The models that it lists.
    pub models: Vec<ServedModel>,
    /// The one that will be asked for.
    pub model: ServedModel,
    /// What tiny requests showed.
    pub understood: Understood,
    /// All of it in words, for [`BackendInfo::settings`].
    pub settings: BTreeMap<String, String>,
}

impl Probe {
    /// As the manifest tells of a backend.
    pub fn info(&self, profile: &Profile) -> BackendInfo {
        BackendInfo {
            name: profile.name.into(),
            version: self.version.clone(),
            model: ModelInfo {
                name: self.model.id.clone(),
                path: None,
                architecture: None,
                parameters: None,
                dtype: None,
                context_length: self.model.context_length,
                synthetic: false,
                fingerprint: None,
            },
            // Until the client knows better.
            stamp: Stamp::User,
            settings: self.settings.clone(),
        }
    }
}

/// Waits until the server is ready, then finds out what it serves and understands.
///
/// `go_on` is asked all the while and may end it with a failure: a signal came, or the server's process ended. One to
/// about ten requests of up to 8 tokens are made.
///
/// # Errors
/// When the server does not come up, refuses access, serves another model, or refuses even the plainest request.
pub fn prepare(
    client: &BlockingClient,
    options: &ProbeOptions,
    go_on: &dyn Fn() -> Result<(), Failure>,
    progress: &dyn Progress,
) -> Result<Probe, ProbeError> {
    let patience = Patience::new(options);
    progress.begin(&format!("waiting for {}", client.target()), None);
    let ready = ready::wait(client, options.profile, options.ready_timeout, go_on);
    progress.finish();
    ready?;
    progress.begin("probing the server", None);
    let found = watched(client, options, patience, go_on);
    progress.finish();
    found
}

/// Finds out on a thread of its own, which is left to its timeouts when the search is ended from outside.
fn watched(
    client: &BlockingClient,
    options: &ProbeOptions,
    patience: Patience,
    go_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<Probe, ProbeError> {
    const LOOK: Duration = Duration::from_millis(100);
    let (done, found) = mpsc::channel();
    let url = client.target().url("");
    let (client, options) = (client.clone(), options.clone());
    std::thread::spawn(move || {
        // Nobody may be waiting any more.
        let _ = done.send(find_out(&client, &options, &patience));
    });
    loop {
        match found.recv_timeout(LOOK) {
            Ok(Err(error @ ProbeError::NoAnswer { .. })) => {
                // A server that dies breaks its connections a moment before its end can be seen, and that says more.
                std::thread::sleep(LOOK);
                go_on().map_err(ProbeError::Stopped)?;
                return Err(error);
            }
            Ok(found) => return found,
            Err(RecvTimeoutError::Timeout) => go_on().map_err(ProbeError::Stopped)?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ProbeError::Unusable { url, why: "reading it failed".into() });
            }
        }
    }
}

fn find_out(client: &BlockingClient, options: &ProbeOptions, patience: &Patience) -> Result<Probe, ProbeError> {
    let profile = options.profile;
    let version = served::version(client, profile, patience);
    let models = served::models(client, profile, patience)?;
    let model = served::choose(&models, options, || client.target().shown(profile.models))?;
    let understood = trial::Trial { client, patience, options, model: &model.id }.run()?;
    let settings = settings(options, &models, &understood);
    Ok(Probe { version, models, model, understood, settings })
}

fn settings(options: &ProbeOptions, models: &[ServedModel], understood: &Understood) -> BTreeMap<String, String> {
    let yes_no = |found: bool| if found { "yes" } else { "no" };
    let names = models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>().join(", ");
    let mut settings = BTreeMap::from([
        ("endpoint".to_owned(), hide_in_url(options.profile.path(options.endpoint))),
        ("probe.models".into(), if names.is_empty() { "none listed".into() } else { names }),
        ("probe.usage".into(), yes_no(understood.usage).into()),
        ("probe.cached_tokens".into(), yes_no(understood.cached_tokens).into()),
        ("probe.finish_reason".into(), yes_no(understood.finish_reason).into()),
        ("probe.server_times".into(), yes_no(understood.server_times).into()),
        ("probe.reasoning".into(), yes_no(understood.reasoning).into()),
        ("max_tokens_field".into(), understood.fields.max_tokens.name().into()),
    ]);
    if let Some(model) = &understood.answered_model {
        settings.insert("probe.answered_model".into(), model.clone());
    }
    for (name, note) in &understood.notes {
        settings.insert(format!("probe.{name}"), note.clone());
    }
    settings
}
