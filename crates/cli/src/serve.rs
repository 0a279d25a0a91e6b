//! `serve`: an OpenAI-compatible server, over the CPU engine or simulated.

use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use std::time::Duration;

use sagellm_core::{Clock, Exit, Failure};
use sagellm_model::{HubOptions, OpenOptions};
use sagellm_server::{
    ColdOptions, ConnectionLimits, EngineServer, EngineServerOptions, QueueOptions, SimulateOptions, Simulator,
};

use crate::args::{ServeArgs, SimulationArgs, Time};
use crate::calibrate::LISTENING;
use crate::signals::{Interrupt, Orderly};
use crate::terminal::{Printer, Progress};

/// Tokens that the KV cache of a served model holds, unless told otherwise.
const SERVED_TOKENS: usize = 1 << 15;

pub(crate) fn serve(args: &ServeArgs, printer: &Printer) -> Result<Exit, Failure> {
    let address = address(args)?;
    let interrupt = Interrupt::listen_quietly(printer)?;
    let clock = Clock::start();
    if args.simulate {
        args.engine.refuse_for_simulation()?;
        let options = SimulateOptions { api_key: args.api_key.clone(), ..simulation(&args.simulation, printer)? };
        let simulator = Simulator::start(options, address, clock)?;
        let orderly = interrupt.orderly();
        let stop = stop(&orderly, args.until_eof);
        announce(printer, simulator.address())?;
        warn_if_open(args, simulator.address(), printer);
        simulator.wait(stop)?;
        return Ok(Exit::Ok);
    }
    args.simulation.refuse_for_engine()?;
    // Clap asks for one of the two.
    let spec = args.model.as_deref().unwrap_or_default();
    let progress = Progress::new(printer, false);
    let model = sagellm_model::open(spec, &OpenOptions { hub: HubOptions::from_env() }, &progress)?;
    let options = EngineServerOptions {
        engine: args.engine.options(SERVED_TOKENS, false),
        served_model_name: args.served_model_name.clone(),
        api_key: args.api_key.clone(),
        limits: ConnectionLimits::default(),
    };
    let server = EngineServer::start(model, options, address, clock, progress.bar_only())?;
    let orderly = interrupt.orderly();
    let stop = stop(&orderly, args.until_eof);
    announce(printer, server.address())?;
    warn_if_open(args, server.address(), printer);
    server.wait(stop)?;
    Ok(Exit::Ok)
}

/// What becomes true when it is to end: from here on it does so in order.
fn stop<'a>(orderly: &'a Orderly<'_>, until_eof: bool) -> &'a AtomicBool {
    let stop = orderly.stop();
    if until_eof {
        let stop = Arc::clone(stop);
        std::thread::spawn(move || {
            // Whatever is written does not matter, and an error ends it as the end does.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            stop.store(true, Ordering::Relaxed);
        });
    }
    stop
}

fn simulation(args: &SimulationArgs, printer: &Printer) -> Result<SimulateOptions, Failure> {
    let mut options = SimulateOptions::default();
    let or = |given: Option<Time>, usual| given.map_or(usual, |time| time.0);
    if let Some(named) = &args.tokenizer {
        let open = OpenOptions { hub: HubOptions::from_env() };
        options.tokenizer = sagellm_model::open_tokenizer(named, &open, &Progress::new(printer, false))?;
        // Clients may run in another folder.
        options.root = std::fs::canonicalize(named).map_or(named.clone(), |path| path.display().to_string());
    }
    Ok(SimulateOptions {
        ttft: or(args.ttft, options.ttft),
        itl: or(args.itl, options.itl),
        jitter: or(args.jitter, options.jitter),
        tokens: args.tokens,
        queue: args.servers.zip(args.service_time).map(|(servers, time)| QueueOptions { servers, service: time.0 }),
        cold: (args.cold_start.is_some() || args.cold_batch.is_some()).then(|| ColdOptions {
            start: or(args.cold_start, Duration::ZERO),
            batch: or(args.cold_batch, Duration::ZERO),
        }),
        threads: args.server_threads.unwrap_or(options.threads),
        ..options
    })
}

/// Says where it listens, once it does, for people and for programs that wait for it.
fn announce(printer: &Printer, address: SocketAddr) -> Result<(), Failure> {
    printer.result(&format!("{LISTENING}http://{address}\n"))
}

/// Warns that other machines can use the server, if they can.
fn warn_if_open(args: &ServeArgs, address: SocketAddr, printer: &Printer) {
    if args.api_key.is_none() && !address.ip().to_canonical().is_loopback() {
        printer.note(&format!(
            "warning: anyone who can reach {address} can use this server: set --api-key, or --host 127.0.0.1"
        ));
    }
}

fn address(args: &ServeArgs) -> Result<SocketAddr, Failure> {
    let failed = |why: String| Failure::new(Exit::Usage, format!("`--host {}` is no address: {why}", args.host));
    let mut found = (args.host.as_str(), args.port).to_socket_addrs().map_err(|error| failed(error.to_string()))?;
    found.next().ok_or_else(|| failed("the name stands for none".into()))
}
