//! Words that a tokenizer keeps apart: any row of them has one token each, and encodes to exactly these when it is sent as
//! text. With them a prompt of a given length is written down, not searched for.

use sagellm_core::Prompt;
use sagellm_model::{ModelError, Tokenizer};

use super::fit::Fitted;
use crate::random::Random;

/// Words at most: enough that two rows of a few are never alike, few enough that every pair is tried in no time.
const WORDS: usize = 256;
/// Candidates for each of them, because some fall out.
const CANDIDATES: usize = 4;
/// Words at least, else letters are tried.
const FEWEST: usize = 6;
/// Words that may begin a text at most.
const OPENINGS: usize = 32;
/// What the first candidates are tried behind.
const ANCHOR: &str = "the";

/// The words of a tokenizer: a function of the tokenizer alone.
#[derive(Debug)]
pub(crate) struct Lexicon {
    words: Vec<Word>,
    /// Words as they begin a text, with the special tokens before it.
    openings: Vec<(String, Vec<u32>)>,
    /// Special tokens behind every text.
    tail: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Word {
    /// With the space before it.
    text: String,
    id: u32,
}

impl Lexicon {
    /// Finds the words; `None` when the tokenizer has too few.
    ///
    /// A word is taken when every pair of it and an earlier one, both ways round, keeps its two tokens. For byte-pair
    /// encoding that is enough for all rows: the first merge across a boundary would only depend on the two words there.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Result<Option<Self>, ModelError> {
        let with = tokenizer.encode(ANCHOR, true)?;
        let bare = tokenizer.encode(ANCHOR, false)?;
        let Some(at) = with.windows(bare.len().max(1)).position(|window| window == bare) else { return Ok(None) };
        let (head, tail) = (with[..at].to_vec(), with[at + bare.len()..].to_vec());
        for candidates in [whole_words(tokenizer, &bare)?, letters(tokenizer)?] {
            let words = apart(tokenizer, candidates)?;
            if words.len() >= FEWEST {
                let openings = openings(tokenizer, &words, &head)?;
                if !openings.is_empty() {
                    return Ok(Some(Self { words, openings, tail }));
                }
            }
        }
        Ok(None)
    }

    /// Number of words.
    pub(crate) fn size(&self) -> usize {
        self.words.len()
    }

    /// Special tokens before every text.
    pub(crate) fn head(&self) -> usize {
        self.openings.first().map_or(0, |(_, ids)| ids.len() - 1)
    }

    /// Tokens of the shortest prompt.
    pub(crate) fn least(&self) -> usize {
        self.openings.iter().map(|(_, ids)| ids.len()).min().unwrap_or(0) + self.tail.len()
    }

    /// The beginning of a prompt: `tokens` of it, the special ones before it included.
    pub(crate) fn begin(&self, tokens: usize, random: &mut Random) -> Fitted {
        let (text, ids) = &self.openings[random.below(self.openings.len())];
        let mut begun = Fitted { text: String::with_capacity(tokens * 8), ids: Vec::with_capacity(tokens) };
        begun.text.push_str(text);
        begun.ids.extend(ids);
        self.go_on(&mut begun, tokens, random);
        begun
    }

    /// Adds words until there are `tokens`.
    pub(crate) fn go_on(&self, begun: &mut Fitted, tokens: usize, random: &mut Random) {
        while begun.ids.len() < tokens {
            let word = &self.words[random.below(self.words.len())];
            begun.text.push_str(&word.text);
            begun.ids.push(word.id);
        }
    }

    /// Words that a prompt has before the special tokens at its end, when it has `tokens` in all.
    pub(crate) fn inside(&self, tokens: usize) -> usize {
        tokens.saturating_sub(self.tail.len())
    }

    /// A whole prompt from its beginning.
    pub(crate) fn end(&self, mut begun: Fitted) -> Prompt {
        begun.ids.extend(&self.tail);
        begun.into()
    }
}

/// Lower-case words of one token each, spread over the vocabulary.
fn whole_words(tokenizer: &Tokenizer, anchor: &[u32]) -> Result<Vec<Word>, ModelError> {
    let lower_case: Vec<Word> = (0..tokenizer.vocab_size() as u32)
        .filter_map(|id| {
            let text = tokenizer.decode(&[id]);
            let letters = text.trim_start();
            let fits = (2..=10).contains(&letters.len()) && letters.bytes().all(|byte| byte.is_ascii_lowercase());
            fits.then(|| Word { text: format!(" {letters}"), id })
        })
        .collect();
    let step = (lower_case.len() / (CANDIDATES * WORDS)).max(1);
    let mut words = Vec::new();
    for word in lower_case.into_iter().step_by(step) {
        let ids = tokenizer.encode(&format!("{ANCHOR}{}", word.text), false)?;
        if ids.len() == anchor.len() + 1 && ids.starts_with(anchor) && ids.last() == Some(&word.id) {
            words.push(word);
        }
    }
    Ok(words)
}

/// Letters, for a tokenizer that makes a token of each.
fn letters(tokenizer: &Tokenizer) -> Result<Vec<Word>, ModelError> {
    let mut words = Vec::new();
    for letter in 'a'..='z' {
        let text = letter.to_string();
        if let [id] = tokenizer.encode(&text, false)?[..] {
            words.push(Word { text, id });
        }
    }
    Ok(words)
}

/// Those of the candidates that stay apart from each other.
fn apart(tokenizer: &Tokenizer, candidates: Vec<Word>) -> Result<Vec<Word>, ModelError> {
    let anchor = tokenizer.encode(ANCHOR, false)?;
    let mut words: Vec<Word> = Vec::new();
    for candidate in candidates {
        let mut text = ANCHOR.to_owned();
        let mut ids = anchor.clone();
        for word in words.iter().flat_map(|word| [&candidate, word]).chain([&candidate, &candidate]) {
            text.push_str(&word.text);
            ids.push(word.id);
        }
        if tokenizer.encode(&text, false)? == ids {
            words.push(candidate);
        }
        if words.len() == WORDS {
            break;
        }
    }
    Ok(words)
}

/// Words that one token stands for at the beginning of a text too, whatever word follows.
fn openings(tokenizer: &Tokenizer, words: &[Word], head: &[u32]) -> Result<Vec<(String, Vec<u32>)>, ModelError> {
    let mut openings = Vec::new();
    for word in words {
        let text = word.text.trim_start();
        let ids = tokenizer.encode(text, false)?;
        if ids.len() != 1 {
            continue;
        }
        let mut keeps = true;
        for next in words {
            if tokenizer.encode(&format!("{text}{}", next.text), false)? != [ids[0], next.id] {
                keeps = false;
                break;
            }
        }
        if keeps {
            openings.push((text.to_owned(), [head, &ids].concat()));
        }
        if openings.len() == OPENINGS {
            break;
        }
    }
    Ok(openings)
}
