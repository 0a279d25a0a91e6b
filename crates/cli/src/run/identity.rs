//! What a run would measure, found out without measuring.

use sagellm_core::{BackendInfo, Failure, Stamp};
use sagellm_report::Identity;
use sagellm_telemetry::host;

use super::server::SERVER_LOG;
use super::subject::Subject;
use super::{server, setup};
use crate::args::RunArgs;
use crate::signals::Interrupt;
use crate::terminal::{Printer, Progress};

/// Opens the model or asks the server, which is launched for this where a run would launch it.
pub(crate) fn identity(args: &RunArgs, interrupt: &Interrupt, printer: &Printer) -> Result<Identity, Failure> {
    let secrets = printer.secrets();
    secrets.learn(&args.server);
    let wanted = setup::wanted(args)?;
    let progress = Progress::new(printer, args.quiet);
    let log = || Ok(args.output.join(SERVER_LOG));
    let subject = Subject::open(args, &wanted, &log, interrupt, secrets, &progress);
    let identity = subject.map(|subject| {
        let backend = match &subject {
            Subject::Engine(model) => BackendInfo {
                name: args.backend.name().into(),
                version: Some(env!("CARGO_PKG_VERSION").into()),
                model: model.info.clone(),
                stamp: Stamp::Engine,
                settings: Default::default(),
            },
            Subject::Server(server) => server.info(),
        };
        let program = [env!("CARGO_PKG_VERSION").to_owned()].into_iter().chain(crate::GIT_COMMIT.map(str::to_owned));
        let program: Vec<String> = program.collect();
        let [tokenizer, model] = [Some(subject.tokenizer().fingerprint()), subject.model_hash()];
        Identity::new(
            [program.first(), program.get(1)],
            &host().fingerprint,
            &backend,
            [tokenizer.as_ref(), model.as_ref()],
        )
    });
    if args.server.launch.is_some() {
        // The server has been stopped. Its log is of no further use, and may hold secrets.
        let _ = server::clean_log(&args.output, secrets);
    }
    identity
}
