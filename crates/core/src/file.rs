//! Files from outside: opened only if they are regular files, and read only up to a stated limit.
//!
//! The reasons are [`FileError`]s inside of an [`io::Error`], so that they travel where errors of the system do.

use std::fs::{File, FileType, Metadata};
use std::io::{self, BufRead, Read, Seek};
use std::path::Path;

use thiserror::Error;

/// What Windows programs write at the beginning of UTF-8 text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// First bytes of the text that a clone without Git LFS leaves in place of a large file.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The size below which a file can be a Git LFS pointer, in bytes. Git LFS itself takes the same limit.
const MAX_LFS_POINTER: u64 = 1024;

/// Why a file is not read although the system grants it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FileError {
    /// A directory, a pipe, a socket or a device, which may block or never end.
    #[error("it is {0}, not a regular file")]
    Special(&'static str),
    /// The text that Git LFS leaves in place of a file.
    #[error("it is a Git LFS pointer, not the file itself")]
    LfsPointer,
    /// Longer than what is read of such a file.
    #[error("it is larger than {}", size(*.limit))]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A line longer than what is read of one.
    #[error("the line is longer than {}", size(*.limit))]
    LongLine {
        /// The limit in bytes.
        limit: u64,
    },
    /// JSON of more values than are read of such a file. In memory, a value takes up to 40 times its text.
    #[error("it holds more than {limit} values")]
    ManyValues {
        /// The limit.
        limit: usize,
    },
    /// Text in an encoding that is not read.
    #[error("it is encoded in {0}, expected UTF-8")]
    Encoding(&'static str),
}

impl FileError {
    /// The error in `error`, if that is what it holds.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What to do about it, as a phrase for a `hint:` line.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Special(_) => "name a regular file; write the output of a command into one first",
            Self::LfsPointer => "run `git lfs pull` in the clone, or download the file itself",
            Self::TooLarge { .. } | Self::LongLine { .. } | Self::ManyValues { .. } => {
                "check that this is the file that you meant"
            }
            Self::Encoding(_) => "save the file as UTF-8",
        }
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        let kind = match error {
            FileError::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// A limit in words.
fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Opens a regular file. Anything else is refused before it is opened, since opening a pipe waits for its other end.
///
/// # Errors
/// Those of the system, [`FileError::Special`], and [`FileError::LfsPointer`].
pub fn open(path: &Path) -> io::Result<File> {
    check(&path.metadata()?)?;
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    check(&metadata)?;
    if metadata.len() < MAX_LFS_POINTER {
        let mut beginning = Vec::with_capacity(LFS_POINTER.len());
        (&mut file).take(LFS_POINTER.len() as u64).read_to_end(&mut beginning)?;
        if beginning == LFS_POINTER {
            return Err(FileError::LfsPointer.into());
        }
        file.rewind()?;
    }
    Ok(file)
}

fn check(metadata: &Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(FileError::Special(kind(metadata.file_type())).into()),
    }
}

#[cfg(unix)]
fn kind(file: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match file {
        _ if file.is_dir() => "a directory",
        _ if file.is_fifo() => "a pipe",
        _ if file.is_socket() => "a socket",
        _ if file.is_char_device() || file.is_block_device() => "a device",
        _ => "a special file",
    }
}

#[cfg(not(unix))]
fn kind(file: FileType) -> &'static str {
    if file.is_dir() { "a directory" } else { "a special file" }
}

/// Reads a regular file of at most `limit` bytes. No more memory is asked for than it has bytes.
///
/// # Errors
/// As [`open`], and [`FileError::TooLarge`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    if length > limit {
        return Err(FileError::TooLarge { limit }.into());
    }
    // One byte more shows that it has grown.
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length as usize + 1)?;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { limit }.into());
    }
    Ok(bytes)
}

/// Reads the UTF-8 text in a regular file of at most `limit` bytes, without its byte-order mark.
///
/// # Errors
/// As [`read`], and [`FileError::Encoding`] or [`io::ErrorKind::InvalidData`] for what is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = read(path, limit)?;
    let marked = bytes.len() - without_mark(&bytes)?.len();
    bytes.drain(..marked);
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// The first bytes of a text without the byte-order mark.
///
/// # Errors
/// [`FileError::Encoding`] when the mark is of UTF-16.
pub fn without_mark(text: &[u8]) -> io::Result<&[u8]> {
    match text {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(FileError::Encoding("UTF-16").into()),
        _ => Ok(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)),
    }
}

/// Refuses JSON that may hold more than `limit` values, before it is parsed. Commas and brackets within strings count too.
///
/// # Errors
/// [`FileError::ManyValues`].
pub fn check_values(json: &[u8], limit: usize) -> io::Result<()> {
    match json.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > limit {
        true => Err(FileError::ManyValues { limit }.into()),
        false => Ok(()),
    }
}

/// Appends the next line of at most `limit` bytes to `line`, its end included. Returns the number of bytes, 0 at the end
/// of the file.
///
/// # Errors
/// Those of the reader, and [`FileError::LongLine`].
pub fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    let read = reader.take(limit as u64 + 1).read_until(b'\n', line)?;
    match read > limit {
        true => Err(FileError::LongLine { limit: limit as u64 }.into()),
        false => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn reason(error: &io::Error) -> String {
        FileError::of(error).unwrap().to_string()
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(reason(&read(&path, 4).unwrap_err()), "it is larger than 4 bytes");
        assert_eq!(read(&folder.path().join("none"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn special_files_are_refused_before_they_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(reason(&open(folder.path()).unwrap_err()), "it is a directory, not a regular file");
        #[cfg(unix)]
        {
            assert_eq!(reason(&open(Path::new("/dev/zero")).unwrap_err()), "it is a device, not a regular file");
            let pipe = folder.path().join("pipe");
            // Opening a pipe without a writer blocks.
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert_eq!(reason(&open(&pipe).unwrap_err()), "it is a pipe, not a regular file");
        }
    }

    #[test]
    fn a_git_lfs_pointer_is_not_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 52283111\n").unwrap();
        let error = read(&path, 1 << 20).unwrap_err();
        assert_eq!(FileError::of(&error), Some(&FileError::LfsPointer));
        // A short file of another kind is read from its beginning.
        fs::write(&path, "version").unwrap();
        assert_eq!(read(&path, 100).unwrap(), b"version");
    }

    #[test]
    fn text_is_read_without_its_byte_order_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, b"\xef\xbb\xbf{}").unwrap();
        assert_eq!(read_text(&path, 100).unwrap(), "{}");
        fs::write(&path, b"\xff\xfe{\0}\0").unwrap();
        assert_eq!(reason(&read_text(&path, 100).unwrap_err()), "it is encoded in UTF-16, expected UTF-8");
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path, 100).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn values_are_counted_before_they_are_parsed() {
        assert!(check_values(b"[1, {\"a\": [2, 3]}]", 5).is_ok());
        let error = check_values(b"[1, {\"a\": [2, 3]}]", 4).unwrap_err();
        assert_eq!(reason(&error), "it holds more than 4 values");
    }

    #[test]
    fn a_line_is_read_up_to_its_limit() {
        let mut text = &b"123\n4567\n"[..];
        let mut line = Vec::new();
        assert_eq!(read_line(&mut text, &mut line, 4).unwrap(), 4);
        assert_eq!(line, b"123\n");
        let error = read_line(&mut text, &mut line, 4).unwrap_err();
        assert_eq!(reason(&error), "the line is longer than 4 bytes");
        let mut endless = io::BufReader::new(io::repeat(b'a'));
        let mut line = Vec::new();
        assert!(read_line(&mut endless, &mut line, 1 << 20).is_err());
        assert!(line.capacity() <= 2 << 20, "{}", line.capacity());
    }
}
