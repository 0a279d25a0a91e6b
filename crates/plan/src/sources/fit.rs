//! Text cut to exactly so many tokens.
//!
//! Cutting the ids would not do: decoded and encoded again, a cut text often has another number of tokens, and a server
//! that is sent the text would see another prompt than the engine that is given the ids. So the text is cut, and counted.

use sagellm_model::{ModelError, Tokenizer};

/// A text and its tokens, special ones included.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fitted {
    pub(crate) text: String,
    pub(crate) ids: Vec<u32>,
}

/// What may follow a whole word where no part of the next one fills the gap, the most readable first.
const FILLERS: [&str; 18] =
    [" so", " then", " now", " here", " too", " and", " it", " I", " a", ".", "!", " s", " e", "e", "s", "a", "o", "-"];

/// Words that are given up again when nothing fits behind them.
const STEPS_BACK: usize = 24;

/// The beginning of a text that has exactly `tokens` tokens, special ones included; `sentences` supplies the text, as
/// much as is asked for. `None` when the tokenizer has no such beginning.
pub(crate) fn fit(
    tokenizer: &Tokenizer,
    tokens: usize,
    mut sentences: impl FnMut() -> String,
) -> Result<Option<Fitted>, ModelError> {
    let count = |text: &str| tokenizer.encode(text, true).map(|ids| ids.len());
    let mut text = sentences();
    let mut sentence_count = 1_usize;
    // Sentences of a dozen words have a dozen tokens at least; a tokenizer that makes less of them gets more of them.
    while count(&text)? <= tokens {
        if sentence_count > 64 + tokens {
            return Ok(None);
        }
        for _ in 0..=sentence_count / 4 {
            text.push(' ');
            text.push_str(&sentences());
            sentence_count += 1;
        }
    }
    // Where a word ends, and so where the text may be cut.
    let ends: Vec<usize> =
        [0].into_iter().chain(text.match_indices(' ').map(|(at, _)| at)).chain([text.len()]).collect();

    // Tokens grow with words, all but exactly: the longest beginning that is not too long is searched by halving.
    let (mut fits, mut too_long) = (0, ends.len());
    while too_long - fits > 1 {
        let middle = usize::midpoint(fits, too_long);
        if count(&text[..ends[middle]])? <= tokens { fits = middle } else { too_long = middle }
    }
    for last in (fits.saturating_sub(STEPS_BACK)..=fits).rev() {
        let next_word = text.get(ends[last]..ends.get(last + 1).copied().unwrap_or(ends[last])).unwrap_or_default();
        if let Some(fitted) = fill(tokenizer, &text[..ends[last]], next_word, tokens)? {
            return Ok(Some(fitted));
        }
    }
    Ok(None)
}

/// Lengthens `text` to `tokens` by the first letters of the word that would follow, or by fillers.
fn fill(tokenizer: &Tokenizer, text: &str, next_word: &str, tokens: usize) -> Result<Option<Fitted>, ModelError> {
    let mut text = text.to_owned();
    loop {
        let ids = tokenizer.encode(&text, true)?;
        if ids.len() == tokens {
            return Ok(Some(Fitted { text, ids }));
        }
        if ids.len() > tokens {
            return Ok(None);
        }
        // At least a space and a letter, and the longest first.
        let ends = next_word.char_indices().rev().map(|(end, _)| end).take_while(|end| *end >= 2);
        let parts = ends.map(|end| &next_word[..end]);
        let mut step: Option<(usize, String)> = None;
        for filler in parts.chain(FILLERS) {
            let longer = format!("{text}{filler}");
            let length = tokenizer.encode(&longer, true)?.len();
            if length == tokens {
                step = Some((length, longer));
                break;
            }
            // The smallest step forward leaves the most room for the next.
            if length > ids.len() && length < tokens && step.as_ref().is_none_or(|(best, _)| length < *best) {
                step = Some((length, longer));
            }
        }
        match step {
            Some((_, longer)) => text = longer,
            None => return Ok(None),
        }
    }
}
