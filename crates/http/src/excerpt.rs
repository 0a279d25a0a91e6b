//! The beginning of what a server said, fit to be put into a sentence.

use crate::Secret;

/// Bytes of an answer that are kept for an excerpt.
pub(crate) const KEPT: usize = 1200;
/// Characters of an excerpt.
const SHOWN: usize = 300;

/// The first characters of `bytes`: spaces, line ends and control characters become single spaces, and the key is blotted
/// out, as some servers repeat it in their refusal.
pub(crate) fn excerpt(bytes: &[u8], secret: Option<&Secret>) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = match secret.map(Secret::reveal) {
        Some(key) if !key.is_empty() => text.replace(key, "…"),
        _ => text.into_owned(),
    };
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
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_cannot_disturb_a_terminal() {
        assert_eq!(excerpt(b" <h1>\r\n\x1b[31m  502\0</h1>\n", None), "<h1> [31m 502 </h1>");
        assert_eq!(excerpt(b"\xff", None), "\u{fffd}");
        assert_eq!(excerpt(b" \n", None), "");
    }

    #[test]
    fn it_is_short() {
        let long = excerpt("ä".repeat(1000).as_bytes(), None);
        assert_eq!((long.chars().count(), long.ends_with('…')), (301, true));
    }

    #[test]
    fn the_key_is_blotted_out() {
        assert_eq!(excerpt(b"bad key sk-1!", Some(&Secret::new("sk-1"))), "bad key …!");
    }
}
