//! Data sets, plans and workload files.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use sagellm_core::{Exit, NoProgress, Source, UserError};
use sagellm_model::{OpenOptions, Tokenizer, open_tokenizer};
use sagellm_plan::{PlanError, Planner, Spec, builtin};
use tempfile::TempDir;

use crate::memory::bounded;

/// A file that is written again for each input.
pub struct DataFile {
    _folder: TempDir,
    path: PathBuf,
}

static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| open_tokenizer("synthetic:tiny", &OpenOptions::default(), &NoProgress).expect("it is built in"));

impl DataFile {
    /// A file with a name of this ending.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { path: folder.path().join(name), _folder: folder }
    }

    /// Writes `bytes`, and checks what `read` makes of the file: its error, and that memory is bounded by their size.
    pub fn check<T>(&self, bytes: &[u8], read: impl FnOnce(PathBuf) -> Result<T, PlanError>) -> Option<T> {
        fs::write(&self.path, bytes).expect("a file in a temporary folder");
        // Blocks that are read ahead, and of each byte a request or a value.
        let allowed = (16 << 20) + 256 * bytes.len();
        match bounded(allowed, || read(self.path.clone())) {
            Ok(made) => Some(made),
            Err(error) => {
                let text = error.to_string();
                assert!(matches!(error.exit(), Exit::Input | Exit::Usage), "{text}");
                assert!(text.len() < 8192, "{} bytes of words", text.len());
                None
            }
        }
    }

    /// Writes `bytes`, and makes the first requests of the source that `source` makes of the file.
    pub fn try_source(&self, bytes: &[u8], source: impl FnOnce(PathBuf) -> Source) {
        self.check(bytes, |path| {
            let spec = builtin("short")?.remove(0);
            let spec = Spec { source: source(path), num_prompts: None, num_warmups: Some(0), ..spec };
            let planner = Planner::new(&spec, &TOKENIZER, 1 << 12)?;
            for request in planner.requests().take(4) {
                assert!(request?.max_tokens > 0);
            }
            Ok(())
        });
    }
}
