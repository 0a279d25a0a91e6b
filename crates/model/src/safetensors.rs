//! `*.safetensors`: one file, or shards with an index.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype as FileDtype;

use crate::checkpoint::{Found, Stored};
use crate::map::MappedFile;
use crate::{Bytes, Dtype, ModelError};

/// Bytes before the header: its length.
const PREFIX: usize = 8;

/// The tensors of one file, and its header for the fingerprint.
pub(crate) fn read(path: &Path) -> Result<(HashMap<String, Found>, Vec<u8>), ModelError> {
    let file = MappedFile::open(path)?;
    let (header, metadata) = SafeTensors::read_metadata(&file)
        .map_err(|error| ModelError::damaged(path, format!("its safetensors header is not usable: {error}")))?;
    let base = PREFIX + header;
    let mut tensors = HashMap::new();
    for (name, info) in metadata.tensors() {
        let dtype = match info.dtype {
            FileDtype::F32 => Dtype::F32,
            FileDtype::F16 => Dtype::F16,
            FileDtype::BF16 => Dtype::Bf16,
            other => {
                tensors.insert(name, Err(format!("{other:?}")));
                continue;
            }
        };
        let (start, end) = info.data_offsets;
        let stored = Bytes::of_file(&file, base + start..base + end)
            .and_then(|data| Stored::dense(dtype, info.shape.clone(), data))
            .ok_or_else(|| ModelError::tensor(path, &name, "does not fit into the file"))?;
        tensors.insert(name, Ok(stored));
    }
    Ok((tensors, file[..base].to_vec()))
}

/// The files that an index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`) names, sorted.
pub(crate) fn shards(index: &Path) -> Result<BTreeSet<String>, ModelError> {
    let settings = crate::json::Settings::read(index)?;
    let map = settings.object("weight_map")?.ok_or_else(|| settings.missing("weight_map"))?;
    let mut files = BTreeSet::new();
    for (tensor, file) in map.entries() {
        match file.as_str() {
            // A name only: an index may not lead out of its folder.
            Some(name) if !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0']) => {
                files.insert(name.to_owned());
            }
            _ => return Err(map.error(tensor, "must be the name of a file in the same folder")),
        }
    }
    if files.is_empty() {
        return Err(settings.error("weight_map", "is empty"));
    }
    Ok(files)
}
