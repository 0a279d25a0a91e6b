//! The zip form of `torch.save` (torch 1.6 and later): `NAME/data.pkl`, and `NAME/data/KEY` for every storage, all stored
//! without compression, so that the bytes can be used where they lie.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::machine::Machine;
use super::tensors;
use crate::ModelError;
use crate::checkpoint::Found;
use crate::map::MappedFile;

pub(super) fn read(path: &Path, file: &MappedFile) -> Result<(HashMap<String, Found>, Vec<u8>), ModelError> {
    let mut archive = Archive::open(path, file)?;
    if let Some(order) = archive.entry("byteorder")?
        && &file[order.clone()] != b"little"
    {
        let hint = "load it with torch on the machine that wrote it and save it as safetensors";
        return Err(ModelError::unsupported(path, "weights in big-endian order are not supported", hint));
    }
    let pickle = archive.entry("data.pkl")?.ok_or_else(|| ModelError::damaged(path, "it has no `data.pkl`"))?;
    let pickle = &file[pickle];
    let (machine, root, _) = Machine::run(path, pickle, 0)?;
    let tensors = tensors::collect(path, file, &machine, root, |storage| {
        let name = format!("data/{}", storage.key);
        archive.entry(&name)?.ok_or_else(|| ModelError::damaged(path, format!("it has no `{name}`")))
    })?;
    Ok((tensors, pickle.to_vec()))
}

struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<Cursor<&'a [u8]>>,
    length: usize,
    /// The folder that all entries lie in, with its slash.
    prefix: String,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path, file: &'a MappedFile) -> Result<Self, ModelError> {
        let bytes: &[u8] = file;
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| ModelError::damaged(path, format!("its zip directory is not usable: {error}")))?;
        let prefix = zip
            .file_names()
            .find_map(|name| {
                let name = name.ok()?;
                let prefix = name.strip_suffix("data.pkl")?;
                (prefix.find('/')? + 1 == prefix.len()).then(|| prefix.to_owned())
            })
            .ok_or_else(|| {
                ModelError::damaged(path, "it is a zip archive, but not of torch.save: it has no `data.pkl`")
            })?;
        Ok(Self { path, zip, length: bytes.len(), prefix })
    }

    /// Where the bytes of an entry lie.
    fn entry(&mut self, name: &str) -> Result<Option<Range<usize>>, ModelError> {
        let damaged = |what: &str| ModelError::damaged(self.path, format!("its entry `{name}` {what}"));
        let entry = match self.zip.by_name(&format!("{}{name}", self.prefix)) {
            Ok(entry) => entry,
            Err(zip::result::ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(damaged(&format!("is not usable: {error}"))),
        };
        if entry.compression() != CompressionMethod::Stored {
            return Err(damaged("is compressed, which torch.save never does"));
        }
        let range = entry.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            Some(start..start.checked_add(usize::try_from(entry.size()).ok()?)?)
        });
        match range {
            Some(range) if range.end <= self.length => Ok(Some(range)),
            _ => Err(damaged("reaches past the end of the file")),
        }
    }
}
