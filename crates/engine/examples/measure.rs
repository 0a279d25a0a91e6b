//! Measures the engine alone, for `bench/engine.py`: one model, one format, one JSON line.
//!
//!     cargo run --release -p sagellm-engine --example measure -- MODEL [--dtype D] [--isa I] [--threads N]
//!         [--prefill 128,512] [--decode 1,4,10,32] [--spec N] [--period N] [--bandwidth MIB] [--text FILE]
//!
//! With `--period`, prompts repeat themselves after so many tokens. With `--bandwidth` it reads that much memory instead, with
//! as many threads, and prints bytes per second. With `--text` it prints how likely the text is to the model, in windows of 512
//! tokens, and the tokens.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for developers, whose output is its standard output"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use sagellm_core::{Backend, Clock, EventKind, NoProgress, OutcomeKind, Prompt, Request, Sampling, event_channel};
use sagellm_engine::{ComputeDtype, CpuEngine, EngineOptions, likelihood};
use sagellm_model::OpenOptions;

/// Prompt and output tokens of a request whose decoding is measured.
const PROMPT: usize = 32;
const OUTPUT: usize = 65;

/// Tokens of a text that are seen together.
const WINDOW: usize = 512;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).map(String::as_str)
    };
    let sizes = |name: &str, default: &str| -> Vec<usize> {
        let list = option(name).unwrap_or(default);
        list.split(',').filter(|size| !size.is_empty()).map(|size| size.parse().unwrap()).collect()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = option("--threads").map_or(processors, |threads| threads.parse().unwrap());
    let clock = Clock::start();
    if let Some(mib) = option("--bandwidth") {
        println!("{{\"bytes_per_s\": {:.0}}}", bandwidth(&clock, threads, mib.parse().unwrap()));
        return;
    }

    let model = sagellm_model::open(&arguments[0], &OpenOptions::default(), &NoProgress).unwrap();
    let opened = clock.now();
    let vocab = u32::try_from(model.config.vocab_size).unwrap();
    let isa = option("--isa").map(|isa| isa.parse().unwrap());
    let dtype = option("--dtype").map(|dtype| match dtype {
        "f32" => ComputeDtype::F32,
        "bf16" => ComputeDtype::Bf16,
        "f16" => ComputeDtype::F16,
        "int8" => ComputeDtype::Int8,
        other => panic!("no dtype {other}"),
    });
    if let Some(text) = option("--text") {
        let tokens = model.tokenizer.encode(&std::fs::read_to_string(text).unwrap(), false).unwrap();
        let windows: Vec<&[u32]> = tokens.chunks(WINDOW).collect();
        let found = likelihood(&model, dtype, isa, threads, &windows).unwrap();
        println!("{{\"nats\": {}, \"scored\": {}, \"tokens\": {tokens:?}}}", found.nats, found.tokens);
        return;
    }
    let options = EngineOptions {
        threads,
        isa,
        dtype,
        kv_cache_tokens: 4096,
        max_num_batched_tokens: 512,
        max_num_seqs: 64,
        prefix_caching: false,
        draft_tokens: option("--spec").map_or(0, |most| most.parse().unwrap()),
        stream_text: false,
    };
    let engine = CpuEngine::start(model, &options, clock, &NoProgress).unwrap();
    let ready = clock.now();
    let period = option("--period").map_or(u64::MAX, |tokens| tokens.parse().unwrap());
    let mut figures = Figures { engine, vocab, period, next: 0 };

    let rates = |rates: Vec<(usize, f64)>| {
        let fields: Vec<String> = rates.iter().map(|(size, rate)| format!("\"{size}\": {rate:.3}")).collect();
        format!("{{{}}}", fields.join(", "))
    };
    figures.engine.begin_window();
    let prefill = sizes("--prefill", "128,512").into_iter().map(|size| (size, figures.prefill(size))).collect();
    let decode = sizes("--decode", "1,4,10,32").into_iter().map(|size| (size, figures.decode(size))).collect();
    let stats = figures.engine.window();
    println!(
        "{{\"open_s\": {:.3}, \"load_s\": {:.3}, \"prefill\": {}, \"decode\": {}, \"kv_mib\": {:.1}, \"drafted\": {}, \"accepted\": {}, \"steps\": \"{:?}\", \
         \"settings\": {:?}}}",
        opened as f64 / 1e9,
        (ready - opened) as f64 / 1e9,
        rates(prefill),
        rates(decode),
        stats.kv_used_bytes.value.unwrap() as f64 / f64::from(1 << 20),
        stats.spec_drafted_tokens.value.unwrap(),
        stats.spec_accepted_tokens.value.unwrap(),
        stats.steps.unwrap(),
        figures.engine.info().settings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
    );
}

struct Figures {
    engine: CpuEngine,
    vocab: u32,
    period: u64,
    next: u64,
}

impl Figures {
    /// Sends requests at once; gives when each was sent and when its tokens came.
    fn run(&mut self, count: usize, prompt: usize, output: usize) -> Vec<(u64, Vec<u64>)> {
        let (sink, events) = event_channel();
        for _ in 0..count {
            self.next += 1;
            let token = |i: u64| ((i % self.period * 7919 + self.next * 104_729) % u64::from(self.vocab)) as u32;
            let request = Request {
                id: self.next,
                offset_ns: 0,
                session: None,
                prompt: Prompt::tokenized(String::new(), (0..prompt as u64).map(token).collect()),
                max_tokens: u32::try_from(output).unwrap(),
                sampling: Sampling::default(),
                ignore_eos: true,
                keep_answer: false,
            };
            self.engine.submit(Arc::new(request), &sink).unwrap();
        }
        drop(sink);
        let mut seen = BTreeMap::<u64, (u64, Vec<u64>)>::new();
        for event in events {
            let entry = seen.entry(event.request).or_default();
            match event.kind {
                EventKind::Sent => entry.0 = event.at,
                EventKind::Chunk(piece) => entry.1.extend((0..piece.tokens).map(|_| event.at)),
                EventKind::End(end) => assert_eq!(end.outcome, OutcomeKind::Success, "{:?}", end.reason),
                _ => {}
            }
        }
        seen.into_values().collect()
    }

    /// Prompt tokens per second of one request: the median of three.
    fn prefill(&mut self, size: usize) -> f64 {
        self.run(1, size, 1);
        let mut rates: Vec<f64> = (0..3)
            .map(|_| {
                let (sent, tokens) = &self.run(1, size, 1)[0];
                size as f64 / ((tokens[0] - sent) as f64 / 1e9)
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        rates[1]
    }

    /// Tokens per second of `size` requests while all of them decode.
    fn decode(&mut self, size: usize) -> f64 {
        let seen = self.run(size, PROMPT, OUTPUT);
        let from = seen.iter().map(|(_, tokens)| tokens[0]).max().unwrap();
        let to = seen.iter().map(|(_, tokens)| tokens[tokens.len() - 1]).min().unwrap();
        let tokens = seen.iter().flat_map(|(_, tokens)| tokens).filter(|&&at| from < at && at <= to).count();
        tokens as f64 / ((to - from) as f64 / 1e9)
    }
}

/// Bytes read per second by `threads` threads that each sum up their own part of `mib` MiB: the best of ten rounds, since
/// what is sought is what the memory can do. For the same reason it lies in huge pages and is read in four streams a thread.
fn bandwidth(clock: &Clock, threads: usize, mib: usize) -> f64 {
    let mut memory = memmap2::MmapMut::map_anon(mib << 20).unwrap();
    #[cfg(target_os = "linux")]
    {
        // Without them it is only slower.
        let _ = memory.advise(memmap2::Advice::HugePage);
    }
    memory.fill(1);
    let words: &[u64] = bytemuck::cast_slice(&memory);
    let part = words.len() / threads;
    let mut best = 0.0f64;
    for _ in 0..10 {
        let from = clock.now();
        let sum = std::thread::scope(|scope| {
            let sums: Vec<_> = words.chunks_exact(part).map(|part| scope.spawn(|| sum(part))).collect();
            sums.into_iter().map(|sum| sum.join().unwrap()).fold(0, u64::wrapping_add)
        });
        let seconds = (clock.now() - from) as f64 / 1e9;
        // Without a use of the sum nothing would be read.
        assert_ne!(std::hint::black_box(sum), 1);
        best = best.max((8 * part * threads) as f64 / seconds);
    }
    best
}

/// A sum in lanes, so that it waits for memory and not for additions.
fn sum(words: &[u64]) -> u64 {
    let mut lanes = [0u64; 8];
    let streams: Vec<&[[u64; 8]]> =
        words.chunks_exact(words.len() / 4).map(|stream| stream.as_chunks::<8>().0).collect();
    for i in 0..streams[0].len() {
        for stream in &streams[..4] {
            for (lane, word) in lanes.iter_mut().zip(&stream[i]) {
                *lane = lane.wrapping_add(*word);
            }
        }
    }
    lanes.into_iter().fold(0, u64::wrapping_add)
}
