//! What the client costs per token, and how far its stamps lie from the truth.
//!
//! `cargo run --release -p sagellm-http --example client_load -- [streams] [itl in ms] [tokens] [rounds] [kernel|user] [threads]`
//!
//! The simulator runs in a process of its own; the client keeps so many requests in flight until each stream has had its
//! rounds.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement to be read by a person")]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use sagellm_core::{
    Backend, BackendInfo, Clock, EventKind, ModelInfo, Prompt, RecordBuilder, Request, Sampling, Stamp, WallTime,
    event_channel, ms, seconds,
};
use sagellm_http::{HttpBackend, HttpOptions, RequestIds, StampChoice, Target};
use sagellm_server::{SimulateOptions, Simulator};
use serde_json::Value;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "server") {
        return serve(arguments[1].parse().unwrap());
    }
    let number = |place: usize, default: f64| arguments.get(place).map_or(default, |word| word.parse().unwrap());
    let (streams, itl, tokens, rounds) = (number(0, 64.0) as u64, number(1, 10.0), number(2, 128.0), number(3, 10.0));
    let total = streams * rounds as u64;
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["server", &itl.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
    let address = address.trim();

    let clock = Clock::start();
    let model = ModelInfo {
        name: "simulated".into(),
        path: None,
        architecture: None,
        parameters: None,
        dtype: None,
        context_length: None,
        synthetic: true,
        fingerprint: None,
    };
    let info =
        BackendInfo { name: "openai".into(), version: None, model, stamp: Stamp::User, settings: BTreeMap::new() };
    let target = Target::parse(&format!("http://{address}")).unwrap();
    let mut options = HttpOptions::new(target, "/v1/completions", "simulated", info);
    options.connections = streams as usize;
    options.client_threads = number(5, 0.0) as usize;
    if arguments.get(4).is_some_and(|word| word == "user") {
        options.stamp = StampChoice::User;
    }
    let ids = options.request_ids.clone();
    let backend = HttpBackend::start(options, None, clock).unwrap();
    let request = |id| Request {
        id,
        offset_ns: 0,
        session: None,
        prompt: Prompt::text("word ".repeat(64)),
        max_tokens: tokens as u32,
        sampling: Sampling::default(),
        ignore_eos: true,
        keep_answer: false,
    };

    let (sink, mut events) = event_channel();
    let mut open = HashMap::new();
    let mut records = Vec::new();
    let mut next = 0;
    let stamp = backend.info().stamp;
    let mut submit = |open: &mut HashMap<u64, RecordBuilder>| {
        if next < total {
            let request = request(next);
            open.insert(next, RecordBuilder::new(&request, clock.now(), false, stamp));
            backend.submit(Arc::new(request), &sink).unwrap();
            next += 1;
        }
    };
    let (cpu, start) = (cpu_seconds(), clock.now());
    (0..streams).for_each(|_| submit(&mut open));
    while !open.is_empty() {
        let event = events.next().unwrap();
        let record = open.get_mut(&event.request).unwrap();
        record.apply(&event);
        if matches!(event.kind, EventKind::End(_)) {
            records.push(open.remove(&event.request).unwrap().finish());
            submit(&mut open);
        }
    }
    let (after, elapsed) = (cpu_seconds(), seconds(clock.now() - start));
    let [user, system] = [after[0] - cpu[0], after[1] - cpu[1]];
    let received: u64 = records.iter().map(|record| u64::from(record.output_tokens)).sum();
    println!("{streams} streams: {received} tokens in {elapsed:.2} s: {:.0} tokens/s", received as f64 / elapsed);
    let per_1000 = |cpu: f64| cpu * 1e6 / received as f64;
    println!(
        "client processor time: {:.2} ms per 1000 tokens ({:.2} of them in the kernel), {:.0} % of a core",
        per_1000(user + system),
        per_1000(system),
        (user + system) / elapsed * 100.0
    );
    for record in records.iter().filter(|record| record.outcome.is_failure()).take(3) {
        println!("{record:?}");
    }
    let delays = records.iter().flat_map(|record| &record.chunks).filter_map(|chunk| chunk.delay_ns);
    print("client delay per chunk", delays.map(|delay| f64::from(delay) / 1e6).collect());
    let merged: u32 = records.iter().map(|record| record.http.as_ref().unwrap().merged_chunks).sum();
    let connects = records.iter().filter(|record| record.http.as_ref().unwrap().connect_ns.is_some()).count();
    println!("merged chunks: {merged}; requests that had to connect: {connects}; drift {} ns", clock.wall_drift_ns());
    if itl > 0.0 {
        compare(clock, address, &records, &ids);
    }
    print(
        "sent after scheduled",
        records.iter().map(|record| ms(record.sent_ns.unwrap() - record.scheduled_ns)).collect(),
    );
    drop(server.stdin.take());
    server.wait().unwrap();
}

/// Compares records with what the simulator truly did.
fn compare(clock: Clock, address: &str, records: &[sagellm_core::Record], ids: &RequestIds) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /admin/truth HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let truth: HashMap<String, Value> = page
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| Some((line["request"].as_str()?.to_owned(), line)))
        .collect();
    let at = |line: &Value, key: &str| clock.at_wall(WallTime { unix_ns: line[key].as_u64().unwrap() }) as f64 / 1e6;
    let (mut ttft, mut tpot, mut late) = (Vec::new(), Vec::new(), Vec::new());
    for record in records {
        let line = &truth[&ids.of(record.id)];
        let (sent, first) = (ms(record.sent_ns.unwrap()), ms(record.first_token_ns.unwrap()));
        let last = ms(record.last_token_ns.unwrap());
        let (arrival, first_write, last_write) =
            (at(line, "arrival_ns"), at(line, "first_write_ns"), at(line, "last_write_ns"));
        ttft.push((first - sent - (first_write - arrival)).abs());
        let steps = f64::from(record.output_tokens - 1);
        tpot.push(((last - first) / steps - (last_write - first_write) / steps).abs());
        late.push(line["latest_ns"].as_u64().unwrap() as f64 / 1e6);
    }
    print("error of TTFT", ttft);
    print("error of TPOT", tpot);
    print("lateness of the server", late);
}

fn print(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if !values.is_empty() {
        println!("{what}: mean {mean:.3}, p50 {:.3}, p99 {:.3}, max {:.3} ms", at(0.5), at(0.99), at(1.0));
    }
}

/// Processor time of this process, in user space and in the kernel.
fn cpu_seconds() -> [f64; 2] {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()].map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
}

/// The simulator, until the end of standard input.
fn serve(itl: f64) {
    let options = SimulateOptions { itl: Duration::from_secs_f64(itl / 1e3), ..SimulateOptions::default() };
    let options = if itl == 0.0 { SimulateOptions { ttft: Duration::ZERO, ..options } } else { options };
    let server = Simulator::start(options, ([127, 0, 0, 1], 0).into(), Clock::start()).unwrap();
    println!("{}", server.address());
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            stop.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    });
    server.wait(&stop).unwrap();
}
