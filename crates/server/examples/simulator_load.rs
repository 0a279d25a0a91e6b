//! How many tokens a simulator can send, and how late they are.
//!
//! `cargo run --release -p sagellm-server --example simulator_load -- [streams] [itl in ms] [tokens] [rounds]`
//!
//! The client is one thread that reads and throws away, so that with two processors each has its own. It starts its streams
//! evenly over one interval between tokens: of streams that start together all tokens are due together, and no server can
//! write them at once.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement to be read by a person")]

use std::io::{Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use sagellm_core::{Clock, seconds};
use sagellm_server::{SimulateOptions, Simulator};

const END: &[u8] = b"[DONE]\n\n\r\n0\r\n\r\n";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: f64| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (streams, itl, tokens, rounds) = (number(1024.0) as usize, number(10.0), number(128.0), number(3.0) as usize);
    let options = SimulateOptions { itl: Duration::from_secs_f64(itl / 1e3), ..SimulateOptions::default() };
    let options = if itl == 0.0 { SimulateOptions { ttft: Duration::ZERO, ..options } } else { options };
    let clock = Clock::start();
    let server = Simulator::start(options, ([127, 0, 0, 1], 0).into(), clock).unwrap();

    let body = format!("{{\"prompt\":\"a\",\"max_tokens\":{tokens},\"stream\":true}}");
    let request = format!("POST /v1/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut poll = Poll::new().unwrap();
    let mut clients: Vec<(TcpStream, usize, Vec<u8>)> = (0..streams)
        .map(|place| {
            let stream = std::net::TcpStream::connect(server.address()).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(place), Interest::READABLE).unwrap();
            (stream, rounds, Vec::new())
        })
        .collect();
    let start = clock.now();
    for (place, (stream, ..)) in (0u32..).zip(&mut clients) {
        let offset = itl * 1e6 * f64::from(place) / streams as f64;
        while clock.now() - start < offset as u64 {
            std::hint::spin_loop();
        }
        stream.write_all(request.as_bytes()).unwrap();
    }
    let (mut open, mut events, mut buffer) = (streams, Events::with_capacity(256), vec![0; 256 << 10]);
    while open > 0 {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            let (stream, left, tail) = &mut clients[event.token().0];
            while let Ok(count) = stream.read(&mut buffer) {
                assert!(count > 0, "the server closed a connection");
                tail.extend_from_slice(&buffer[count.saturating_sub(END.len())..count]);
                if tail.ends_with(END) {
                    tail.clear();
                    *left -= 1;
                    if *left == 0 {
                        open -= 1;
                    } else {
                        stream.write_all(request.as_bytes()).unwrap();
                    }
                }
                tail.drain(..tail.len().saturating_sub(END.len()));
            }
        }
    }
    let elapsed = seconds(clock.now() - start);
    let truth = server.truth();
    let (sent, writes) = truth
        .iter()
        .fold((0u64, 0u64), |(sent, writes), truth| (sent + u64::from(truth.tokens), writes + u64::from(truth.writes)));
    println!("{streams} streams, {itl} ms between tokens: {sent} tokens in {writes} writes in {elapsed:.2} s");
    println!("{:.0} tokens/s", sent as f64 / elapsed);
    for limit in [50, 100, 200, 300, 500, 1000, 5000] {
        let share = server.share_within(Duration::from_micros(limit));
        println!("late by at most {limit:>4} µs: {:.2} %", share * 100.0);
    }
}
