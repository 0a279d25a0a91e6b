//! From what the pickle describes to tensors.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::machine::{Machine, Storage, Value};
use crate::checkpoint::{Found, Stored};
use crate::map::MappedFile;
use crate::{Bytes, ModelError};

/// The tensors of a state dict. `place` says where in the file the bytes of a storage lie.
pub(super) fn collect<'a>(
    path: &Path,
    file: &MappedFile,
    machine: &Machine<'a>,
    root: Value<'a>,
    mut place: impl FnMut(&Storage<'a>) -> Result<Range<usize>, ModelError>,
) -> Result<HashMap<String, Found>, ModelError> {
    let Value::Dict(dict) = root else {
        return Err(ModelError::damaged(path, "it holds no table of tensors (a state dict)"));
    };
    let mut tensors = HashMap::new();
    for (name, value) in machine.dict(dict) {
        // What is no tensor, such as a training step, is no weight.
        let (Value::Text(name), Value::Tensor(tensor)) = (name, value) else { continue };
        let view = machine.tensor(*tensor);
        let storage = machine.storage(view.storage);
        let found = match storage.element.dtype {
            Err(dtype) => Err(dtype.to_owned()),
            Ok(dtype) => {
                let range = place(storage)?;
                let width = storage.element.width;
                let stored =
                    storage.elements.checked_mul(width).filter(|&length| length == range.len()).and_then(|_| {
                        let start = range.start.checked_add(view.offset.checked_mul(width)?)?;
                        if start > range.end {
                            return None;
                        }
                        let data = Bytes::of_file(file, start..range.end)?;
                        Stored::strided(dtype, view.shape.clone(), view.strides.clone(), data)
                    });
                Ok(stored.ok_or_else(|| ModelError::tensor(path, name, "reaches past its storage"))?)
            }
        };
        tensors.insert((*name).to_owned(), found);
    }
    if tensors.is_empty() {
        return Err(ModelError::damaged(path, "it holds no tensors at its top level"));
    }
    Ok(tensors)
}
