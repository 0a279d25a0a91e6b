//! What the tests of the client share.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sagellm_core::{
    Backend, BackendInfo, Clock, EventKind, EventSink, Events, HttpFacts, ModelInfo, Prompt, Record, RecordBuilder,
    Request, Sampling, Stamp, event_channel,
};
use sagellm_http::{HttpBackend, HttpOptions, Target};

/// No answer of a test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Options for the model `m` of a server.
pub(crate) fn options(url: &str) -> HttpOptions {
    let model = ModelInfo {
        name: "m".into(),
        path: None,
        architecture: None,
        parameters: None,
        dtype: None,
        context_length: None,
        synthetic: false,
        fingerprint: None,
    };
    let info =
        BackendInfo { name: "openai".into(), version: None, model, stamp: Stamp::User, settings: BTreeMap::new() };
    let mut options = HttpOptions::new(Target::parse(url).unwrap(), "/v1/completions", "m", info);
    options.client_threads = 1;
    options
}

/// A request for a few tokens.
pub(crate) fn request(id: u64) -> Request {
    Request {
        id,
        offset_ns: 0,
        session: None,
        prompt: Prompt::text("Hello"),
        max_tokens: 16,
        sampling: Sampling::default(),
        ignore_eos: false,
        keep_answer: false,
    }
}

/// A backend and the events of its requests.
pub(crate) struct Client {
    pub(crate) backend: HttpBackend,
    sink: EventSink,
    events: Events,
}

/// A request that has ended: its record, and whether its events came in the order that is promised.
pub(crate) struct Ended {
    pub(crate) record: Record,
    pub(crate) http: HttpFacts,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn start(options: HttpOptions, clock: Clock) -> Self {
        let (sink, events) = event_channel();
        Self { backend: HttpBackend::start(options, None, clock).unwrap(), sink, events }
    }

    pub(crate) fn submit(&self, request: Request) {
        self.backend.submit(Arc::new(request), &self.sink).unwrap();
    }

    pub(crate) fn submit_at(&self, request: Request, due: u64) {
        self.backend.submit_at(Arc::new(request), due, &self.sink).unwrap();
    }

    /// Sends a request and waits for its end.
    pub(crate) fn ask(&mut self, request: Request) -> Ended {
        self.submit(request.clone());
        self.ends(&[request]).remove(0)
    }

    /// Waits for the end of requests that were submitted, and checks the promises of a backend on the way.
    pub(crate) fn ends(&mut self, requests: &[Request]) -> Vec<Ended> {
        let stamp = self.backend.info().stamp;
        let builder = |request: &Request| (RecordBuilder::new(request, 0, false, stamp), String::new(), 0);
        let mut open: BTreeMap<u64, _> = requests.iter().map(|request| (request.id, builder(request))).collect();
        let mut ended = BTreeMap::new();
        while !open.is_empty() {
            let mut event = self.events.next_within(PATIENCE).expect("an answer ends in time");
            let output = match &mut event.kind {
                EventKind::End(end) => end.output_text.take(),
                _ => None,
            };
            let (record, text, last) = open.get_mut(&event.request).expect("no event comes after the end");
            assert!(event.at >= *last, "events come in the order of time");
            *last = event.at;
            match &event.kind {
                EventKind::Sent => assert!(!record.sent(), "a request is sent once"),
                EventKind::Chunk(piece) => {
                    assert!(record.sent(), "no token comes before the request was sent");
                    text.push_str(piece.text.as_deref().unwrap_or_default());
                }
                _ => {}
            }
            record.apply(&event);
            if record.ended() {
                let (record, text, _) = open.remove(&event.request).unwrap();
                let mut record = record.finish();
                if let Some(output) = output {
                    self.backend.complete(&mut record, output);
                }
                let http = record.http.clone().expect("an HTTP request has facts");
                ended.insert(event.request, Ended { record, http, text });
            }
        }
        requests.iter().map(|request| ended.remove(&request.id).unwrap()).collect()
    }
}
