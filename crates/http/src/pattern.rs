//! Chunks that differ from an earlier one of the same answer in nothing but their text.
//!
//! A server writes the same JSON around every token. Once a chunk was read in full, the next ones are read by comparing
//! what stands before and after the text: if that is the same, and the text between is one JSON string without escapes,
//! then the chunk says the same as the earlier one, with that text in its place.

/// What stands around the text.
#[derive(Debug, Default)]
pub(crate) struct Pattern {
    /// From the chunk's first byte to the opening quotation mark of its text.
    before: Vec<u8>,
    /// From the closing quotation mark to the last byte; empty while nothing is learnt.
    after: Vec<u8>,
    /// What the text is to the answer.
    role: Role,
}

/// What a text is to the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    /// Where the choice is kept that it belongs to.
    pub(crate) place: usize,
    /// Whether it is part of what a user sees, not of reasoning.
    pub(crate) visible: bool,
}

impl Pattern {
    /// Learns from `chunk`, which says nothing but the text in `value`: a slice of it, a JSON string.
    pub(crate) fn learn(&mut self, chunk: &[u8], value: &str, role: Role) {
        self.forget();
        let from = (value.as_ptr() as usize).wrapping_sub(chunk.as_ptr() as usize);
        let to = from.wrapping_add(value.len());
        let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
        if quoted
            && let (Some(before), Some(after)) = (chunk.get(..from.wrapping_add(1)), chunk.get(to.wrapping_sub(1)..))
        {
            self.before.extend_from_slice(before);
            self.after.extend_from_slice(after);
            self.role = role;
        }
    }

    pub(crate) fn forget(&mut self) {
        self.before.clear();
        self.after.clear();
    }

    /// The text of a chunk that is like the one learnt, and what it is; `None` when it has to be read in full.
    pub(crate) fn text<'a>(&self, chunk: &'a [u8]) -> Option<(&'a str, Role)> {
        if self.after.is_empty() {
            return None;
        }
        let text = chunk.strip_prefix(&self.before[..])?.strip_suffix(&self.after[..])?;
        let plain = |&byte: &u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if text.is_empty() || !text.iter().all(plain) {
            return None;
        }
        Some((std::str::from_utf8(text).ok()?, self.role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str = r#"{"id":"a","choices":[{"index":0,"text":" one","finish_reason":null}],"usage":null}"#;
    const ROLE: Role = Role { place: 3, visible: true };

    fn learnt() -> Pattern {
        let mut pattern = Pattern::default();
        let at = CHUNK.find("\" one\"").unwrap();
        pattern.learn(CHUNK.as_bytes(), &CHUNK[at..at + 6], ROLE);
        pattern
    }

    #[test]
    fn another_text_in_the_same_place_is_found() {
        let pattern = learnt();
        for text in ["x", " two", "ä", "{[:,]}", " one"] {
            let chunk = CHUNK.replace(" one", text);
            assert_eq!(pattern.text(chunk.as_bytes()), Some((text, ROLE)));
        }
    }

    #[test]
    fn whatever_else_differs_is_read_in_full() {
        let pattern = learnt();
        for (from, to) in [
            (" one", ""),
            (" one", r"\n"),
            (" one", r#"","more":""#),
            (" one", "\n"),
            ("null}]", "\"stop\"}]"),
            ("\"a\"", "\"b\""),
            ("null}", "{}}"),
            ("null}", "null} "),
        ] {
            let chunk = CHUNK.replacen(from, to, 1);
            assert_ne!(chunk, CHUNK);
            assert_eq!(pattern.text(chunk.as_bytes()), None, "{chunk}");
        }
        assert_eq!(pattern.text(&CHUNK.as_bytes()[..CHUNK.len() - 1]), None);
        let mut broken = CHUNK.as_bytes().to_vec();
        broken[CHUNK.find(" one").unwrap()] = 0xff;
        assert_eq!(pattern.text(&broken), None);
    }

    #[test]
    fn nothing_is_learnt_from_a_value_of_elsewhere_or_of_another_kind() {
        let mut pattern = Pattern::default();
        for value in ["\" one\"", &CHUNK[..1]] {
            pattern.learn(CHUNK.as_bytes(), value, ROLE);
            assert_eq!(pattern.text(CHUNK.as_bytes()), None);
        }
        let mut pattern = learnt();
        pattern.forget();
        assert_eq!(pattern.text(CHUNK.as_bytes()), None);
    }
}
