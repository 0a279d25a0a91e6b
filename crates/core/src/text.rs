//! Text from outside, made safe to show.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns `text` so that it can neither steer a terminal nor disguise what it says: every control character but the line
/// feed and the tab, and every invisible character that changes the order of text, is written out, such as `\u{1b}`.
///
/// Everything that shows a text of a server, a file or a command line passes it through here.
pub fn plain(text: &str) -> Cow<'_, str> {
    written_out(text, |char, out| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{}", char.escape_unicode());
    })
}

/// The same of a JSON text, which stays JSON of the same value: the escapes are those of its strings.
pub fn plain_json(text: &str) -> Cow<'_, str> {
    written_out(text, |char, out| {
        for unit in char.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn written_out(text: &str, write: fn(char, &mut String)) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if is_unsafe(char) {
            write(char, &mut out);
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

/// Whether a character must not be shown as it is.
fn is_unsafe(char: char) -> bool {
    match char {
        '\n' | '\t' => false,
        // Marks and overrides of direction, separators of lines, the byte-order mark, and invisible tags.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => true,
        '\u{e0000}'..='\u{e007f}' => true,
        char => char.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        assert_eq!(plain("m\u{1b}]0;title\u{7}"), r"m\u{1b}]0;title\u{7}");
        assert_eq!(plain("a\u{9b}31m\r\u{202e}b\u{7f}"), r"a\u{9b}31m\u{d}\u{202e}b\u{7f}");
        assert!(matches!(plain("two\nlines,\ta tab, ünï, 模型, 🦀"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn no_text_gets_through_that_could(text in "[\\x00-\\x{2ff}\\x{2000}-\\x{2070}\\x{feff}]*|\\PC*|.*") {
            let shown = plain(&text);
            prop_assert!(!shown.chars().any(is_unsafe));
            prop_assert_eq!(plain(&shown), shown.clone(), "safe text stays as it is");
            let kept: String = text.chars().filter(|c| !is_unsafe(*c)).collect();
            let mut rest = shown.chars();
            prop_assert!(kept.chars().all(|c| rest.any(|d| d == c)), "nothing else is lost");
        }

        #[test]
        fn json_keeps_its_value(text in "[\\x00-\\x{2ff}\\x{2000}-\\x{2070}\\x{feff}\\x{e0000}-\\x{e007f}]*") {
            let json = serde_json::to_string(&text).unwrap();
            let shown = plain_json(&json);
            prop_assert!(!shown.chars().any(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
