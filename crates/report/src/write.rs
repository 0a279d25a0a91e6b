//! Files appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{Error, SUMMARY_FILE, Summary, metrics_file};

/// Writes a file through a temporary one in the same folder, so that a reader sees the former content or the new one
/// and a full disk leaves nothing half-written.
///
/// # Errors
/// [`Error::Write`] with the file and the cause.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), Error> {
    write_atomic_with(path, |file| {
        file.write_all(content).map_err(|cause| Error::Write { path: path.to_owned(), cause })
    })
}

/// [`write_atomic`] of what `write` writes, which does not have to lie in memory.
///
/// # Errors
/// As [`write_atomic`], and those of `write`.
pub(crate) fn write_atomic_with(path: &Path, write: impl FnOnce(&mut File) -> Result<(), Error>) -> Result<(), Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    let mut file = temporary(path)?;
    // The file itself, whose errors do not name the temporary place.
    write(file.as_file_mut())?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Checks that a file can be written at `path` later, and leaves nothing there.
///
/// # Errors
/// As [`write_atomic`].
pub fn check_writable(path: &Path) -> Result<(), Error> {
    temporary(path).map(drop)
}

/// A temporary file next to `path`, which can take its place.
fn temporary(path: &Path) -> Result<tempfile::NamedTempFile, Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.is_dir() {
        return Err(failed(io::Error::other("it is a folder")));
    }
    // A rename would put a file in the place of a device or a pipe.
    if path.exists() && !path.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    builder().tempfile_in(folder).map_err(failed)
}

/// Temporary files are private by default; a result is as readable as any other file of the user.
fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sagellm-benchmark-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask is applied by the operating system.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

/// Writes a value as indented JSON with a newline at the end.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write_atomic(path, &text)
}

/// Writes `<workload>_metrics.json` for every workload and `benchmark_summary.json` into `folder`, which is made when it
/// is not there. Returns the files written, the summary last.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_results(folder: &Path, summary: &Summary) -> Result<Vec<PathBuf>, Error> {
    fs::create_dir_all(folder).map_err(|cause| Error::Write { path: folder.to_owned(), cause })?;
    let mut written = Vec::new();
    for workload in summary.workloads.iter() {
        let path = folder.join(metrics_file(workload.name()));
        write_json(&path, workload)?;
        written.push(path);
    }
    let path = folder.join(SUMMARY_FILE);
    write_json(&path, summary)?;
    written.push(path);
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_former_content_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_json(&path, &1).unwrap();
        write_json(&path, &[2]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[\n  2\n]\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn leaves_what_is_no_file_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let message = write_json(&path, &1).unwrap_err().to_string();
        assert!(message.ends_with("it is no regular file"), "{message}");
        assert!(path.exists() && !path.is_file());
    }

    #[cfg(unix)]
    #[test]
    fn is_as_readable_as_any_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plain"), "x").unwrap();
        write_atomic(&folder.path().join("ours"), b"x").unwrap();
        let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("ours"), mode("plain"));
    }

    #[test]
    fn errors_name_the_file_and_the_cause() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("a.json");
        let message = write_json(&path, &1).unwrap_err().to_string();
        assert_eq!(message, format!("cannot write `{}`: the folder does not exist", path.display()));
        let message = write_json(folder.path(), &1).unwrap_err().to_string();
        assert!(message.ends_with("it is a folder"), "{message}");
        let full = Error::Write { path: "a.json".into(), cause: io::ErrorKind::StorageFull.into() };
        assert_eq!(full.to_string(), "cannot write `a.json`: no space left on the device");
    }
}
