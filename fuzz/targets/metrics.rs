//! A server's metrics: every line means the same alone and among others, and all that is told is a number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sagellm_fuzz::memory;
use sagellm_telemetry::prometheus::{Exposition, parse};
use sagellm_telemetry::server_metrics::Reading;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A line of three bytes makes a sample with its name, and trees of both.
    let parsed = memory::bounded((1 << 16) + 512 * bytes.len(), || parse(text));
    let bad = text.split('\n').position(|line| parse(line).is_err());
    match &parsed {
        Ok(read) => {
            assert_eq!(bad, None);
            check(text, read);
        }
        Err(error) => assert_eq!(bad, Some(error.line - 1), "the first bad line is told"),
    }
    let mut reading = parsed.map_or_else(|_| Reading::default(), |read| Reading::new(&read, 1));
    if reading.add_slots(text).is_ok() {
        assert!(reading.sample.kv_used_tokens.is_some_and(f64::is_finite));
    }
});

fn check(text: &str, read: &Exposition<'_>) {
    let alone = text.split('\n').map(|line| parse(line).expect("each line was read"));
    let samples: usize = alone.map(|read| read.names().map(|name| read.samples(name).len()).sum::<usize>()).sum();
    assert_eq!(read.names().map(|name| read.samples(name).len()).sum::<usize>(), samples);
    // What is written down again is read back.
    let mut again = String::new();
    for sample in read.names().flat_map(|name| read.samples(name)) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<_> = sample.labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
        again += &format!("{}{{{}}} {}\n", sample.name, labels.join(","), sample.value);
    }
    let back = parse(&again).expect("what was read can be written");
    assert_eq!(format!("{:?}", samples_of(&back)), format!("{:?}", samples_of(read)));

    let reading = Reading::new(read, 1);
    let sample = &reading.sample;
    let told = [sample.running, sample.waiting, sample.kv_usage, sample.kv_used_tokens, sample.memory_bytes];
    let capacities = [reading.kv_capacity_tokens, reading.kv_capacity_bytes, reading.process_started];
    let counters = reading.counters.values().copied().map(Some);
    for value in told.into_iter().chain(capacities).chain(counters).flatten() {
        assert!(value.is_finite(), "{value} is no figure: {reading:?}");
    }
}

fn samples_of<'a>(read: &'a Exposition<'a>) -> Vec<&'a sagellm_telemetry::prometheus::Sample<'a>> {
    read.names().flat_map(|name| read.samples(name)).collect()
}
