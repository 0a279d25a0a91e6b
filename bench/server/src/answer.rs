//! One answer: when its tokens are due, and the bytes that carry them.

use serde_json::{Value, json};

use crate::clock::Arrival;
use crate::http::{Completion, push_end, push_event};
use crate::truth::Truth;

/// Words of English, each one token of most tokenizers after a space; `|` separates the tokens of others.
const LEXICON: &str = include_str!("lexicon.txt");

/// How the tokens of all requests are timed. In nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the arrival of a request to its first token.
    pub ttft: u64,
    /// From each token to the next.
    pub itl: u64,
    /// Whether each request is delayed by a random part of the ITL.
    pub random_phase: bool,
    pub seed: u64,
}

/// The words of the lexicon, cut into tokens.
#[derive(Debug)]
pub struct Lexicon(Vec<Vec<String>>);

impl Lexicon {
    pub fn new() -> Self {
        let cut = |word: &str| {
            let mut tokens: Vec<String> = word.split('|').map(str::to_owned).collect();
            tokens[0].insert(0, ' ');
            tokens
        };
        Self(LEXICON.split_whitespace().map(cut).collect())
    }
}

/// An answer that is being streamed.
#[derive(Debug)]
pub struct Answer {
    pub truth: Truth,
    tokens: u32,
    /// When the first token is due.
    start: u64,
    itl: u64,
    prompt_tokens: usize,
    include_usage: bool,
    /// The event of a token before its text.
    before: String,
    /// What the words are drawn from.
    draw: u64,
    word: usize,
    /// Next token of the word.
    piece: usize,
}

impl Answer {
    /// Begins the answer to the request with this number, counted from the start of the server.
    pub fn new(ask: &Completion, request: Option<String>, arrival: Arrival, number: u64, timing: &Timing) -> Self {
        let draw = mix(timing.seed ^ mix(number));
        let phase = if timing.random_phase { draw % timing.itl.max(1) } else { 0 };
        Self {
            truth: Truth::new(request, arrival.at, arrival.by_kernel, ask.max_tokens),
            tokens: ask.max_tokens,
            start: arrival.at + timing.ttft + phase,
            itl: timing.itl,
            prompt_tokens: ask.prompt_tokens(),
            include_usage: ask.stream_options.include_usage,
            before: format!(
                r#"{{"id":"cmpl-{number:016x}","object":"text_completion","created":0,"model":{},"choices":["#,
                Value::from(ask.model.as_str()),
            ),
            draw,
            word: 0,
            piece: 0,
        }
    }

    /// Returns when the next token is due; `None` after the last.
    pub fn due(&self) -> Option<u64> {
        let next = self.truth.tokens;
        (next < self.tokens).then(|| self.start + u64::from(next) * self.itl)
    }

    /// Appends the event of the next token.
    pub fn push_token(&mut self, lexicon: &Lexicon, out: &mut Vec<u8>) {
        if self.piece == 0 {
            self.draw = mix(self.draw);
            self.word = (self.draw % lexicon.0.len() as u64) as usize;
        }
        let word = &lexicon.0[self.word];
        let text = &word[self.piece];
        self.piece = (self.piece + 1) % word.len();
        let reason = if self.truth.tokens + 1 == self.tokens { r#""length""# } else { "null" };
        let choice = format!(r#"{{"index":0,"text":"{text}","logprobs":null,"finish_reason":{reason}}}]}}"#);
        push_event(out, &format!("{}{choice}", self.before));
    }

    /// Appends what follows the last token.
    pub fn push_end(&self, out: &mut Vec<u8>) {
        if self.include_usage {
            let total = self.prompt_tokens + self.tokens as usize;
            let usage = json!({
                "prompt_tokens": self.prompt_tokens, "total_tokens": total, "completion_tokens": self.tokens,
            });
            push_event(out, &format!(r#"{}],"usage":{usage}}}"#, self.before));
        }
        push_end(out);
    }
}

/// SplitMix64 of Steele, Lea and Flood: evenly distributed bits for a counter.
fn mix(counter: u64) -> u64 {
    let mut bits = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn answer(tokens: u32, number: u64, random_phase: bool) -> Answer {
        let body = format!(
            r#"{{"model": "a\"b", "prompt": [1, 2], "max_tokens": {tokens}, "stream_options": {{"include_usage": true}}}}"#
        );
        let timing = Timing { ttft: 50 * MS, itl: 10 * MS, random_phase, seed: 1 };
        let arrival = Arrival { at: 1000 * MS, by_kernel: true };
        Answer::new(&serde_json::from_str(&body).unwrap(), None, arrival, number, &timing)
    }

    #[test]
    fn tokens_are_due_at_absolute_times_and_every_event_is_json() {
        let (lexicon, mut answer, mut out) = (Lexicon::new(), answer(3, 7, false), Vec::new());
        for due in [1050, 1060, 1070] {
            assert_eq!(answer.due(), Some(due * MS));
            answer.push_token(&lexicon, &mut out);
            answer.truth.write(due * MS, (due + 1) * MS, (due + 1) * MS, true);
        }
        assert_eq!(answer.due(), None);
        answer.push_end(&mut out);
        assert_eq!((answer.truth.late, &answer.truth.gaps_ns), (3, &vec![51 * MS, 10 * MS, 10 * MS]));
        let text = String::from_utf8(out).unwrap();
        let events: Vec<Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: {"))
            .map(|event| serde_json::from_str(&format!("{{{event}")).unwrap())
            .collect();
        assert_eq!(events.len(), 4);
        assert_eq!((&events[1]["choices"][0]["finish_reason"], &events[0]["model"]), (&Value::Null, &json!("a\"b")));
        assert_eq!(events[2]["choices"][0]["finish_reason"], "length");
        assert_eq!(events[3]["usage"], json!({"prompt_tokens": 2, "total_tokens": 5, "completion_tokens": 3}));
        assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"));
    }

    #[test]
    fn random_phases_are_spread_over_the_interval() {
        let phases: Vec<u64> = (0..1000).map(|number| answer(1, number, true).due().unwrap() - 1050 * MS).collect();
        assert!(phases.iter().all(|&phase| phase < 10 * MS));
        for part in 0..10 {
            let count = phases.iter().filter(|&&phase| phase / MS == part).count();
            assert!((50..150).contains(&count), "{part}: {count}");
        }
    }
}
