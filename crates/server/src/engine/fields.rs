//! The fields of a JSON body, read with errors that a client can act on.

use serde_json::{Map, Value};

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The field that is at fault.
    pub(crate) param: Option<&'static str>,
}

impl Refusal {
    /// A request that is wrong in `param`.
    pub(crate) fn field(param: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into(), param: Some(param) }
    }

    /// A request that is wrong as a whole.
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None }
    }
}

/// A body. `null` counts as absent.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Refusal::new(400, "the body has to be a JSON object")),
            Err(error) => Err(Refusal::new(400, format!("the body is no JSON: {error}"))),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &self,
        name: &'static str,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(read) => Ok(Some(read)),
                None => Err(Refusal::field(name, format!("`{name}` has to be {what}, but is {}", short(value)))),
            },
        }
    }

    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Refusal> {
        Ok(self.typed(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub(crate) fn number(&self, name: &'static str) -> Result<Option<f64>, Refusal> {
        self.typed(name, "a number", Value::as_f64)
    }

    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        self.typed(name, "a whole number", Value::as_i64)
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        self.typed(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A list of token ids.
    pub(crate) fn ids(&self, name: &'static str) -> Result<Option<Vec<u32>>, Refusal> {
        self.typed(name, "a list of token ids", ids)
    }

    /// The fields of an object within.
    pub(crate) fn object(&self, name: &'static str) -> Result<Fields, Refusal> {
        Ok(Self(self.typed(name, "an object", |value| value.as_object().cloned())?.unwrap_or_default()))
    }

    /// One text or several.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Vec<String>, Refusal> {
        let read = |value: &Value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        Ok(self.typed(name, "a text or a list of texts", read)?.unwrap_or_default())
    }
}

/// Token ids, if `value` is a list of them.
pub(crate) fn ids(value: &Value) -> Option<Vec<u32>> {
    value.as_array()?.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect()
}

/// A value for a message.
pub(crate) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
