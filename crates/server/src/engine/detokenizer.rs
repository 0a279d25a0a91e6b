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
