//! Watches the output folder during a run: results that go nowhere must be noticed before the end.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use sagellm_core::{Exit, Failure};

use crate::terminal::Printer;

/// Time between checks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Reports once when a folder is removed or replaced by another. Dropping it ends the watch.
pub(super) struct FolderWatch {
    _end: Sender<()>,
}

impl FolderWatch {
    pub(super) fn start(folder: &Path, printer: &Printer) -> Self {
        let (end, ended) = mpsc::channel::<()>();
        let (folder, printer) = (folder.to_owned(), printer.clone());
        let first = identity(&folder);
        let watch = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if identity(&folder) != first {
                    printer.failure(&gone(folder));
                    return;
                }
            }
        };
        // Without the thread the disappearance is noticed at the end of the run.
        let _ = std::thread::Builder::new().name("folder-watch".into()).spawn(watch);
        Self { _end: end }
    }
}

fn gone(folder: PathBuf) -> Failure {
    Failure::new(Exit::Input, format!("the output directory `{}` disappeared during the run", folder.display()))
        .with_hint("the run goes on, and its results will be written again at the end")
}

/// What tells a folder from another in its place.
fn identity(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().map(|found| (found.dev(), found.ino()))
}
