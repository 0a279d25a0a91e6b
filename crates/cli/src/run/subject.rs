//! What is measured: the engine in this process, or a server.

use std::path::PathBuf;
use std::sync::Arc;

use sagellm_core::journal::Calibration;
use sagellm_core::{Backend, Clock, Failure};
use sagellm_http::Launched;
use sagellm_model::{HubOptions, Model, OpenOptions, Tokenizer};
use sagellm_plan::{Outline, PlanFile};
use sagellm_report::Hashes;
use sagellm_run::Watch;
use sagellm_telemetry::Monitor;

use super::asked::Asked;
use super::server::Server;
use super::setup::{self, Wanted};
use super::watch::ProcessWatch;
use crate::args::{BackendName, RunArgs};
use crate::secrets::Secrets;
use crate::signals::Interrupt;
use crate::terminal::Progress;

/// Measured when nobody says what.
const DEFAULT_MODEL: &str = "synthetic:gpt2";

/// What is measured, known well enough to make plans for it.
pub(super) enum Subject {
    /// A model for the CPU engine; its weights are not read yet.
    Engine(Box<Model>),
    /// A server that is ready.
    Server(Box<Server>),
}

/// What is measured, ready for requests.
pub(super) struct Ready {
    pub(super) backend: Box<dyn Backend>,
    pub(super) watch: Box<dyn Watch>,
    /// The server, where it was started for this run.
    pub(super) launched: Option<Arc<Launched>>,
}

/// Names the file for the log of a server, once one is launched.
pub(super) type LogPath<'a> = &'a dyn Fn() -> Result<PathBuf, Failure>;

impl Subject {
    /// Finds what the command line names.
    pub(super) fn open(
        args: &RunArgs,
        wanted: &Wanted,
        log: LogPath<'_>,
        interrupt: &Interrupt,
        secrets: &Secrets,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        if args.backend == BackendName::Cpu {
            args.server.refuse_for_cpu()?;
            let spec = args.model.as_deref().unwrap_or(DEFAULT_MODEL);
            let model = sagellm_model::open(spec, &open_options(), progress)?;
            return Ok(Self::Engine(Box::new(model)));
        }
        args.engine.refuse_for_servers(args.backend)?;
        let asked = Asked::of(args, wanted)?;
        Ok(Self::Server(Box::new(Server::open(args, &asked, log, interrupt, secrets, progress)?)))
    }

    /// What prompts are cut with.
    pub(super) fn tokenizer(&self) -> &Tokenizer {
        match self {
            Self::Engine(model) => &model.tokenizer,
            Self::Server(server) => server.tokenizer(),
        }
    }

    /// Longest sequence in tokens.
    pub(super) fn context_length(&self) -> usize {
        match self {
            Self::Engine(model) => model.config.context_length,
            Self::Server(server) => server.context_length(),
        }
    }

    /// Whether generation can be made to go on past an end of sequence.
    pub(super) fn can_ignore_eos(&self) -> bool {
        match self {
            Self::Engine(_) => true,
            Self::Server(server) => server.can_ignore_eos(),
        }
    }

    /// What identifies the input of the run.
    pub(super) fn hashes(&self, plan: &PlanFile) -> Hashes {
        let hash = |outline: &Outline| (outline.workload.name.clone(), outline.hash.clone());
        let plans = plan.outlines().map(hash).collect();
        Hashes { plans, tokenizer: Some(self.tokenizer().fingerprint()), model: self.model_hash() }
    }

    /// The fingerprint of the model; `None` for a server.
    pub(super) fn model_hash(&self) -> Option<String> {
        match self {
            Self::Engine(model) => model.info.fingerprint.clone(),
            Self::Server(_) => None,
        }
    }

    /// This client's own error under the load of each workload of `plan`; none for the engine, which stamps its tokens itself, and
    /// where calibration is not wanted.
    pub(super) fn calibrate(
        &self,
        args: &RunArgs,
        plan: &PlanFile,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> Result<Vec<Calibration>, Failure> {
        match self {
            Self::Server(server) if !args.server.no_calibrate => server.calibrate(args, plan, interrupt, progress),
            _ => Ok(Vec::new()),
        }
    }

    /// Makes it ready for the requests of `plan`. `monitor` has seen this process before a model was loaded.
    pub(super) fn start(
        self,
        args: &RunArgs,
        plan: &PlanFile,
        secrets: &Secrets,
        clock: Clock,
        monitor: Monitor,
        progress: &Progress,
    ) -> Result<Ready, Failure> {
        match self {
            Self::Engine(model) => Ok(Ready {
                backend: Box::new(setup::engine(args, *model, plan, clock, progress)?),
                watch: Box::new(ProcessWatch(monitor)),
                launched: None,
            }),
            Self::Server(server) => server.start(args, plan, secrets, clock),
        }
    }
}

/// Where models and tokenizers are found.
pub(crate) fn open_options() -> OpenOptions {
    OpenOptions { hub: HubOptions::from_env() }
}
