//! Tiny requests that find out what a server understands. They are never measured.

use std::time::Duration;

use sagellm_core::{Prompt, Request};
use serde_json::Value;

use super::patience::Patience;
use super::{ProbeError, ProbeOptions};
use crate::chunk::{Chunk, Content, Usage};
use crate::request::BodyWriter;
use crate::sse::{EventReader, SseEvent};
use crate::{BlockingClient, MaxTokensField, RequestFields};

/// Tokens that a trial asks for.
const TOKENS: u32 = 8;
/// Milliseconds between attempts while the server is too busy for a trial.
const PAUSES: [u64; 5] = [250, 500, 1000, 2000, 4000];
/// Ids that every vocabulary has.
const IDS: [u32; 4] = [10, 11, 12, 13];

/// What the trials found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Understood {
    /// The fields that may be sent from now on.
    pub fields: RequestFields,
    /// Whether the stream ends with counts of tokens.
    pub usage: bool,
    /// Whether the counts tell prompt tokens found in the prefix cache.
    pub cached_tokens: bool,
    /// Whether a stream tells why it ended.
    pub finish_reason: bool,
    /// Whether the server tells its own times.
    pub server_times: bool,
    /// Whether the model thinks aloud before it answers.
    pub reasoning: bool,
    /// The model that answered.
    pub answered_model: Option<String>,
    /// Findings in words, by name.
    pub notes: Vec<(&'static str, String)>,
}

/// Findings in words, by name.
type Notes = Vec<(&'static str, String)>;

/// Where trials go.
pub(super) struct Trial<'a> {
    pub(super) client: &'a BlockingClient,
    pub(super) patience: &'a Patience,
    pub(super) options: &'a ProbeOptions,
    pub(super) model: &'a str,
}

/// A stream, boiled down.
#[derive(Debug, Default)]
struct Stream {
    usage: Option<Usage>,
    finish_reason: bool,
    length: bool,
    chunks: u32,
    reasoning: bool,
    server_times: bool,
    model: Option<String>,
}

impl Stream {
    /// Says so where chunks hold more than one token, which only a running count tells apart. It is not asked for
    /// otherwise: to count as it goes costs a server time.
    fn several_per_chunk(&self) -> Option<String> {
        let tokens = self.usage?.completion?;
        (tokens > self.chunks).then(|| format!("wanted: {tokens} tokens came in {} chunks", self.chunks))
    }
}

/// What a trial came to.
enum Outcome {
    Answered(Stream),
    Refused { status: u16, message: String },
}

impl Trial<'_> {
    /// Tries the fields, and leaves out those that are refused or have no effect.
    pub(super) fn run(&self) -> Result<Understood, ProbeError> {
        let (mut fields, stream, mut notes) = self.fields(self.options.fields.clone())?;
        if fields.ignore_eos && self.options.ignore_eos {
            let (obeyed, note) = ignores_eos(&stream);
            fields.ignore_eos = obeyed;
            fields.min_tokens &= obeyed;
            notes.push(("ignore_eos", note));
        }
        if fields.token_ids {
            let (taken, note) = self.token_ids(&fields)?;
            fields.token_ids = taken;
            notes.push(("token_ids", note));
        }
        if self.options.profile.accepts.continuous_usage
            && fields.include_usage
            && let Some(note) = stream.several_per_chunk()
        {
            let running = RequestFields { continuous_usage: true, ..fields.clone() };
            let refused = match self.ask(&running, TOKENS, None)? {
                Outcome::Answered(_) => String::new(),
                Outcome::Refused { message, .. } => format!("; refused: {message}"),
            };
            fields.continuous_usage = refused.is_empty();
            notes.push(("continuous_usage", note + &refused));
        }
        Ok(Understood {
            fields,
            usage: stream.usage.is_some_and(|usage| usage.completion.is_some()),
            cached_tokens: stream.usage.is_some_and(|usage| usage.cached.is_some()),
            finish_reason: stream.finish_reason,
            server_times: stream.server_times,
            reasoning: stream.reasoning,
            answered_model: stream.model,
            notes,
        })
    }

    /// Sends all fields; where that is refused, without one or another, and at last without all of them, from where each
    /// that is accepted is taken back.
    fn fields(&self, wanted: RequestFields) -> Result<(RequestFields, Stream, Notes), ProbeError> {
        let refusal = match self.ask(&wanted, TOKENS, None)? {
            Outcome::Answered(stream) => return Ok((wanted, stream, Vec::new())),
            Outcome::Refused { message, .. } => message,
        };
        let whole = self.body(&wanted, TOKENS, None)?;
        let mut left_out = Vec::new();
        for field in OPTIONAL {
            let fields = without(&wanted, &[field]);
            if self.body(&fields, TOKENS, None)? == whole {
                continue;
            }
            if let Outcome::Answered(stream) = self.ask(&fields, TOKENS, None)? {
                return Ok((fields, stream, vec![(field.0, format!("refused: {refusal}"))]));
            }
            left_out.push(field);
        }
        let mut fields = without(&wanted, &left_out);
        let mut stream = match self.ask(&fields, TOKENS, None)? {
            Outcome::Answered(stream) => stream,
            Outcome::Refused { status, message } => {
                return Err(ProbeError::Refused { url: self.url(), status, message });
            }
        };
        let mut notes = Vec::new();
        // Backwards, since a field may go with one that comes after it.
        for place in (0..left_out.len()).rev() {
            let field = left_out.remove(place);
            let more = without(&wanted, &left_out);
            match self.ask(&more, TOKENS, None)? {
                Outcome::Answered(answered) => (fields, stream) = (more, answered),
                Outcome::Refused { message, .. } => {
                    notes.push((field.0, format!("refused: {message}")));
                    left_out.insert(place, field);
                }
            }
        }
        Ok((fields, stream, notes))
    }

    /// Whether a prompt of token ids is taken as such, which the count of prompt tokens shows.
    fn token_ids(&self, fields: &RequestFields) -> Result<(bool, String), ProbeError> {
        Ok(match self.ask(fields, 1, Some(&IDS))? {
            Outcome::Refused { status, message } => (false, format!("refused (status {status}): {message}")),
            Outcome::Answered(stream) => match stream.usage.and_then(|usage| usage.prompt) {
                Some(count) if count as usize == IDS.len() => {
                    (true, format!("understood: {count} ids are {count} tokens"))
                }
                Some(count) => (false, format!("not understood: {} ids were read as {count} tokens", IDS.len())),
                None => (false, "accepted, but without usage it cannot be told how they were read".into()),
            },
        })
    }

    fn ask(&self, fields: &RequestFields, tokens: u32, ids: Option<&[u32]>) -> Result<Outcome, ProbeError> {
        let body = self.body(fields, tokens, ids)?;
        let mut pauses = PAUSES.iter();
        let answer = loop {
            let answer = self
                .client
                .post(self.path(), &body, self.patience.head(), self.patience.answer())
                .map_err(|why| ProbeError::NoAnswer { url: self.url(), why })?;
            // A server, or what stands before it, that is busy says nothing about the fields.
            match (answer.status, pauses.next()) {
                (429 | 502..=504, Some(&pause)) => std::thread::sleep(Duration::from_millis(pause)),
                (status @ (429 | 502..=504), None) => {
                    return Err(ProbeError::Refused { url: self.url(), status, message: answer.message() });
                }
                _ => break answer,
            }
        };
        if let Some(moved) = ProbeError::moved(&self.url(), &answer) {
            return Err(moved);
        }
        match answer.status {
            200..=299 => Ok(match read(answer.body.as_bytes()) {
                Ok(stream) => Outcome::Answered(stream),
                Err(Some(message)) => Outcome::Refused { status: answer.status, message },
                Err(None) => {
                    let why = format!("it is no stream of events but `{}`", answer.message());
                    return Err(ProbeError::Unusable { url: self.url(), why });
                }
            }),
            status @ (401 | 403) => Err(ProbeError::Access { url: self.url(), status }),
            // A model that is not there is told by 404 too, but then with words of its own.
            status @ (404 | 405) if serde_json::from_str::<Value>(&answer.body).ok().and_then(error_of).is_none() => {
                Err(ProbeError::NoEndpoint { url: self.url(), status })
            }
            status => Ok(Outcome::Refused { status, message: answer.message() }),
        }
    }

    /// The body that a measured request with these fields would have.
    fn body(&self, fields: &RequestFields, tokens: u32, ids: Option<&[u32]>) -> Result<Vec<u8>, ProbeError> {
        // Its own words, so that it warms no measured prompt.
        let prompt = Prompt { token_ids: ids.map(<[u32]>::to_vec), ..Prompt::text("Count up: one, two, three,") };
        let request = Request {
            id: 0,
            offset_ns: 0,
            session: None,
            prompt,
            max_tokens: tokens,
            sampling: self.options.sampling.clone(),
            ignore_eos: self.options.ignore_eos,
            keep_answer: false,
        };
        let bodies = BodyWriter::new(self.options.endpoint, self.model, fields)
            .map_err(|error| ProbeError::Stopped(error.into()))?;
        Ok(bodies.write(&request, Vec::new()))
    }

    fn path(&self) -> &'static str {
        self.options.profile.path(self.options.endpoint)
    }

    fn url(&self) -> String {
        self.client.target().shown(self.path())
    }
}

type LeaveOut = fn(&mut RequestFields);

/// The fields without those that are left out.
fn without(wanted: &RequestFields, left_out: &[(&str, LeaveOut)]) -> RequestFields {
    let mut fields = wanted.clone();
    left_out.iter().for_each(|(_, leave_out)| leave_out(&mut fields));
    fields
}

/// What can be left out of a request, or said otherwise.
const OPTIONAL: [(&str, LeaveOut); 8] = [
    ("min_tokens", |fields| fields.min_tokens = false),
    ("ignore_eos", |fields| (fields.ignore_eos, fields.min_tokens) = (false, false)),
    ("include_usage", |fields| fields.include_usage = false),
    ("top_k", |fields| fields.top_k = false),
    ("top_p", |fields| fields.top_p = false),
    ("seed", |fields| fields.seed = false),
    ("temperature", |fields| fields.temperature = false),
    ("max_completion_tokens", |fields| fields.max_tokens = MaxTokensField::MaxTokens),
];

/// A stream that was to ignore the end of sequence has the length asked for.
fn ignores_eos(stream: &Stream) -> (bool, String) {
    match stream.usage.and_then(|usage| usage.completion) {
        Some(TOKENS) => (true, format!("accepted: {TOKENS} of {TOKENS} tokens came")),
        Some(count) => (false, format!("not obeyed: {count} of {TOKENS} tokens came")),
        None if stream.length => (true, "accepted: the length asked for was reached".into()),
        None => (false, format!("not obeyed: it ended early, after {} chunks", stream.chunks)),
    }
}

/// Reads a whole stream: the message where it holds an error, nothing where it is no stream.
fn read(mut input: &[u8]) -> Result<Stream, Option<String>> {
    let mut reader = EventReader::new(usize::try_from(BlockingClient::LARGEST_BODY).unwrap_or(usize::MAX));
    let mut stream = Stream::default();
    let mut chunks = 0;
    while let Ok(Some(event)) = reader.next(&mut input) {
        chunks += 1;
        take(&mut stream, &event)?;
    }
    if let Ok(Some(event)) = reader.finish() {
        chunks += 1;
        take(&mut stream, &event)?;
    }
    if chunks == 0 { Err(None) } else { Ok(stream) }
}

fn take(stream: &mut Stream, event: &SseEvent<'_>) -> Result<(), Option<String>> {
    let chunk = Chunk::read(event.data);
    if event.error || chunk.as_ref().is_ok_and(Chunk::is_error) {
        let body: Option<Value> = serde_json::from_slice(event.data).ok();
        return Err(Some(body.and_then(error_of).unwrap_or_else(|| "it told an error in the stream".into())));
    }
    let Ok(chunk) = chunk else { return Ok(()) };
    stream.usage = chunk.usage().or(stream.usage);
    stream.server_times |= chunk.metrics().is_some() || chunk.timings().is_some();
    if let Some(model) = chunk.model() {
        stream.model = serde_json::from_str(model).ok();
    }
    for choice in chunk.choices.iter() {
        for content in choice.contents() {
            stream.chunks += 1;
            stream.reasoning |= matches!(content, Content::Reasoning(_));
        }
        stream.finish_reason |= choice.finish_reason().is_some();
        stream.length |= choice.finish_reason().is_some_and(|reason| reason == "length");
    }
    Ok(())
}

/// The message of an error of the OpenAI kind.
fn error_of(body: Value) -> Option<String> {
    ["/error/message", "/message"].into_iter().find_map(|place| Some(body.pointer(place)?.as_str()?.to_owned()))
}
