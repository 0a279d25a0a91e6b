//! The bytes of a request.

use std::io::Write as _;

use sagellm_core::Request;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::request_id::last_group;
use crate::{EndpointType, HttpError, HttpOptions, RequestFields, Secret};

/// Writes requests. What is the same for all of them is made once.
pub(crate) struct RequestWriter {
    /// Request line and headers up to the number of the request, which ends its `x-request-id`.
    head: Vec<u8>,
    bodies: BodyWriter,
    /// Room for a body, whose length has to be known before it is sent.
    body: Vec<u8>,
}

/// Writes the bodies of requests.
pub(crate) struct BodyWriter {
    endpoint: EndpointType,
    fields: RequestFields,
    /// The first and last fields of every body.
    first: Vec<u8>,
    last: Vec<u8>,
}

impl RequestWriter {
    /// Prepares to write requests to the target of `options`.
    ///
    /// # Errors
    /// When a header cannot be sent or settings contradict each other.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, HttpError> {
        let bodies = BodyWriter::new(options.endpoint_type, &options.model, &options.fields)?;
        Ok(Self { head: head(options)?, bodies, body: Vec::new() })
    }

    /// Names of the fields that such requests have, for the record.
    pub(crate) fn field_names(&self, examples: &[Request]) -> String {
        let mut names: Vec<String> = Vec::new();
        for example in examples {
            let body = self.bodies.write(example, Vec::new());
            let body: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
            names.extend(body.keys().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
        }
        names.join(" ")
    }

    /// Appends a whole request to `out`.
    pub(crate) fn write(&mut self, request: &Request, out: &mut Vec<u8>) {
        let body = std::mem::take(&mut self.body);
        self.body = self.bodies.write(request, body);
        out.extend_from_slice(&self.head);
        // Writing into memory cannot fail.
        let _ = write!(out, "{}\r\ncontent-length: {}\r\n\r\n", last_group(request.id), self.body.len());
        out.extend_from_slice(&self.body);
    }
}

impl BodyWriter {
    /// Prepares to write bodies that ask `model`.
    ///
    /// # Errors
    /// When settings contradict each other.
    pub(crate) fn new(endpoint: EndpointType, model: &str, fields: &RequestFields) -> Result<Self, HttpError> {
        let fields = fields.clone();
        fields.check()?;
        let extra = &fields.extra_body;
        let mut first = Vec::new();
        let mut last = Vec::new();
        push(&mut first, extra, "model", model);
        push(&mut last, extra, "stream", &true);
        let mut stream_options = Map::new();
        if fields.include_usage {
            stream_options.insert("include_usage".into(), json!(true));
        }
        if fields.continuous_usage {
            stream_options.insert("continuous_usage_stats".into(), json!(true));
        }
        if !stream_options.is_empty() {
            push(&mut last, extra, "stream_options", &stream_options);
        }
        for (name, value) in extra {
            push(&mut last, &Map::new(), name, value);
        }
        Ok(Self { endpoint, first, last, fields })
    }

    /// The body of a request, written over what `body` held.
    pub(crate) fn write(&self, request: &Request, mut body: Vec<u8>) -> Vec<u8> {
        let fields = &self.fields;
        let sampling = &request.sampling;
        body.clear();
        body.push(b'{');
        body.extend_from_slice(&self.first);
        let mut put = Put { out: &mut body, extra: &fields.extra_body };
        match (self.endpoint, &request.prompt.token_ids) {
            (EndpointType::Chat, _) => match request.prompt.messages.as_slice() {
                [] => put.field("messages", &[Said { role: "user", content: &request.prompt.text }]),
                messages => put.field("messages", messages),
            },
            (EndpointType::Completions, Some(ids)) if fields.token_ids => put.field("prompt", ids),
            (EndpointType::Completions, _) => put.field("prompt", &request.prompt.text),
        }
        put.field(fields.max_tokens.name(), &request.max_tokens);
        if request.ignore_eos && fields.ignore_eos {
            put.field("ignore_eos", &true);
        }
        if request.ignore_eos && fields.min_tokens {
            put.field("min_tokens", &request.max_tokens);
        }
        if fields.temperature {
            put.field("temperature", &sampling.temperature);
        }
        if fields.top_p && sampling.top_p != 1.0 {
            put.field("top_p", &sampling.top_p);
        }
        if fields.top_k && sampling.top_k != 0 {
            put.field("top_k", &sampling.top_k);
        }
        if fields.seed && sampling.temperature != 0.0 {
            put.field("seed", &sampling.seed);
        }
        if !self.last.is_empty() {
            comma(&mut body);
            body.extend_from_slice(&self.last);
        }
        body.push(b'}');
        body
    }
}

/// A [`Message`](sagellm_core::Message) that is borrowed.
#[derive(Serialize)]
struct Said<'a> {
    role: &'a str,
    content: &'a str,
}

/// Puts fields into a body, but for those that the extra body replaces.
struct Put<'a> {
    out: &'a mut Vec<u8>,
    extra: &'a Map<String, Value>,
}

impl Put<'_> {
    fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        push(self.out, self.extra, name, value);
    }
}

fn push(out: &mut Vec<u8>, extra: &Map<String, Value>, name: &str, value: &(impl Serialize + ?Sized)) {
    if extra.contains_key(name) {
        return;
    }
    comma(out);
    // Writing into memory cannot fail, and what is written here has only texts as keys.
    let _ = serde_json::to_writer(&mut *out, name);
    out.push(b':');
    let _ = serde_json::to_writer(&mut *out, value);
}

/// Parts a field from the one before it, if there is one.
fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'{')) {
        out.push(b',');
    }
}

/// Request line and headers, up to the number of the request.
fn head(options: &HttpOptions) -> Result<Vec<u8>, HttpError> {
    let target = &options.target;
    let place = target.path(&options.path);
    if !place.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(HttpError::Url { url: place, why: "it holds what no path of a request may hold".into() });
    }
    check_headers(&options.headers, options.api_key.as_ref())?;
    let given = |wanted: &str| options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let mut headers: Vec<(&str, String)> = [
        ("host", target.host_header()),
        ("user-agent", concat!("sagellm-benchmark/", env!("CARGO_PKG_VERSION")).into()),
        ("accept", "text/event-stream".into()),
        ("accept-encoding", "identity".into()),
        ("content-type", "application/json".into()),
    ]
    .into_iter()
    .filter(|(name, _)| !given(name))
    .collect();
    headers.extend(options.headers.iter().map(|(name, value)| (name.as_str(), value.clone())));
    if let Some(key) = &options.api_key {
        headers.push(("authorization", format!("Bearer {}", key.reveal())));
    }
    let mut head = format!("POST {place} HTTP/1.1\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", &value, "\r\n"]);
    }
    head.extend(["x-request-id: ", options.request_ids.prefix()]);
    Ok(head.into_bytes())
}

/// Refuses headers that the client sets itself, and headers and keys that cannot be sent. No message repeats a value.
pub(crate) fn check_headers(headers: &[(String, String)], api_key: Option<&Secret>) -> Result<(), HttpError> {
    const OWN: [&str; 4] = ["content-length", "transfer-encoding", "connection", "x-request-id"];
    for (name, value) in headers {
        check_header(name, value)?;
        if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(HttpError::Setting(format!("the header `{name}` is set by the client itself")));
        }
    }
    let Some(key) = api_key else { return Ok(()) };
    if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        let both = "an API key and a header `authorization` are given, but a request has only one of them";
        return Err(HttpError::Setting(both.into()));
    }
    if !key.reveal().bytes().all(|byte| byte.is_ascii_graphic()) || key.reveal().is_empty() {
        let why = "the API key holds a character that a header cannot have: expected printable ASCII without spaces";
        return Err(HttpError::Setting(why.into()));
    }
    Ok(())
}

/// Refuses what would end a header early or is none (RFC 9110, section 5).
fn check_header(name: &str, value: &str) -> Result<(), HttpError> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(HttpError::Setting(format!("`{}` is no name of a header", name.escape_debug())));
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(HttpError::Setting(format!("the value of the header `{name}` holds a control character")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sagellm_core::{Prompt, Sampling};

    use super::*;
    use crate::MaxTokensField;
    use crate::options::tests::options;

    fn request() -> Request {
        Request {
            id: 7,
            offset_ns: 0,
            session: None,
            prompt: Prompt::tokenized("say \"hi\"\n".into(), vec![1, 2]),
            max_tokens: 16,
            sampling: Sampling::default(),
            ignore_eos: true,
            keep_answer: false,
        }
    }

    /// Head and body of a request.
    fn written(options: &HttpOptions, request: &Request) -> (String, String) {
        let mut out = Vec::new();
        RequestWriter::new(options).unwrap().write(request, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.into(), body.into())
    }

    #[test]
    fn a_request_holds_what_openai_knows() {
        let options = options("http://h:1/base");
        let (head, body) = written(&options, &request());
        assert_eq!(
            body,
            r#"{"model":"m","prompt":"say \"hi\"\n","max_tokens":16,"temperature":0.0,"stream":true,"stream_options":{"include_usage":true}}"#
        );
        let expected = format!(
            "POST /base/v1/completions HTTP/1.1\r\nhost: h:1\r\nuser-agent: sagellm-benchmark/{}\r\n\
             accept: text/event-stream\r\naccept-encoding: identity\r\ncontent-type: application/json\r\n\
             x-request-id: {}\r\ncontent-length: {}",
            env!("CARGO_PKG_VERSION"),
            options.request_ids.of(7),
            body.len()
        );
        assert_eq!(head, expected);
    }

    #[test]
    fn further_fields_are_sent_where_they_are_understood() {
        let mut options = options("http://h");
        options.fields = RequestFields {
            continuous_usage: true,
            ignore_eos: true,
            min_tokens: true,
            max_tokens: MaxTokensField::MaxCompletionTokens,
            top_k: true,
            token_ids: true,
            ..RequestFields::default()
        };
        let mut request = request();
        request.sampling = Sampling { temperature: 0.5, top_p: 0.25, top_k: 4, seed: 9 };
        assert_eq!(
            written(&options, &request).1,
            r#"{"model":"m","prompt":[1,2],"max_completion_tokens":16,"ignore_eos":true,"min_tokens":16,"temperature":0.5,"top_p":0.25,"top_k":4,"seed":9,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#
        );
        request.prompt.token_ids = None;
        assert!(written(&options, &request).1.contains(r#""prompt":"say"#));
    }

    #[test]
    fn chat_has_messages() {
        let mut options = options("http://h");
        options.endpoint_type = EndpointType::Chat;
        options.fields.token_ids = true;
        let body = written(&options, &request()).1;
        assert!(
            body.starts_with(r#"{"model":"m","messages":[{"role":"user","content":"say \"hi\"\n"}],"max"#),
            "{body}"
        );
    }

    #[test]
    fn the_extra_body_replaces_our_fields() {
        let mut options = options("http://h");
        let extra = json!({"model": "x", "temperature": 1, "stop": ["a"], "stream_options": null});
        options.fields.extra_body = extra.as_object().unwrap().clone();
        let body = written(&options, &request()).1;
        assert_eq!(
            body,
            r#"{"prompt":"say \"hi\"\n","max_tokens":16,"stream":true,"model":"x","temperature":1,"stop":["a"],"stream_options":null}"#
        );
        for (name, value) in [("stream", json!(false)), ("n", json!(2)), ("best_of", json!(4))] {
            options.fields.extra_body = Map::from_iter([(name.into(), value)]);
            let error = RequestWriter::new(&options).err().unwrap().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
        options.fields.extra_body = Map::from_iter([("n".into(), json!(1))]);
        assert!(RequestWriter::new(&options).is_ok());
    }

    #[test]
    fn headers_are_added_and_checked() {
        let mut options = options("http://h");
        options.api_key = Some(Secret::new("sk-1"));
        options.headers = vec![("X-Tenant".into(), "7".into()), ("User-Agent".into(), "me".into())];
        let (head, _) = written(&options, &request());
        assert!(head.contains("\r\nX-Tenant: 7\r\nUser-Agent: me\r\nauthorization: Bearer sk-1\r\n"), "{head}");
        assert!(!head.contains("sagellm-benchmark/"), "{head}");
        options.headers.push(("Authorization".into(), "Basic x".into()));
        assert!(RequestWriter::new(&options).is_err(), "two authorizations");
        for (name, value) in [("a b", "x"), ("", "x"), ("a", "x\r\nb: y"), ("Content-Length", "1")] {
            options.headers = vec![(name.into(), value.into())];
            assert!(RequestWriter::new(&options).is_err(), "{name:?}: {value:?}");
        }
        options.headers.clear();
        options.api_key = Some(Secret::new("sk\n1"));
        let error = RequestWriter::new(&options).err().unwrap().to_string();
        assert!(!error.contains("sk"), "{error}");
    }

    #[test]
    fn the_fields_that_are_sent_can_be_named() {
        let mut options = options("http://h");
        options.fields.ignore_eos = true;
        let writer = RequestWriter::new(&options).unwrap();
        let heeding = Request { ignore_eos: false, ..request() };
        let fields = "model prompt max_tokens temperature stream stream_options";
        assert_eq!(writer.field_names(std::slice::from_ref(&heeding)), fields);
        let mut random = request();
        random.sampling.temperature = 1.0;
        assert_eq!(writer.field_names(&[heeding, random]), format!("{fields} ignore_eos seed"));
    }
}
