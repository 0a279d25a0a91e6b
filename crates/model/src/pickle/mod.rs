//! `pytorch_model.bin`: what `torch.save` writes, read without running anything.
//!
//! A pickle is a program for a small stack machine, and may call any function by name. The [`machine`] knows the few
//! constructors that a table of tensors needs ([`calls`]) and refuses every other name.

mod archive;
mod calls;
mod legacy;
mod machine;
mod tensors;

use std::collections::HashMap;
use std::path::Path;

use crate::ModelError;
use crate::checkpoint::Found;
use crate::map::MappedFile;

/// The tensors of one file, and its directory for the fingerprint.
pub(crate) fn read(path: &Path) -> Result<(HashMap<String, Found>, Vec<u8>), ModelError> {
    let file = MappedFile::open(path)?;
    if file.starts_with(b"PK\x03\x04") {
        archive::read(path, &file)
    } else if file.starts_with(legacy::MAGIC) {
        legacy::read(path, &file)
    } else {
        Err(ModelError::damaged(
            path,
            "it is not what torch.save writes: neither a zip archive nor a pickle of torch's",
        ))
    }
}
