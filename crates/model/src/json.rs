//! JSON files of a model folder: read with a limit, and with errors that name the key.

use std::path::{Path, PathBuf};

use sagellm_core::file;
use serde_json::{Map, Value};

use crate::ModelError;

/// Larger than any honest tokenizer or index (the largest today have some 35 MB).
const MAX_BYTES: u64 = 128 << 20;

/// Most values of settings. The longest list of shards today has some 100,000.
const MAX_VALUES: usize = 2_000_000;

/// The text of a small file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let text = file::read_text(path, MAX_BYTES).map_err(|error| ModelError::read(path, error))?;
    Ok(text.into_bytes())
}

/// An object of settings, with the file that it came from.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    path: PathBuf,
    /// Keys above this object, each with a dot behind it.
    prefix: String,
    map: Map<String, Value>,
}

impl Settings {
    /// Reads a file that holds one object.
    pub(crate) fn read(path: &Path) -> Result<Self, ModelError> {
        Self::parse(path, &read(path)?)
    }

    /// Reads a file that may be absent.
    pub(crate) fn read_optional(path: &Path) -> Result<Option<Self>, ModelError> {
        if path.exists() { Self::read(path).map(Some) } else { Ok(None) }
    }

    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        file::check_values(bytes, MAX_VALUES).map_err(|error| ModelError::read(path, error))?;
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Ok(Self { path: path.into(), prefix: String::new(), map }),
            Ok(_) => Err(ModelError::damaged(path, "it is not a JSON object")),
            Err(error) => Err(ModelError::damaged(path, format!("it is not JSON: {error}"))),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The value of `key`; `null` counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether `key` is there, be it `null`.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.map.iter()
    }

    pub(crate) fn str(&self, key: &str) -> Result<Option<&str>, ModelError> {
        self.typed(key, "a text", Value::as_str)
    }

    pub(crate) fn bool_or(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        Ok(self.typed(key, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    pub(crate) fn f32(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.typed(key, "a number", |value| value.as_f64().map(|number| number as f32))
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.typed(key, "a whole number", |value| value.as_u64().and_then(|number| usize::try_from(number).ok()))
    }

    pub(crate) fn required_size(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Self>, ModelError> {
        let map = self.typed(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Self { path: self.path.clone(), prefix: format!("{}{key}.", self.prefix), map: map.clone() }))
    }

    /// A token id, or a list of them.
    pub(crate) fn token_ids(&self, key: &str) -> Result<Vec<u32>, ModelError> {
        let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = self.typed(key, "a token id or a list of them", |value| match value {
            Value::Array(items) => items.iter().map(one).collect::<Option<Vec<_>>>(),
            item => one(item).map(|id| vec![id]),
        })?;
        Ok(ids.unwrap_or_default())
    }

    pub(crate) fn missing(&self, key: &str) -> ModelError {
        self.error(key, "is missing")
    }

    /// An error about `key`; `problem` continues a sentence that begins with the key.
    pub(crate) fn error(&self, key: &str, problem: &str) -> ModelError {
        ModelError::config(&self.path, format!("`{}{key}` {problem}", self.prefix))
    }

    /// A refusal of what `key` asks for.
    pub(crate) fn unsupported(&self, key: &str, problem: &str, hint: impl Into<String>) -> ModelError {
        ModelError::unsupported(&self.path, format!("`{}{key}` {problem}", self.prefix), hint)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        kind: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.error(key, &format!("must be {kind}"))),
        }
    }
}
