//! The folder of a run, which belongs to one run at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sagellm_core::{Exit, Failure, WallTime};
use sagellm_report::{MANIFEST_FILE, SUMMARY_FILE};
use serde_json::{Value, json};

use super::output::PLAN_FILE;
use super::server::SERVER_LOG;
use crate::signals::{ExitHook, Interrupt};

/// What the names of files begin with that no finished run leaves.
pub(crate) const TEMPORARY: &str = ".sagellm-benchmark-";
/// The lock. What it contains is for people: the lock itself is the system's, and ends with the process that has it.
const LOCK: &str = ".sagellm-benchmark.lock";
/// Where a run puts what is not kept.
const SCRATCH: &str = ".sagellm-benchmark-scratch";
/// Attempts to remove it while others still write to it.
const REMOVALS: usize = 100;
/// Where results of earlier runs are moved.
const EARLIER: &str = "earlier";

/// A folder that no other run writes to as long as this exists.
pub(crate) struct OwnedFolder {
    cleanup: Arc<Cleanup>,
    _hook: ExitHook,
}

impl OwnedFolder {
    /// Takes the folder, which is created when it does not exist. What a killed run left in it is removed.
    ///
    /// # Errors
    /// When another run has it, or it cannot be created or written.
    pub(crate) fn take(folder: &Path, interrupt: &Interrupt) -> Result<Self, Failure> {
        let made = create(folder)?;
        let lock = match lock(folder) {
            Ok(lock) => lock,
            Err(failure) => {
                remove_empty(&made);
                return Err(failure);
            }
        };
        let cleanup = Arc::new(Cleanup { folder: folder.to_owned(), made, ending: Mutex::new(false), _lock: lock });
        remove_temporary(folder);
        let doomed = Arc::clone(&cleanup);
        let hook = interrupt.while_kept(move || {
            // Other threads go on until the process ends.
            *doomed.ending() = true;
            // Also a file that is being written right now.
            remove_temporary(&doomed.folder);
            doomed.clean();
        });
        Ok(Self { cleanup, _hook: hook })
    }

    pub(super) fn path(&self) -> &Path {
        &self.cleanup.folder
    }

    /// A folder in it for what is not kept: it is removed with this, by a signal, or by the next run.
    pub(super) fn scratch(&self) -> Result<PathBuf, Failure> {
        let scratch = self.path().join(SCRATCH);
        let ending = self.cleanup.ending();
        if *ending {
            return Err(Failure::new(Exit::Interrupted, "interrupted"));
        }
        match fs::create_dir_all(&scratch) {
            Ok(()) => Ok(scratch),
            Err(error) => Err(cannot_create(&scratch, &error)),
        }
    }

    /// Removes what is not kept, now that the run has what it needs of it.
    pub(super) fn drop_scratch(&self) {
        self.cleanup.remove_scratch();
    }
}

impl Drop for OwnedFolder {
    fn drop(&mut self) {
        self.cleanup.clean();
    }
}

/// What is removed at the end.
struct Cleanup {
    folder: PathBuf,
    /// Folders that were created for this run, innermost first.
    made: Vec<PathBuf>,
    /// Whether the program ends at once, so that nothing new may be put there.
    ending: Mutex<bool>,
    _lock: File,
}

impl Cleanup {
    fn clean(&self) {
        self.remove_scratch();
        // While it is held: a run that opened it before sees that it is gone, and makes another.
        let _ = fs::remove_file(self.folder.join(LOCK));
        remove_empty(&self.made);
    }

    fn remove_scratch(&self) {
        // Other threads may still create a file while the others are being removed. What cannot be removed is
        // hidden, and the next run tries again.
        let removed = || fs::remove_dir_all(self.folder.join(SCRATCH));
        let _ = (0..REMOVALS)
            .find(|_| !matches!(removed(), Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty));
    }

    fn ending(&self) -> MutexGuard<'_, bool> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what a killed run left.
fn remove_temporary(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let _ = if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        }
    }
}

/// Removes folders that are empty, innermost first.
fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        // One that contains results stays.
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// Creates a folder, and returns what had to be created, innermost first.
fn create(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made: Vec<PathBuf> = folder.ancestors().take_while(missing).map(Path::to_owned).collect();
    fs::create_dir_all(folder).map_err(|error| cannot_create(folder, &error))?;
    Ok(made)
}

fn cannot_create(folder: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Input, format!("cannot create directory `{}`: {error}", folder.display()))
        .with_hint("choose another directory with `--output`")
}

/// Locks a folder by a file in it.
fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join(LOCK);
    let failed = |error: io::Error| {
        Failure::new(Exit::Input, format!("cannot lock `{}`: {error}", path.display()))
            .with_hint("choose another directory with `--output`")
    };
    loop {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            // A file system without locks: what can be checked is whether the process that wrote it still runs.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                let owner = owner(&mut file);
                if owner.as_ref().is_some_and(|owner| sagellm_telemetry::process_runs(owner.pid)) {
                    return Err(taken(folder, owner));
                }
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => return Err(taken(folder, owner(&mut file))),
        }
        // The run that had it before may have removed the file between the two steps above.
        if !is_at(&file, &path) {
            continue;
        }
        let text = json!({ "pid": std::process::id(), "started_at": WallTime::now().rfc3339() }).to_string();
        // The lock holds without it, and a disk that is full is reported by the file that matters.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        return Ok(file);
    }
}

/// Whether an open file is the one at a path.
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |found: io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    place(file.metadata()).is_some_and(|ours| place(fs::metadata(path)) == Some(ours))
}

/// The run that has a folder.
struct Owner {
    pid: u32,
    started_at: String,
}

/// What the lock says; nothing when its owner is still writing it.
fn owner(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    let pid = u32::try_from(value.get("pid")?.as_u64()?).ok()?;
    Some(Owner { pid, started_at: value.get("started_at")?.as_str()?.to_owned() })
}

fn taken(folder: &Path, owner: Option<Owner>) -> Failure {
    let who =
        owner.map_or_else(String::new, |Owner { pid, started_at }| format!(" (process {pid}, since {started_at})"));
    Failure::new(Exit::Input, format!("another run writes to `{}`{who}", folder.display()))
        .with_hint("wait for it, or choose another directory with `--output`")
}

/// The results that a folder has of an earlier run.
pub(super) struct Earlier {
    folder: PathBuf,
    /// When that run began, as its manifest says.
    pub(super) started_at: String,
    /// Where they are moved.
    pub(super) place: PathBuf,
}

impl Earlier {
    /// The results in a folder, if there are any. `more` are files that this run would replace, too.
    pub(super) fn find(folder: &Path) -> Option<Self> {
        let manifest = fs::read_to_string(folder.join(MANIFEST_FILE)).ok();
        let manifest: Option<Value> = manifest.and_then(|text| serde_json::from_str(&text).ok());
        let started_at = manifest.as_ref().and_then(|manifest| manifest.get("started_at")?.as_str()).map(str::to_owned);
        if results_in(folder).is_empty() {
            return None;
        }
        let started_at = started_at.unwrap_or_else(|| "an unknown time".into());
        let name: String = started_at.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let free = |nth: u32| {
            let name = if nth == 1 { name.clone() } else { format!("{name}-{nth}") };
            Some(folder.join(EARLIER).join(name)).filter(|place| !place.exists())
        };
        let place = (1..).find_map(free)?;
        Some(Self { folder: folder.to_owned(), started_at, place })
    }

    /// Moves the log of the server away, which is written before anything else.
    pub(super) fn keep_log(&self) -> Result<(), Failure> {
        self.keep_all(&[PathBuf::from(SERVER_LOG)])
    }

    /// Moves all results away, and `more` where it is in the folder. The log is left out when it is this run's by now.
    pub(super) fn keep(&self, more: Option<&Path>, log_is_new: bool) -> Result<(), Failure> {
        let mut files = results_in(&self.folder);
        files.retain(|file| !log_is_new || file != Path::new(SERVER_LOG));
        files.extend(more.and_then(|file| inside(&self.folder, file)));
        self.keep_all(&files)
    }

    fn keep_all(&self, files: &[PathBuf]) -> Result<(), Failure> {
        for file in files.iter().filter(|file| self.folder.join(file).is_file()) {
            let to = self.place.join(file);
            let moved = fs::create_dir_all(to.parent().unwrap_or(&self.place))
                .and_then(|()| fs::rename(self.folder.join(file), &to));
            moved.map_err(|error| {
                let message =
                    format!("cannot move `{}` to `{}`: {error}", self.folder.join(file).display(), to.display());
                Failure::new(Exit::Input, message).with_hint(
                    "choose another directory with `--output`, or give up the earlier results with `--overwrite`",
                )
            })?;
        }
        Ok(())
    }

    /// Deletes all results, likewise.
    pub(super) fn delete(&self, log_is_new: bool) -> Result<(), Failure> {
        for file in results_in(&self.folder).iter().filter(|file| !log_is_new || *file != Path::new(SERVER_LOG)) {
            let path = self.folder.join(file);
            fs::remove_file(&path)
                .map_err(|error| Failure::new(Exit::Input, format!("cannot delete `{}`: {error}", path.display())))?;
        }
        Ok(())
    }
}

/// The name of a file within a folder, if it is there.
pub(super) fn inside(folder: &Path, file: &Path) -> Option<PathBuf> {
    fs::canonicalize(file).ok()?.strip_prefix(fs::canonicalize(folder).ok()?).ok().map(Path::to_owned)
}

/// The files of a folder that are results of a run, by their names.
fn results_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [MANIFEST_FILE, SUMMARY_FILE, PLAN_FILE].map(PathBuf::from).into();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(workload) = name.strip_suffix(".records.jsonl") {
            files.extend([PathBuf::from(&name), PathBuf::from(sagellm_report::metrics_file(workload))]);
        }
    }
    files.retain(|file| folder.join(file).is_file());
    // A log alone is what a server left that did not start.
    if !files.is_empty() && folder.join(SERVER_LOG).is_file() {
        files.push(SERVER_LOG.into());
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Printer;

    #[test]
    fn a_folder_belongs_to_one_run_at_a_time() {
        let interrupt = Interrupt::listen_quietly(&Printer::new()).unwrap();
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b");
        let first = OwnedFolder::take(&folder, &interrupt).unwrap();
        let scratch = first.scratch().unwrap();
        fs::write(scratch.join("plan"), "x").unwrap();
        let failure = OwnedFolder::take(&folder, &interrupt).err().unwrap();
        assert_eq!(failure.exit, Exit::Input);
        let expected = format!("another run writes to `{}` (process {}, since 2", folder.display(), std::process::id());
        assert!(failure.message.starts_with(&expected), "{}", failure.message);
        drop(first);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing was kept, so nothing is left");
        fs::create_dir_all(folder.join(SCRATCH)).unwrap();
        fs::write(folder.join(".sagellm-benchmark-x"), "left by a killed run").unwrap();
        fs::write(folder.join(LOCK), r#"{"pid": 1, "started_at": "2026"}"#).unwrap();
        let second = OwnedFolder::take(&folder, &interrupt).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "only the lock");
        fs::write(folder.join("result"), "kept").unwrap();
        drop(second);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "only the result");
    }

    #[test]
    fn earlier_results_are_moved_or_deleted_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let write = |name: &str| {
            fs::write(folder.join(name), format!("{{\"started_at\": \"2026-01-02T03:04:05Z\", \"n\": \"{name}\"}}"))
                .unwrap()
        };
        write("server.log");
        assert!(Earlier::find(folder).is_none(), "not a run");
        let all = ["manifest.json", "w.records.jsonl", "w_metrics.json", "metrics.json", "server.log", "notes.md"];
        all.iter().for_each(|name| write(name));
        let earlier = Earlier::find(folder).unwrap();
        assert_eq!(earlier.started_at, "2026-01-02T03:04:05Z");
        earlier.keep_log().unwrap();
        write("server.log");
        earlier.keep(Some(&folder.join("metrics.json")), true).unwrap();
        let moved = folder.join("earlier/2026-01-02T03-04-05Z");
        let names = |folder: &Path| {
            let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&moved), ["manifest.json", "metrics.json", "server.log", "w.records.jsonl", "w_metrics.json"]);
        assert_eq!(names(folder), ["earlier", "notes.md", "server.log"]);
        all.iter().for_each(|name| write(name));
        let again = Earlier::find(folder).unwrap();
        assert_eq!(again.place, folder.join("earlier/2026-01-02T03-04-05Z-2"));
        again.delete(false).unwrap();
        assert_eq!(names(folder), ["earlier", "metrics.json", "notes.md"]);
    }
}
