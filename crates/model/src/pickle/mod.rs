//! pickle
use crate::ModelError;
use crate::checkpoint::Found;
use std::collections::HashMap;
use std::path::Path;
pub(crate) fn read(path: &Path) -> Result<(HashMap<String, Found>, Vec<u8>), ModelError> {
    Err(ModelError::unsupported(path, "x", "x"))
}
