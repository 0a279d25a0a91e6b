//! Keys and passwords that a run was given. They are removed where a text enters: from the command line and its options
//! when they are noted, and from what a server says and writes when it is quoted. Finished output is never searched.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sagellm_core::redact::{
    REDACTED, hide_in_command, hide_in_json, hide_in_quote, is_secret_name, looks_secret, replace,
};

use crate::args::ServerArgs;

/// What is known to be secret. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<Vec<String>>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// Learns what the options of a server contain.
    pub(crate) fn learn(&self, options: &ServerArgs) {
        for header in &options.header {
            let (name, value) = header.split_once(['=', ':']).unwrap_or_default();
            // After the scheme, such as `Bearer`.
            let value = value.trim().rsplit(' ').next().unwrap_or_default();
            if is_secret_name(name) || looks_secret(value) {
                self.keep(value);
            }
            // The values of cookies.
            value.split(['=', ';']).filter(|part| looks_secret(part)).for_each(|part| self.keep(part));
        }
        let commands = [&options.launch, &options.base_url, &options.endpoint, &options.proxy];
        for command in commands.into_iter().flatten() {
            hide_in_command(command, &mut |secret| self.keep(secret));
        }
        if let Some(body) = options.extra_body.as_ref().and_then(|text| serde_json::from_str(text).ok()) {
            hide_in_json(body, &mut |secret| self.keep(secret));
        }
    }

    /// Learns one.
    pub(crate) fn keep(&self, secret: &str) {
        let (secret, mut known) = (secret.trim(), self.known());
        if !secret.is_empty() && !known.iter().any(|before| before == secret) {
            known.push(secret.to_owned());
            // One that contains another goes first, so that nothing of it is left.
            known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.known().clone()
    }

    /// What a server wrote, without them and without what looks like others.
    pub(crate) fn redact(&self, text: &str) -> String {
        let known = self.known();
        hide_in_quote(&known.iter().fold(text.to_owned(), |text, secret| replace(&text, secret, REDACTED)))
    }

    /// Removes them from a file, when one is in it.
    pub(crate) fn redact_file(&self, path: &Path) -> io::Result<()> {
        let mut reader = BufReader::new(File::open(path)?);
        let folder = path.parent().unwrap_or(Path::new(""));
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut clean = BufWriter::new(tempfile::NamedTempFile::with_prefix_in(super::run::TEMPORARY, folder)?);
        let (mut line, mut found) = (Vec::new(), false);
        while reader.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            let without = self.redact(&text);
            if without == text {
                clean.write_all(&line)?;
            } else {
                found = true;
                clean.write_all(without.as_bytes())?;
            }
            line.clear();
        }
        let clean = clean.into_inner().map_err(io::IntoInnerError::into_error)?;
        if found {
            fs::set_permissions(clean.path(), fs::metadata(path)?.permissions())?;
            clean.persist(path).map_err(|error| error.error)?;
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Vec<String>> {
        // The list is complete between any two changes of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A word of the command line without secrets.
pub(crate) fn hide_in_word(word: &str) -> String {
    hide_in_command(word, &mut |_| ())
}

/// A JSON body without secrets; what is not JSON is treated as any word, since it is refused.
pub(crate) fn hide_in_body(text: &str) -> String {
    let json = serde_json::from_str(text).ok();
    json.map_or_else(|| hide_in_word(text), |value| hide_in_json(value, &mut |_| ()).to_string())
}

/// A header without its value: any header can carry a key, and its name is enough.
pub(crate) fn hide_in_header(header: &str) -> String {
    match header.find(['=', ':']) {
        Some(end) => format!("{}={REDACTED}", &header[..end]),
        None => REDACTED.into(),
    }
}

/// The value of a note without secrets.
pub(crate) fn hide_in_note(name: &str, value: &str) -> String {
    if is_secret_name(name) { REDACTED.into() } else { hide_in_word(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_quoted_without_known_secrets() {
        let secrets = Secrets::default();
        ["sk-SECRET", "sk-SECRET-2", "test", "null", "1", "", " "].iter().for_each(|secret| secrets.keep(secret));
        assert_eq!(secrets.redact("xsk-SECRET-2y sk-SECRET"), "xREDACTEDy REDACTED");
        assert_eq!(secrets.redact("test null 1"), "test null 1", "ordinary words are not searched for");
        assert_eq!(format!("{secrets:?}"), "Secrets(…)");
    }

    #[test]
    fn words_lose_their_secrets() {
        assert_eq!(hide_in_header("X-Key=a=b"), "X-Key=REDACTED");
        assert_eq!(hide_in_header("sk-alone"), "REDACTED");
        assert_eq!(hide_in_body(r#"{"api_key":"null","n":1}"#), r#"{"api_key":"REDACTED","n":1}"#);
        assert_eq!(hide_in_note("token", "1"), "REDACTED");
        assert_eq!(hide_in_note("proxy", "http://u:p@h"), "http://REDACTED@h");
    }

    #[test]
    fn files_are_cleaned_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        let secrets = Secrets::default();
        secrets.keep("sk-SECRET");
        fs::write(&path, b"args: sk-SECRET\n\xff\nend").unwrap();
        secrets.redact_file(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"args: REDACTED\n\xff\nend");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(secrets.redact_file(&folder.path().join("missing")).is_err());
    }
}
