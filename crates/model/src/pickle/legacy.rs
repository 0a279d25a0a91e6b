//! The form of `torch.save` before torch 1.6, still met on the hub: five pickles (magic number, version, facts about the
//! machine, the state dict, the keys of the storages), then the storages in that order, each after its number of elements.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::machine::{Machine, Value};
use super::tensors;
use crate::ModelError;
use crate::checkpoint::Found;
use crate::map::MappedFile;

/// A pickle, protocol 2, of the number 0x1950a86a20f9469cfc6c.
pub(super) const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const VERSION: i128 = 1001;

pub(super) fn read(path: &Path, file: &MappedFile) -> Result<(HashMap<String, Found>, Vec<u8>), ModelError> {
    let bytes: &[u8] = file;
    let (_, version, at) = Machine::run(path, bytes, MAGIC.len())?;
    if version != Value::Integer(VERSION) {
        return Err(ModelError::damaged(path, format!("its version is not {VERSION}")));
    }
    let (facts, root, at) = Machine::run(path, bytes, at)?;
    if let Value::Dict(root) = root
        && facts.dict(root).contains(&(Value::Text("little_endian"), Value::Bool(false)))
    {
        let hint = "load it with torch on the machine that wrote it and save it as safetensors";
        return Err(ModelError::unsupported(path, "weights in big-endian order are not supported", hint));
    }
    let (machine, root, at) = Machine::run(path, bytes, at)?;
    let (keys, list, at) = Machine::run(path, bytes, at)?;
    let Value::List(list) = list else { return Err(ModelError::damaged(path, "it has no list of storages")) };

    let places = places(path, bytes, at, &machine, keys.list(list))?;
    let tensors = tensors::collect(path, file, &machine, root, |storage| {
        let what = || ModelError::damaged(path, format!("it has no storage `{}`", storage.key));
        places.get(storage.key).cloned().ok_or_else(what)
    })?;
    Ok((tensors, bytes[..at].to_vec()))
}

/// Where the bytes of every storage lie.
fn places<'a>(
    path: &Path,
    bytes: &[u8],
    mut at: usize,
    machine: &Machine<'a>,
    keys: &[Value<'a>],
) -> Result<HashMap<&'a str, Range<usize>>, ModelError> {
    let widths: HashMap<_, _> = machine.storages().iter().map(|storage| (storage.key, storage.element.width)).collect();
    let mut places = HashMap::new();
    for key in keys {
        let Value::Text(key) = *key else { return Err(ModelError::damaged(path, "the key of a storage is no text")) };
        let width = *widths
            .get(key)
            .ok_or_else(|| ModelError::damaged(path, format!("nothing says what the storage `{key}` holds")))?;
        let cut_off = || ModelError::damaged(path, format!("it ends inside the storage `{key}`"));
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or_else(cut_off)?;
        let length = usize::try_from(i64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(width));
        let start = at + 8;
        let end = length.and_then(|length| start.checked_add(length)).filter(|&end| end <= bytes.len());
        let end = end.ok_or_else(cut_off)?;
        places.insert(key, start..end);
        at = end;
    }
    Ok(places)
}
