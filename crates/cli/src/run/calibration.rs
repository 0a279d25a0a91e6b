//! The load under which the client is calibrated before a run: that of the plan, for a second or two.

use std::time::Duration;

use sagellm_core::{Arrival, RatePhase, seconds};
use sagellm_plan::Outline;

use crate::args::{PriorityName, ServerArgs, StampName};
use crate::calibrate::Load;

/// Streams at most: more would take longer than a run should wait.
const MOST_STREAMS: u64 = 8192;
/// Connections that are opened ahead for an arrival process without a cap.
const OPEN_LOOP_STREAMS: u64 = 64;
/// Requests at least, however few streams there are.
const FEWEST_REQUESTS: u32 = 16;
/// Requests of an arrival process at most.
const MOST_REQUESTS: f64 = 20_000.0;
/// Requests per second at least, so that there are enough of them soon.
const SLOWEST: f64 = 10.0;
/// Seconds during which requests of an arrival process come.
const SECONDS: f64 = 1.6;
/// Tokens of each answer when all run at once; the more often streams follow each other, the shorter they are.
const TOKENS: u32 = 64;
/// Tokens of each at least.
const FEWEST_TOKENS: u32 = 8;
/// How fast the server will be is not known yet. Most are slower than this, which is harder on the client.
const TTFT: Duration = Duration::from_millis(50);
/// See above.
const ITL: Duration = Duration::from_millis(10);

/// The load of a workload: its arrivals at their busiest, or as many streams as it keeps busy.
pub(super) fn load(outline: &Outline, options: &ServerArgs) -> Load {
    let workload = &outline.workload;
    let (streams, capped, arrival, requests) = match busiest(outline) {
        None => {
            let at_once = if workload.arrival == Arrival::Immediate { outline.at_once } else { outline.requests };
            let streams = clamp(workload.max_concurrency.map_or(at_once, u64::from).min(outline.requests));
            (streams, true, Arrival::Immediate, streams.max(FEWEST_REQUESTS))
        }
        Some((arrival, rate)) => {
            // Within these bounds the number is whole and small.
            let requests = (rate * SECONDS).clamp(f64::from(FEWEST_REQUESTS), MOST_REQUESTS).ceil() as u32;
            let cap = workload.max_concurrency.map(u64::from);
            (clamp(cap.unwrap_or(OPEN_LOOP_STREAMS)), cap.is_some(), arrival, requests)
        }
    };
    let rounds = if arrival == Arrival::Immediate { requests / streams } else { 1 };
    Load {
        streams,
        capped,
        arrival,
        requests,
        tokens: (TOKENS / rounds.max(1)).max(FEWEST_TOKENS),
        ttft: TTFT,
        itl: ITL,
        stamp: StampName::choice(options.stamp),
        priority: options.priority.map(PriorityName::choice),
        client_threads: options.client_threads.unwrap_or(0),
        server_threads: 1,
    }
}

fn clamp(streams: u64) -> u32 {
    // It fits: the bound does.
    streams.clamp(1, MOST_STREAMS) as u32
}

/// The arrivals where they come at their highest rate, and that rate in requests per second. `None` when all are due at
/// once, or as good as at once.
fn busiest(outline: &Outline) -> Option<(Arrival, f64)> {
    let gamma = |rate: f64, burstiness: f64| {
        let rate = rate.max(SLOWEST);
        (Arrival::Gamma { rate, burstiness }, rate)
    };
    let highest = |rates: &mut dyn Iterator<Item = f64>| rates.fold(0.0, f64::max);
    let found = match &outline.workload.arrival {
        Arrival::Immediate => return None,
        Arrival::Trace => {
            let span = seconds(outline.last_offset_ns);
            let rate = if span > 0.0 { outline.arrivals as f64 / span } else { return None };
            gamma(rate, 1.0)
        }
        Arrival::Constant { rate } => {
            let rate = rate.max(SLOWEST);
            (Arrival::Constant { rate }, rate)
        }
        Arrival::Poisson { rate } => {
            let rate = rate.max(SLOWEST);
            (Arrival::Poisson { rate }, rate)
        }
        Arrival::Gamma { rate, burstiness } | Arrival::OnOff { rate, burstiness, .. } => gamma(*rate, *burstiness),
        // The next burst comes as soon as there is time for it.
        Arrival::Burst { size, every_s } => {
            let every_s = every_s.min(SECONDS / 2.0);
            (Arrival::Burst { size: *size, every_s }, f64::from(*size) / every_s)
        }
        Arrival::Ramp { from_rate, to_rate, burstiness, .. } => gamma(from_rate.max(*to_rate), *burstiness),
        Arrival::Phases { phases, burstiness } => {
            gamma(highest(&mut phases.iter().map(|RatePhase { rate, .. }| *rate)), *burstiness)
        }
    };
    Some(found).filter(|(_, rate)| *rate <= MOST_REQUESTS / SECONDS)
}

/// For people: `8 streams`, `500 requests/s (poisson)`.
pub(super) fn name(load: &Load) -> String {
    let (how, rate) = match load.arrival {
        Arrival::Constant { rate } => ("constant", rate),
        Arrival::Poisson { rate } => ("Poisson", rate),
        Arrival::Gamma { rate, .. } => ("gamma", rate),
        Arrival::Burst { size, every_s } => ("bursts", f64::from(size) / every_s),
        _ if load.streams == 1 => return "one stream".into(),
        _ => return format!("{} streams", load.streams),
    };
    format!("{rate:.0} requests/s ({how})")
}

#[cfg(test)]
mod tests {
    use sagellm_core::{Mode, Source, Workload};

    use super::*;
    use crate::args::Cli;

    fn options() -> ServerArgs {
        let cli = <Cli as clap::Parser>::parse_from(["sagellm-benchmark", "run"]);
        match cli.command {
            crate::args::Command::Run(args) => args.server,
            _ => unreachable!("it was `run`"),
        }
    }

    fn of(arrival: Arrival, max_concurrency: Option<u32>, requests: u64) -> Load {
        let at_once = if arrival == Arrival::Immediate { requests } else { 1 };
        let workload = Workload {
            name: "w".into(),
            mode: Mode::Traffic,
            source: Source::Text { input_tokens: 1, output_tokens: 1, shared_prefix_tokens: 0 },
            num_prompts: requests as u32,
            duration_s: None,
            max_concurrency,
            arrival,
            num_warmups: Some(0),
            seed: 0,
            goodput: None,
        };
        let outline = Outline {
            workload,
            hash: String::new(),
            requests,
            arrivals: requests,
            at_once,
            output_tokens: requests,
            last_offset_ns: 10_000_000_000,
            largest_tokens: 16,
            all_tokens: 16,
        };
        load(&outline, &options())
    }

    #[test]
    fn a_closed_loop_is_calibrated_at_its_streams() {
        let one = of(Arrival::Immediate, Some(1), 100);
        assert_eq!((one.streams, one.requests, one.tokens, name(&one)), (1, 16, 8, "one stream".into()));
        let many = of(Arrival::Immediate, Some(2000), 10_000);
        assert_eq!((many.streams, many.requests, many.tokens), (2000, 2000, 64), "beyond what is opened ahead");
        assert_eq!(of(Arrival::Immediate, None, 50).streams, 50);
        assert_eq!(of(Arrival::Immediate, None, 1_000_000).streams, 8192);
    }

    #[test]
    fn an_open_loop_is_calibrated_by_its_arrivals() {
        let poisson = of(Arrival::Poisson { rate: 500.0 }, None, 5000);
        assert_eq!((&poisson.arrival, poisson.requests), (&Arrival::Poisson { rate: 500.0 }, 800));
        assert!(!poisson.capped);
        assert_eq!(name(&poisson), "500 requests/s (Poisson)");
        let slow = of(Arrival::Constant { rate: 0.1 }, None, 50);
        assert_eq!((slow.arrival, slow.requests), (Arrival::Constant { rate: 10.0 }, 16));
        let capped = of(Arrival::Poisson { rate: 500.0 }, Some(7), 5000);
        assert_eq!((capped.streams, capped.capped), (7, true));
        let trace = of(Arrival::Trace, None, 2000);
        assert_eq!(trace.arrival, Arrival::Gamma { rate: 200.0, burstiness: 1.0 });
    }

    #[test]
    fn arrivals_that_vary_are_taken_at_their_busiest() {
        let phase = |rate| RatePhase { rate, for_s: 60.0 };
        let phases = of(Arrival::Phases { phases: vec![phase(20.0), phase(90.0)], burstiness: 0.5 }, None, 100);
        assert_eq!(phases.arrival, Arrival::Gamma { rate: 90.0, burstiness: 0.5 });
        let burst = of(Arrival::Burst { size: 100, every_s: 60.0 }, None, 1000);
        assert_eq!((burst.arrival, burst.requests), (Arrival::Burst { size: 100, every_s: 0.8 }, 200));
        let at_once = of(Arrival::Poisson { rate: 1e9 }, None, 300);
        assert_eq!(at_once.arrival, Arrival::Immediate);
    }
}
