//! Token ids to text as they come, never cutting a character.

use sagellm_model::Tokenizer;

/// Tokens that the first of them can depend on: decoding begins this far back, since some tokenizers write a token
/// differently at the beginning of a text.
const CONTEXT: usize = 6;
/// No character takes more bytes, nor more tokens.
const LONGEST_CHARACTER: usize = 4;

/// Makes the text of one answer.
pub(crate) struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// Ids before this one have had their text.
    told: usize,
}

impl<'a> Detokenizer<'a> {
    /// For an answer that continues `prompt`.
    pub(crate) fn new(tokenizer: &'a Tokenizer, prompt: &[u32]) -> Self {
        let ids = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        Self { tokenizer, told: ids.len(), ids }
    }

    /// The text that `id` completes; empty while a character is incomplete.
    pub(crate) fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        let text = self.pending();
        // What is still no character after this many tokens never becomes one.
        if text.ends_with(char::REPLACEMENT_CHARACTER) && self.ids.len() - self.told < LONGEST_CHARACTER {
            return String::new();
        }
        self.tell(text)
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> String {
        let text = self.pending();
        self.tell(text)
    }

    fn pending(&self) -> String {
        let before = self.tokenizer.decode(&self.ids[..self.told]);
        let mut all = self.tokenizer.decode(&self.ids);
        // The context may end within a character that the answer completes.
        let shared = before.bytes().zip(all.bytes()).take_while(|(left, right)| left == right).count();
        let shared = (0..=shared).rev().find(|&place| all.is_char_boundary(place)).unwrap_or(0);
        all.split_off(shared)
    }

    fn tell(&mut self, text: String) -> String {
        let forgotten = self.ids.len().saturating_sub(CONTEXT);
        self.ids.drain(..forgotten);
        self.told = self.ids.len();
        text
    }
}

#[cfg(test)]
mod tests {
    use sagellm_core::NoProgress;
    use sagellm_model::{OpenOptions, open_tokenizer};

    use super::*;

    /// One token per byte.
    fn bytes() -> Tokenizer {
        open_tokenizer("synthetic:tiny", &OpenOptions::default(), &NoProgress).unwrap()
    }

    fn pieces(prompt: &[u8], answer: &[u8]) -> Vec<String> {
        let (tokenizer, ids) = (bytes(), |bytes: &[u8]| bytes.iter().copied().map(u32::from).collect::<Vec<_>>());
        let mut text = Detokenizer::new(&tokenizer, &ids(prompt));
        let mut pieces: Vec<String> = ids(answer).into_iter().map(|id| text.push(id)).collect();
        pieces.push(text.finish());
        pieces
    }

    #[test]
    fn characters_come_whole() {
        let answer = "aé€🦀b";
        let pieces = pieces(b"prompt", answer.as_bytes());
        assert_eq!(pieces.concat(), answer);
        assert_eq!(pieces, ["a", "", "é", "", "", "€", "", "", "", "🦀", "b", ""]);
    }

    #[test]
    fn a_long_answer_is_as_if_decoded_at_once() {
        let answer = "日本語とEnglish, ñandú. ".repeat(20);
        assert_eq!(pieces(b"", answer.as_bytes()).concat(), answer);
    }

    #[test]
    fn bytes_that_are_no_text_are_not_held_for_ever() {
        let pieces = pieces(b"", &[0xff; 40]);
        assert_eq!(pieces.concat(), "\u{fffd}".repeat(40));
        assert!(pieces[..40].chunks(LONGEST_CHARACTER).all(|four| !four.concat().is_empty()), "{pieces:?}");
    }

    #[test]
    fn an_incomplete_character_is_told_at_the_end() {
        assert_eq!(pieces(b"", &"€".as_bytes()[..2]), ["", "", "\u{fffd}"]);
    }

    #[test]
    fn the_answer_may_complete_a_character_of_the_prompt() {
        let crab = "🦀".as_bytes();
        assert_eq!(pieces(&crab[..2], &crab[2..]).concat(), "🦀");
    }
}
