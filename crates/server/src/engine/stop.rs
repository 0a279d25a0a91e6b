//! Finding stop strings in text that comes in pieces.

/// Looks for any of some texts, and holds back what could be the beginning of one.
#[derive(Debug)]
pub(crate) struct StopStrings {
    texts: Vec<String>,
    held: String,
}

/// What may be told of the text so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The next part of the answer.
    pub(crate) text: String,
    /// The stop string that ends it.
    pub(crate) stop: Option<String>,
}

impl StopStrings {
    pub(crate) fn new(texts: Vec<String>) -> Self {
        Self { texts, held: String::new() }
    }

    /// Takes the next text; `last` when none follows.
    pub(crate) fn push(&mut self, text: &str, last: bool) -> Found {
        self.held.push_str(text);
        let first = self.texts.iter().filter_map(|stop| self.held.find(stop).map(|place| (place, stop))).min();
        if let Some((place, stop)) = first {
            let stop = Some(stop.clone());
            self.held.truncate(place);
            return Found { text: std::mem::take(&mut self.held), stop };
        }
        let keep = if last { self.held.len() } else { self.safe() };
        let rest = self.held.split_off(keep);
        Found { text: std::mem::replace(&mut self.held, rest), stop: None }
    }

    /// How many bytes can belong to no stop string.
    fn safe(&self) -> usize {
        let begins = |place: &usize| {
            let tail = &self.held[*place..];
            self.texts.iter().any(|stop| stop.starts_with(tail))
        };
        self.held.char_indices().map(|(place, _)| place).find(begins).unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<String>) {
        let mut strings = StopStrings::new(stops.iter().map(|&stop| stop.into()).collect());
        let mut texts = Vec::new();
        for (place, piece) in pieces.iter().enumerate() {
            let found = strings.push(piece, place + 1 == pieces.len());
            texts.push(found.text);
            if found.stop.is_some() {
                return (texts, found.stop);
            }
        }
        (texts, None)
    }

    #[test]
    fn without_stop_strings_text_passes() {
        assert_eq!(feed(&[], &["a", "é"]), (vec!["a".into(), "é".into()], None));
    }

    #[test]
    fn a_stop_string_ends_the_text_however_it_is_cut() {
        let text = "one two END three";
        for cut in 0..=text.len() {
            let (texts, stop) = feed(&["END"], &[&text[..cut], &text[cut..]]);
            assert_eq!((texts.concat().as_str(), stop.as_deref()), ("one two ", Some("END")), "{cut}");
        }
    }

    #[test]
    fn what_only_looks_like_the_beginning_is_held_and_then_told() {
        assert_eq!(feed(&["abc"], &["xa", "b", "d"]), (vec!["x".into(), String::new(), "abd".into()], None));
        assert_eq!(feed(&["aab"], &["aa", "ab"]), (vec![String::new(), "a".into()], Some("aab".into())));
        // At the end nothing is held.
        assert_eq!(feed(&["abc"], &["xab"]), (vec!["xab".into()], None));
    }

    #[test]
    fn the_first_of_several_counts() {
        assert_eq!(feed(&["two", "one"], &["zero one two"]).1.as_deref(), Some("one"));
    }
}
