//! Secrets in text: which names go with one, and how texts lose them.

use serde_json::Value;

/// Replaces a secret.
pub const REDACTED: &str = "REDACTED";

/// Endings of the last word of a name that goes with a secret.
const ENDINGS: [&str; 17] = [
    "key",
    "keys",
    "token",
    "secret",
    "secrets",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "credential",
    "credentials",
    "bearer",
    "cookie",
    "cookies",
    "signature",
    "jwt",
    "oauth",
];
/// The same of words that are part of ordinary ones.
const WORDS: [&str; 5] = ["auth", "pwd", "sas", "sig", "pass"];
/// Words that mark a name wherever they are in it.
const ANYWHERE: [&str; 3] = ["secret", "password", "credential"];
/// What comes before the `token` that is a piece of text.
const TEXT_TOKENS: [&str; 9] = ["eos", "bos", "pad", "unk", "sep", "cls", "mask", "stop", "per"];

/// Whether what goes by this name, such as `--api-key`, `HF_TOKEN`, `accessToken` or `sig`, is a secret. `--max-tokens`,
/// `--tokenizer` and `eos_token` are not.
pub fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let Some((last, before)) = words.split_last() else { return false };
    if last == "token" && before.last().is_some_and(|word| TEXT_TOKENS.contains(&word.as_str())) {
        return false;
    }
    ENDINGS.iter().any(|ending| last.ends_with(ending))
        || WORDS.contains(&last.as_str())
        || words.iter().any(|word| ANYWHERE.iter().any(|mark| word.contains(mark)))
}

/// The words of a name in lower case: `x-api_keyId` has four.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for char in name.chars() {
        if !char.is_alphanumeric() || char.is_uppercase() && lower {
            words.push(String::new());
        }
        lower = char.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| char.is_alphanumeric()) {
            word.extend(char.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a text can be searched for: long enough, or odd enough, that it is not an ordinary word by accident. Keys such
/// as `EMPTY`, `1`, `null` and `ollama` are not.
pub fn is_searchable(secret: &str) -> bool {
    let (letters, all) = (secret.chars().filter(|c| c.is_alphabetic()).count(), secret.chars().count());
    all >= 8 || all >= 4 && letters > 0 && letters < all
}

/// Replaces a secret wherever it is in a text; a short one as a whole word only. What is not searchable stays.
pub fn replace(text: &str, secret: &str, with: &str) -> String {
    if !is_searchable(secret) {
        return text.to_owned();
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let (mut out, mut done) = (String::new(), 0);
    for (at, _) in text.match_indices(secret) {
        let end = at + secret.len();
        let is_whole = !text[..at].ends_with(is_word) && !text[end..].starts_with(is_word);
        if secret.len() >= 8 || is_whole {
            out.push_str(&text[done..at]);
            out.push_str(with);
            done = end;
        }
    }
    out + &text[done..]
}

/// Where a text comes from: this decides how sure it is that a value is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A command: whatever follows a secret name is its value.
    Command,
    /// Words of a server: what follows a secret name must look like a secret, since it may be part of a sentence.
    Quote,
}

/// A command, URL or path without the values of secret options, variables and query parameters and without the user and
/// password of URLs. `found` gets each of them.
pub fn hide_in_command(command: &str, found: &mut dyn FnMut(&str)) -> String {
    hide(command, Kind::Command, found)
}

/// A URL or path without secrets.
pub fn hide_in_url(url: &str) -> String {
    // One without a scheme is refused, but quoted first.
    if let Some((_, host)) = url.rsplit_once('@').filter(|_| !url.starts_with('/') && !url.contains("://")) {
        return format!("{REDACTED}@{host}");
    }
    hide(url, Kind::Command, &mut |_| ())
}

/// What a server said or wrote, without what looks like a secret after a name or scheme of one, and without the passwords
/// of URLs.
pub fn hide_in_quote(text: &str) -> String {
    hide(text, Kind::Quote, &mut |_| ())
}

fn hide(text: &str, kind: Kind, found: &mut dyn FnMut(&str)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("://") {
            out.push_str("://");
            rest = after;
            let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'`<>".contains(c)).unwrap_or(rest.len());
            if let Some(at) = rest[..end].rfind('@') {
                let user = &rest[..at];
                found(user.split_once(':').map_or(user, |(_, password)| password));
                out.push_str(REDACTED);
                rest = &rest[at..];
            }
        } else if is_name(char) {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            out.push_str(name);
            rest = after;
            if let Some((gap, value)) = value_of(name, after, kind) {
                found(value);
                if value.contains(',') {
                    value.split(',').for_each(&mut *found);
                }
                out.push_str(gap);
                out.push_str(REDACTED);
                rest = &after[gap.len() + value.len()..];
            }
        } else {
            out.push(char);
            rest = &rest[char.len_utf8()..];
        }
    }
    out
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || "_-.".contains(char)
}

/// The value of `name` at the beginning of what comes after it, if it is a secret, and what is between the two.
fn value_of<'t>(name: &str, after: &'t str, kind: Kind) -> Option<(&'t str, &'t str)> {
    let is_scheme = ["bearer", "basic"].iter().any(|scheme| name.eq_ignore_ascii_case(scheme));
    if !is_scheme && !is_secret_name(name) {
        return None;
    }
    let quoted = after.trim_start_matches(['"', '\'', '\\']);
    let bare = quoted.trim_start();
    let mut value = match bare.strip_prefix([':', '=']) {
        Some(value) => value,
        // `--api-key VALUE`, `Bearer VALUE`
        None if (is_scheme || name.starts_with('-') && kind == Kind::Command) && bare.len() < after.len() => bare,
        None => return None,
    };
    value = value.trim_start().trim_start_matches(['"', '\'', '\\']);
    for scheme in ["Bearer ", "bearer ", "Basic ", "basic "] {
        value = value.strip_prefix(scheme).map_or(value, str::trim_start);
    }
    let ends = |c: char| match kind {
        Kind::Command => c.is_whitespace() || "\"'&;|()#\\".contains(c),
        Kind::Quote => c.is_whitespace() || "\"'&;|()#\\,<>{}[]`".contains(c),
    };
    let end = value.find(ends).unwrap_or(value.len());
    let gap = &after[..after.len() - value.len()];
    let value = &value[..end];
    let is_value = match kind {
        Kind::Command => !value.is_empty() && !value.starts_with('-'),
        Kind::Quote => looks_secret(value),
    };
    is_value.then_some((gap, value))
}

/// Whether a text is more likely drawn at random than a word: long, and of letters and digits.
pub fn looks_secret(value: &str) -> bool {
    let letters = value.chars().any(char::is_alphabetic);
    value.chars().count() >= 8 && letters && value.chars().any(|c| c.is_ascii_digit())
}

/// JSON without what goes by secret names; `found` gets each text of it.
pub fn hide_in_json(value: Value, found: &mut dyn FnMut(&str)) -> Value {
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
        Value::String(text) => Value::String(hide_in_command(&text, found)),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        for name in [
            "--api-key",
            "HF_TOKEN",
            "accessToken",
            "X-Auth-Key",
            "Authorization",
            "sig",
            "sas",
            "X-Amz-Credential",
            "X-Amz-Signature",
            "Cookie",
            "proxy_password",
            "db.pwd",
            "client_secret_id",
            "oauth",
            "apikey",
            "Set-Cookie",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["--max-tokens", "--tokenizer", "eos_token", "stop_token_ids", "--ssl-keyfile", "design", "author"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn commands_and_urls_lose_the_values_of_secret_names() {
        let cases = [
            ("serve m --port {port} --api-key sk-1 --x", "serve m --port {port} --api-key REDACTED --x", "sk-1"),
            ("s --api-key=sk-1,sk-2", "s --api-key=REDACTED", "sk-1,sk-2 sk-1 sk-2"),
            ("s --api-key  'sk 1", "s --api-key  'REDACTED 1", "sk"),
            ("env HF_TOKEN=hf-1 s", "env HF_TOKEN=REDACTED s", "hf-1"),
            ("sh -c 's --key k1; t'", "sh -c 's --key REDACTED; t'", "k1"),
            ("sh -c 's --hf-token \"hf-1\"'", "sh -c 's --hf-token \"REDACTED\"'", "hf-1"),
            ("s --max-tokens 5 --tokenizer t --api-key --port 1", "", ""),
            ("s --ssl-keyfile f --token", "", ""),
            ("env HTTPS_PROXY=http://u:pw@h:1 s", "env HTTPS_PROXY=http://REDACTED@h:1 s", "pw"),
            ("/v1/completions?api-key=k&v=2", "/v1/completions?api-key=REDACTED&v=2", "k"),
            ("https://h/x?sv=1&sig=a%2Fb#f", "https://h/x?sv=1&sig=REDACTED#f", "a%2Fb"),
            ("curl -H 'Authorization: Bearer k2' h", "curl -H 'Authorization: Bearer REDACTED' h", "k2"),
            ("run --model m@v1 http://h/a@b", "", ""),
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
    fn urls_without_a_scheme_lose_their_password() {
        assert_eq!(hide_in_url("u:pw@h:1"), "REDACTED@h:1");
        assert_eq!(hide_in_url("/v1/a@b"), "/v1/a@b");
    }

    #[test]
    fn quotes_lose_what_looks_like_a_secret_and_nothing_else() {
        for (said, quoted) in [
            (r#"{"api_key":"sk-1234abcd"}"#, r#"{"api_key":"REDACTED"}"#),
            ("token: abcdef0123456789, sorry", "token: REDACTED, sorry"),
            ("got Authorization: Bearer abc123def", "got Authorization: Bearer REDACTED"),
            ("see http://me:hunter2@h/x", "see http://REDACTED@h/x"),
            ("unexpected token: 5", ""),
            ("the key is wrong, the token: unknown", ""),
            ("basic support only", ""),
        ] {
            assert_eq!(hide_in_quote(said), if quoted.is_empty() { said } else { quoted });
        }
    }

    #[test]
    fn bodies_lose_what_goes_by_secret_names() {
        let mut found = Vec::new();
        let body = json!({"api_key": "sk-1", "n": 1, "a": [{"accessToken": ["x", {"y": "z"}]}], "max_tokens": 5,
            "hook": "https://u:pw@h"});
        let hidden = hide_in_json(body, &mut |secret| found.push(secret.to_owned()));
        let expected = json!({"api_key": "REDACTED", "n": 1, "a": [{"accessToken": "REDACTED"}], "max_tokens": 5,
            "hook": "https://REDACTED@h"});
        assert_eq!(hidden, expected);
        assert_eq!(found, ["sk-1", "x", "z", "pw"]);
    }

    #[test]
    fn only_what_is_no_ordinary_word_is_searched_for() {
        assert_eq!(replace("xsk-SECRETy sk-SECRET", "sk-SECRET", REDACTED), "xREDACTEDy REDACTED");
        assert_eq!(replace("bad sk-1, sk-12", "sk-1", "…"), "bad …, sk-12", "a short one as a word");
        for key in ["EMPTY", "1", "null", "ollama", "token", ""] {
            assert_eq!(replace("null token 1 EMPTY ollama", key, REDACTED), "null token 1 EMPTY ollama");
        }
    }
}
