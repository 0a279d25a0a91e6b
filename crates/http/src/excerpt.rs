//! The beginning of what a server said, fit to be put into a sentence.

use sagellm_core::{plain, redact};

use crate::Secret;

/// Bytes of an answer that are kept for an excerpt, and to see whether it is an error in JSON.
pub(crate) const KEPT: usize = 16 << 10;
/// Characters of an excerpt.
const SHOWN: usize = 300;

/// The first characters of `bytes`: spaces, line ends and control characters become single spaces, and secrets are
/// blotted out, as some servers repeat the key in their refusal.
pub(crate) fn excerpt(bytes: &[u8], secrets: &[Secret]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = secrets.iter().fold(text.into_owned(), |text, secret| redact::replace(&text, secret.reveal(), "…"));
    let text = redact::hide_in_quote(&text);
    let mut out = String::new();
    let mut gap = false;
    let mut shown = 0;
    for char in text.chars() {
        if char.is_whitespace() || char.is_control() {
            gap = !out.is_empty();
            continue;
        }
        if shown >= SHOWN {
            out.push('…');
            break;
        }
        if std::mem::take(&mut gap) {
            out.push(' ');
            shown += 1;
        }
        out.push(char);
        shown += 1;
    }
    plain(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_cannot_disturb_a_terminal() {
        assert_eq!(excerpt(b" <h1>\r\n\x1b[31m  502\0</h1>\n", &[]), "<h1> [31m 502 </h1>");
        assert_eq!(excerpt(b"\xff", &[]), "\u{fffd}");
        assert_eq!(excerpt(b" \n", &[]), "");
        assert_eq!(excerpt("a\u{202e}b".as_bytes(), &[]), r"a\u{202e}b");
    }

    #[test]
    fn it_is_short() {
        let long = excerpt("ä".repeat(1000).as_bytes(), &[]);
        assert_eq!((long.chars().count(), long.ends_with('…')), (301, true));
    }

    #[test]
    fn the_key_is_blotted_out() {
        assert_eq!(excerpt(b"bad key sk-1!", &[Secret::new("sk-1")]), "bad key …!");
        assert_eq!(excerpt(b"no null, 1 error", &[Secret::new("null"), Secret::new("1")]), "no null, 1 error");
        assert_eq!(excerpt(b"api_key=abcd12345678", &[]), "api_key=REDACTED");
    }
}
