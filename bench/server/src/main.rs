//! A server of OpenAI's completions that streams at exact times and notes when it wrote every token.
//!
//! One thread owns all connections. Every token is due at an absolute time (arrival of the request + TTFT + k × ITL) and
//! is sent with a separate write. The first line on standard output ends with the URL. The server stops at the end of
//! standard input and then writes what it noted to `--truth`, one JSON object per request.

mod answer;
mod clock;
mod connection;
mod event_loop;
mod http;
mod realtime;
mod tls;
mod truth;

use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Serve simulated completions at exact times, and note when every token was written
#[derive(Debug, Parser)]
struct Options {
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Milliseconds from a request to its first token
    #[arg(long, default_value_t = 50.0)]
    ttft_ms: f64,
    /// Milliseconds from each token to the next; 0 writes as fast as possible
    #[arg(long, default_value_t = 10.0)]
    itl_ms: f64,
    /// Where the token times of a request begin
    #[arg(long, value_enum, default_value_t = Phase::Together)]
    phase: Phase,
    /// Seed of the phases and of the words
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Serve over TLS with a new certificate, which is written to this file (PEM)
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// File for the times of every request, written at the end
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// Requests that arrive together have their tokens together
    Together,
    /// Each request is delayed by a random part of the ITL
    Random,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let nanos = |milliseconds: f64| (milliseconds.max(0.0) * 1e6).round() as u64;
    let plan = answer::Timing {
        ttft: nanos(options.ttft_ms),
        itl: nanos(options.itl_ms),
        random_phase: options.phase == Phase::Random,
        seed: options.seed,
    };
    let listener = TcpListener::bind(("127.0.0.1", options.port))?;
    let port = listener.local_addr()?.port();
    let tls = options.tls.as_deref().map(tls::config).transpose()?;
    // Without a delay the thread never sleeps, which would starve a client on the same processor.
    let priority = if plan.itl > 0 && realtime::enable() { "real-time" } else { "normal" };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut out = std::io::stdout();
    writeln!(out, "listening at {priority} priority on {scheme}://127.0.0.1:{port}")?;
    out.flush()?;
    let log = event_loop::EventLoop::new(listener, tls, plan)?.run()?;
    truth::write(&options.truth, &log)?;
    Ok(())
}
