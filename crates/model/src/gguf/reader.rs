//! The container: header, metadata, tensor directory. Every count is checked against what is left of the file before anything
//! is allocated by it. Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3.

use std::collections::HashMap;
use std::path::Path;

use crate::checkpoint::{Found, Stored};
use crate::map::MappedFile;
use crate::{Bytes, Dtype, ModelError};

pub(crate) const MAGIC: &[u8; 4] = b"GGUF";

/// What ggml allows.
const MAX_DIMENSIONS: u32 = 4;
/// Arrays of arrays exist in the format, but in no known file deeper than this.
const MAX_DEPTH: u32 = 4;
/// Of all arrays together. The largest vocabularies need about a million, and a value takes up to 24 times its bytes.
const MAX_ITEMS: usize = 1 << 22;
/// Least bytes of a metadata entry: key length, type, value.
const MIN_ENTRY: usize = 8 + 4 + 1;
/// Least bytes of a tensor's entry: name length, dimensions, type, offset.
const MIN_TENSOR: usize = 8 + 4 + 4 + 8;

/// A parsed file. Its texts are where they were: a vocabulary need not be in memory twice.
pub(crate) struct File<'a> {
    pub(crate) metadata: Metadata<'a>,
    pub(crate) tensors: HashMap<String, Found>,
    /// The bytes before the tensor data, for the fingerprint.
    pub(crate) header: &'a [u8],
}

/// A metadata value. Integers of all widths are one kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Integer(i64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    Array(Vec<Value<'a>>),
}

/// Reads `file`, which lies at `path`.
pub(crate) fn read<'a>(path: &'a Path, file: &'a MappedFile) -> Result<File<'a>, ModelError> {
    let mut cursor = Cursor { path, bytes: file, at: 0, items: 0 };
    if cursor.take(4, "the magic")? != MAGIC {
        return Err(ModelError::damaged(path, "it does not begin with `GGUF`"));
    }
    match cursor.u32("the version")? {
        2 | 3 => {}
        version => {
            let what = if version.swap_bytes() <= 3 {
                "big-endian GGUF is not supported".to_owned()
            } else {
                format!("GGUF version {version} is not supported")
            };
            return Err(ModelError::unsupported(path, what, "convert the model again to little-endian GGUF version 3"));
        }
    }
    let tensor_count = cursor.count(MIN_TENSOR, "the number of tensors")?;
    let entry_count = cursor.count(MIN_ENTRY, "the number of metadata entries")?;

    let mut values = HashMap::new();
    for _ in 0..entry_count {
        let key = cursor.text("a metadata key")?;
        let kind = cursor.u32(&format!("the type of `{key}`"))?;
        let value = cursor.value(kind, key, 0)?;
        if values.insert(key, value).is_some() {
            return Err(cursor.damaged(format!("the metadata key `{key}` occurs twice")));
        }
    }
    let metadata = Metadata { path, values };
    let alignment = metadata.size("general.alignment")?.unwrap_or(32);
    if alignment == 0 || !alignment.is_multiple_of(8) || alignment > 1 << 20 {
        return Err(metadata.error("general.alignment", &format!("= {alignment} is no usable alignment")));
    }

    let mut entries = Vec::new();
    for _ in 0..tensor_count {
        entries.push(cursor.tensor_entry()?);
    }
    let base = cursor.at.next_multiple_of(alignment);
    let mut tensors = HashMap::new();
    for TensorEntry { name, shape, kind, offset } in entries {
        let found = match dtype(kind) {
            Ok(dtype) => Ok(place(file, dtype, shape, base, offset, alignment)
                .map_err(|what| ModelError::tensor(path, name, what))?),
            Err(unsupported) => Err(unsupported),
        };
        if tensors.insert(name.to_owned(), found).is_some() {
            return Err(ModelError::tensor(path, name, "occurs twice"));
        }
    }
    let header = &file[..cursor.at];
    Ok(File { metadata, tensors, header })
}

struct TensorEntry<'a> {
    name: &'a str,
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

fn place(
    file: &MappedFile,
    dtype: Dtype,
    shape: Vec<usize>,
    base: usize,
    offset: u64,
    alignment: usize,
) -> Result<Stored, String> {
    let offset = usize::try_from(offset).map_err(|_| "lies past the end of the file")?;
    if !offset.is_multiple_of(alignment) {
        return Err(format!("begins at {offset}, which is no multiple of the alignment {alignment}"));
    }
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size)).ok_or("is too large")?;
    let length = dtype.bytes(elements).ok_or_else(|| format!("is no whole number of {} blocks", dtype.name()))?;
    let start = base.checked_add(offset).ok_or("lies past the end of the file")?;
    let end = start.checked_add(length).ok_or("lies past the end of the file")?;
    Bytes::of_file(file, start..end)
        .ok_or_else(|| format!("needs bytes up to {end}, but the file ends at {}", file.len()))
        .and_then(|data| {
            Stored::dense(dtype, shape, data)
                .ok_or_else(|| format!("has rows of no whole number of {} blocks", dtype.name()))
        })
}

fn dtype(kind: u32) -> Result<Dtype, String> {
    Ok(match kind {
        0 => Dtype::F32,
        1 => Dtype::F16,
        2 => Dtype::Q4_0,
        3 => Dtype::Q4_1,
        6 => Dtype::Q5_0,
        7 => Dtype::Q5_1,
        8 => Dtype::Q8_0,
        12 => Dtype::Q4K,
        13 => Dtype::Q5K,
        14 => Dtype::Q6K,
        30 => Dtype::Bf16,
        other => {
            const NAMES: [(u32, &str); 17] = [
                (9, "Q8_1"),
                (10, "Q2_K"),
                (11, "Q3_K"),
                (15, "Q8_K"),
                (16, "IQ2_XXS"),
                (17, "IQ2_XS"),
                (18, "IQ3_XXS"),
                (19, "IQ1_S"),
                (20, "IQ4_NL"),
                (21, "IQ3_S"),
                (22, "IQ2_S"),
                (23, "IQ4_XS"),
                (28, "F64"),
                (29, "IQ1_M"),
                (34, "TQ1_0"),
                (35, "TQ2_0"),
                (39, "MXFP4"),
            ];
            let name = NAMES.iter().find(|(number, _)| *number == other).map(|(_, name)| (*name).to_owned());
            return Err(name.unwrap_or_else(|| format!("ggml type {other}")));
        }
    })
}

struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
    /// Array items met so far.
    items: usize,
}

impl<'a> Cursor<'a> {
    fn damaged(&self, what: String) -> ModelError {
        ModelError::damaged(self.path, format!("{what} (at byte {})", self.at))
    }

    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], ModelError> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else { return Err(self.damaged(format!("{what} reaches past the end of the file"))) };
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], ModelError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn u32(&mut self, what: &str) -> Result<u32, ModelError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, ModelError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of things that take at least `least` bytes each.
    fn count(&mut self, least: usize, what: &str) -> Result<usize, ModelError> {
        let count = self.u64(what)?;
        let room = (self.bytes.len() - self.at) / least;
        match usize::try_from(count) {
            Ok(count) if count <= room => Ok(count),
            _ => Err(self.damaged(format!("{what} is {count}, more than the file has room for"))),
        }
    }

    fn text(&mut self, what: &str) -> Result<&'a str, ModelError> {
        let length = self.count(1, &format!("the length of {what}"))?;
        let bytes = self.take(length, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(_) => Err(self.damaged(format!("{what} is not UTF-8"))),
        }
    }

    fn value(&mut self, kind: u32, key: &str, depth: u32) -> Result<Value<'a>, ModelError> {
        let what = format!("the value of `{key}`");
        Ok(match kind {
            0 => Value::Integer(u8::from_le_bytes(self.array(&what)?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.array(&what)?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.array(&what)?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.array(&what)?).into()),
            4 => Value::Integer(self.u32(&what)?.into()),
            5 => Value::Integer(i32::from_le_bytes(self.array(&what)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(&what)?).into()),
            7 => match self.array::<1>(&what)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [byte] => return Err(self.damaged(format!("{what} is {byte}, which is neither true nor false"))),
            },
            8 => Value::Text(self.text(&what)?),
            9 if depth < MAX_DEPTH => {
                let kind = self.u32(&what)?;
                let least = match kind {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    4..=6 => 4,
                    9 => 4 + 8,
                    _ => 8,
                };
                let count = self.count(least, &format!("the length of `{key}`"))?;
                self.items += count;
                if self.items > MAX_ITEMS {
                    return Err(self.damaged(format!("its arrays hold more than {MAX_ITEMS} values")));
                }
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.value(kind, key, depth + 1)?);
                }
                Value::Array(items)
            }
            9 => return Err(self.damaged(format!("{what} is nested too deep"))),
            10 => match i64::try_from(self.u64(&what)?) {
                Ok(number) => Value::Integer(number),
                Err(_) => return Err(self.damaged(format!("{what} is larger than any that is known"))),
            },
            11 => Value::Integer(i64::from_le_bytes(self.array(&what)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(&what)?)),
            other => return Err(self.damaged(format!("{what} has the unknown type {other}"))),
        })
    }

    fn tensor_entry(&mut self) -> Result<TensorEntry<'a>, ModelError> {
        let name = self.text("a tensor's name")?;
        let dimensions = self.u32(&format!("the number of dimensions of `{name}`"))?;
        if dimensions > MAX_DIMENSIONS {
            return Err(
                self.damaged(format!("tensor `{name}` has {dimensions} dimensions; {MAX_DIMENSIONS} are allowed"))
            );
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.u64(&format!("the shape of `{name}`"))?;
            shape.push(usize::try_from(size).map_err(|_| self.damaged(format!("tensor `{name}` is too large")))?);
        }
        shape.reverse();
        let kind = self.u32(&format!("the type of `{name}`"))?;
        let offset = self.u64(&format!("the offset of `{name}`"))?;
        Ok(TensorEntry { name, shape, kind, offset })
    }
}

/// The key/value part of a file.
pub(crate) struct Metadata<'a> {
    path: &'a Path,
    values: HashMap<&'a str, Value<'a>>,
}

impl<'a> Metadata<'a> {
    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.values.get(key)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        self.typed(key, "a text", |value| match value {
            Value::Text(text) => Some(*text),
            _ => None,
        })
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.typed(key, "a whole number", |value| match value {
            Value::Integer(number) => usize::try_from(*number).ok(),
            _ => None,
        })
    }

    pub(crate) fn f32(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.typed(key, "a number", |value| match value {
            Value::Float(number) => Some(*number as f32),
            Value::Integer(number) => Some(*number as f32),
            _ => None,
        })
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.typed(key, "true or false", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    pub(crate) fn token_id(&self, key: &str) -> Result<Option<u32>, ModelError> {
        self.typed(key, "a token id", |value| match value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            _ => None,
        })
    }

    pub(crate) fn array(&self, key: &str) -> Result<Option<&[Value<'a>]>, ModelError> {
        self.typed(key, "an array", |value| match value {
            Value::Array(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    pub(crate) fn missing(&self, key: &str) -> ModelError {
        self.error(key, "is missing")
    }

    pub(crate) fn error(&self, key: &str, problem: &str) -> ModelError {
        ModelError::config(self.path, format!("metadata `{key}` {problem}"))
    }

    fn typed<'s, T>(
        &'s self,
        key: &str,
        kind: &str,
        read: impl FnOnce(&'s Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.values.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.error(key, &format!("must be {kind}"))),
        }
    }
}
