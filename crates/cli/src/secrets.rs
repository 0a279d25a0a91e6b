//! Texts that must appear in no output.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::args::ServerArgs;

/// Stands in place of a secret.
const REDACTED: &str = "REDACTED";
/// A text that is shorter could be part of a word that has nothing to do with it, and is redacted only as a whole word.
const LONG: usize = 8;
/// What the last part of a name ends with that goes with a secret.
const NAMES: [&str; 9] =
    ["key", "keys", "token", "secret", "secrets", "password", "passwd", "authorization", "credentials"];

/// What is known to be secret. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<Vec<String>>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// Learns what the options of a server hold.
    pub(crate) fn learn(&self, options: &ServerArgs) {
        for header in &options.header {
            let (name, value) = header.split_once(['=', ':']).unwrap_or_default();
            if is_secret_name(name) {
                // After the scheme, such as `Bearer`.
                self.keep(value.rsplit(' ').next().unwrap_or_default());
            }
        }
        if let Some(command) = &options.launch {
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
            // One that holds another goes first, so that nothing of it is left.
            known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.known().clone()
    }

    /// A text without them.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.known().iter() {
            text = replace(&text, secret);
        }
        text
    }

    /// Takes them out of a file, when one is in it.
    pub(crate) fn redact_file(&self, path: &Path) -> io::Result<()> {
        let mut reader = BufReader::new(File::open(path)?);
        let folder = path.parent().unwrap_or(Path::new(""));
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut clean = BufWriter::new(tempfile::NamedTempFile::new_in(folder)?);
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
        // The list is whole between any two of its changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn replace(text: &str, secret: &str) -> String {
    if secret.len() >= LONG {
        return text.replace(secret, REDACTED);
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let (mut out, mut done) = (String::new(), 0);
    for (at, _) in text.match_indices(secret) {
        let end = at + secret.len();
        if !text[..at].ends_with(is_word) && !text[end..].starts_with(is_word) {
            out.push_str(&text[done..at]);
            out.push_str(REDACTED);
            done = end;
        }
    }
    out + &text[done..]
}

/// Whether what goes by this name, such as `--api-key` or `HF_TOKEN`, is a secret. `--max-tokens` and `--tokenizer` are not.
fn is_secret_name(name: &str) -> bool {
    let name = name.trim_matches(['-', '"', '\'']).to_ascii_lowercase();
    let last = name.rsplit(['-', '_', '.']).next().unwrap_or_default();
    NAMES.iter().any(|ending| last.ends_with(ending))
}

/// A command without the values of options and variables that are secret, which `found` is told.
pub(crate) fn hide_in_command(command: &str, found: &mut dyn FnMut(&str)) -> String {
    let mut out = String::new();
    let mut expected = false;
    for piece in command.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let gap = &piece[word.len()..];
        let option = word.trim_start_matches(['"', '\'']);
        // What comes after an option's name is its value, unless it is another option.
        let before = if std::mem::take(&mut expected) && !option.starts_with('-') {
            Some("")
        } else {
            word.split_once('=').map(|(name, _)| name).filter(|name| is_secret_name(name))
        };
        match before {
            Some(_) if word.is_empty() => {
                out.push_str(word);
                expected = true;
            }
            Some(name) => {
                let value = &word[if name.is_empty() { 0 } else { name.len() + 1 }..];
                // Quotes, and what ends a command of a shell.
                let bare = value.trim_matches(['"', '\'', ';', '&', '|', '(', ')']);
                found(bare);
                bare.split(',').for_each(&mut *found);
                out.push_str(&word[..word.len() - value.len()]);
                out.push_str(&if bare.is_empty() { value.to_owned() } else { value.replace(bare, REDACTED) });
            }
            None => {
                out.push_str(word);
                expected = option.starts_with('-') && !word.contains('=') && is_secret_name(option);
            }
        }
        out.push_str(gap);
    }
    out
}

/// JSON without what goes by secret names, which `found` is told.
pub(crate) fn hide_in_json(value: Value, found: &mut dyn FnMut(&str)) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    if !is_secret_name(&name) {
                        return (name, hide_in_json(value, found));
                    }
                    strings(&value, found);
                    (name, REDACTED.into())
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| hide_in_json(item, found)).collect()),
        other => other,
    }
}

/// Every text within.
fn strings(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The same as text; what is no JSON stays as it is, since it is refused.
pub(crate) fn hide_in_body(text: &str) -> String {
    serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value| hide_in_json(value, &mut |_| ()).to_string())
}

/// The value of a header away; its name is enough.
pub(crate) fn hide_in_header(header: &str) -> String {
    let end = header.find(['=', ':']).unwrap_or(header.len());
    format!("{}={REDACTED}", &header[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_lose_the_values_of_secret_options() {
        let cases = [
            (
                "vllm serve m --port {port} --api-key sk-1 --x",
                "vllm serve m --port {port} --api-key REDACTED --x",
                "sk-1",
            ),
            ("s --api-key=sk-1,sk-2", "s --api-key=REDACTED", "sk-1,sk-2 sk-1 sk-2"),
            ("s --api-key  'sk 1", "s --api-key  'REDACTED 1", "sk"),
            ("env HF_TOKEN=hf-1 s", "env HF_TOKEN=REDACTED s", "hf-1"),
            ("sh -c 's --key k1; t'", "sh -c 's --key REDACTED; t'", "k1"),
            ("sh -c 's --hf-token \"hf-1\"'", "sh -c 's --hf-token \"REDACTED\"'", "hf-1"),
            ("s --max-tokens 5 --tokenizer t --api-key --port 1", "", ""),
            ("s --ssl-keyfile f --token", "", ""),
        ];
        for (command, hidden, secrets) in cases {
            let mut found = Vec::new();
            let hidden = if hidden.is_empty() { command } else { hidden };
            assert_eq!(hide_in_command(command, &mut |secret| found.push(secret.to_owned())), hidden);
            found.dedup();
            assert_eq!(found.join(" "), secrets, "{command}");
        }
    }

    #[test]
    fn bodies_lose_what_goes_by_secret_names() {
        let mut found = Vec::new();
        let body = json!({"api_key": "sk-1", "n": 1, "a": [{"accessToken": ["x", {"y": "z"}]}], "max_tokens": 5});
        let hidden = hide_in_json(body, &mut |secret| found.push(secret.to_owned()));
        assert_eq!(hidden, json!({"api_key": "REDACTED", "n": 1, "a": [{"accessToken": "REDACTED"}], "max_tokens": 5}));
        assert_eq!(found, ["sk-1", "x", "z"]);
    }

    #[test]
    fn secrets_are_found_in_any_text() {
        let secrets = Secrets::default();
        ["sk-SECRET", "sk-SECRET-2", "test", "", " "].iter().for_each(|secret| secrets.keep(secret));
        assert_eq!(secrets.redact("xsk-SECRET-2y sk-SECRET"), "xREDACTEDy REDACTED");
        assert_eq!(secrets.redact("stress_test: test, tests"), "stress_test: REDACTED, tests", "short ones as words");
        assert_eq!(format!("{secrets:?}"), "Secrets(…)");
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
