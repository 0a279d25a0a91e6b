//! Text to a script.

use std::time::Duration;

use super::{Answer, Framing, Script, Step};
use crate::ServerError;
use crate::wire;

/// Most bytes that the `fill` lines of a script make together.
const FILL_LIMIT: usize = 64 << 20;

impl Script {
    /// Reads a script; `name` is what errors call it.
    ///
    /// # Errors
    /// For a line that breaks the format, naming it.
    pub fn parse(name: &str, text: &str) -> Result<Self, ServerError> {
        let mut reader = Reader {
            script: Self { ask: Default::default(), expect: Default::default(), answers: Vec::new() },
            current: Answer::default(),
            chosen: false,
            filled: 0,
        };
        for (line, content) in (1..).zip(text.lines()) {
            let wrong = |what| ServerError::Script { name: name.into(), line, what };
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let (word, rest) = content.split_once(char::is_whitespace).unwrap_or((content, ""));
            reader.line(word, rest.trim()).map_err(wrong)?;
        }
        Ok(reader.finish())
    }
}

struct Reader {
    script: Script,
    current: Answer,
    /// Whether an `answer` line has begun the current one; what stands before the first is for all other requests.
    chosen: bool,
    /// Bytes that `fill` lines made so far.
    filled: usize,
}

impl Reader {
    fn finish(mut self) -> Script {
        self.script.answers.push(self.current);
        // The answer without a condition stands first in the file and comes last in the choice.
        self.script.answers.sort_by_key(|answer| answer.path.is_none() && answer.number.is_none());
        self.script
    }

    fn line(&mut self, word: &str, rest: &str) -> Result<(), String> {
        match word {
            "ask" => setting(&mut self.script.ask, &Script::ASK, rest)?,
            "expect" => setting(&mut self.script.expect, &Script::EXPECT, rest)?,
            "answer" => self.begin(rest)?,
            "status" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                let code = status(code)?;
                let reason = if reason.is_empty() { wire::reason(code) } else { reason };
                self.current.status = Some((code, reason.into()));
            }
            "header" => self.current.headers.push(header(rest)?),
            "trailer" => self.current.trailers.push(header(rest)?),
            "body" => {
                self.current.framing = match rest.split_once(' ').unwrap_or((rest, "")) {
                    ("chunked", "") => Framing::Chunked,
                    ("close", "") => Framing::Close,
                    ("length", "") => Framing::Length(None),
                    ("length", bytes) => Framing::Length(Some(number(bytes)?)),
                    _ => return Err(format!("`{rest}` is none of `chunked`, `length`, `length N`, `close`")),
                };
            }
            _ => {
                let step = match word {
                    "fill" => self.fill(rest)?,
                    _ => step(word, rest)?,
                };
                if matches!(self.current.steps.last(), Some(Step::Hang | Step::Reset | Step::Close)) {
                    return Err("nothing can follow `hang`, `reset` or `close`".into());
                }
                self.current.steps.push(step);
            }
        }
        Ok(())
    }

    fn fill(&mut self, rest: &str) -> Result<Step, String> {
        let (count, text) = rest.split_once(' ').ok_or("`fill` needs a number and a quoted text")?;
        let (count, text) = (number::<usize>(count)?, quoted(text.trim())?);
        match count.checked_mul(text.len()).and_then(|bytes| self.filled.checked_add(bytes)) {
            Some(total) if total <= FILL_LIMIT => self.filled = total,
            _ => return Err(format!("`fill` makes at most {FILL_LIMIT} bytes in all")),
        }
        Ok(Step::Body(text.repeat(count)))
    }

    fn begin(&mut self, rest: &str) -> Result<(), String> {
        let mut next = Answer::default();
        for condition in rest.split_whitespace() {
            match condition.strip_prefix('#') {
                Some(count) => next.number = Some(number(count)?),
                None if condition.starts_with('/') => next.path = Some(condition.into()),
                None => return Err(format!("`{condition}` is neither a path nor `#` with a number")),
            }
        }
        if next.path.is_none() && next.number.is_none() {
            return Err("`answer` needs a path such as `/v1/models`, or the number of a request such as `#2`".into());
        }
        let former = std::mem::replace(&mut self.current, next);
        if self.chosen || former != Answer::default() {
            self.script.answers.push(former);
        }
        self.chosen = true;
        Ok(())
    }
}

fn step(word: &str, rest: &str) -> Result<Step, String> {
    let alone = |step: Step| match rest {
        "" => Ok(step),
        _ => Err(format!("`{word}` takes nothing, but `{rest}` follows")),
    };
    match word {
        "interim" => Ok(Step::Interim(status(rest)?)),
        "head" => alone(Step::Head),
        "wait" => Ok(Step::Wait(duration(rest)?)),
        "event" if rest.is_empty() => Err("`event` needs the data that it carries".into()),
        "event" => Ok(Step::Body(format!("data: {rest}\n\n").into_bytes())),
        "bytes" => Ok(Step::Body(quoted(rest)?)),
        "raw" => Ok(Step::Raw(quoted(rest)?)),
        "split" => Ok(Step::Split(number(rest)?)),
        "hold" => alone(Step::Hold),
        "send" => alone(Step::Send),
        "mark" if rest.is_empty() => Err("`mark` needs a name".into()),
        "mark" => Ok(Step::Mark(rest.into())),
        "hang" => alone(Step::Hang),
        "reset" => alone(Step::Reset),
        "close" => alone(Step::Close),
        _ => Err(format!("there is no `{word}`")),
    }
}

fn setting(
    settings: &mut std::collections::BTreeMap<String, String>,
    known: &[&str],
    rest: &str,
) -> Result<(), String> {
    let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
    if !known.contains(&key) {
        return Err(format!("`{key}` is none of {}", known.join(", ")));
    }
    if value.is_empty() {
        return Err(format!("`{key}` needs a value"));
    }
    match settings.insert(key.into(), value.trim().into()) {
        None => Ok(()),
        Some(former) => Err(format!("`{key}` was already `{former}`")),
    }
}

fn status(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(code @ 100..=599) => Ok(code),
        _ => Err(format!("`{text}` is no status from 100 to 599")),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("`{text}` is not `Name: value`"))?;
    Ok((name.trim().into(), value.trim().into()))
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.trim().parse().map_err(|_| format!("`{text}` is no number"))
}

/// A duration such as `50ms`, `1.5s` or `200us`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration such as `50ms`, `1.5s` or `200us`");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let value: f64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match &text[digits..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(value * unit).map_err(|_| wrong())
}

/// The bytes of a text in single or double quotes, with the escapes `\n \r \t \\ \" \' \xNN`.
fn quoted(text: &str) -> Result<Vec<u8>, String> {
    let quote = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => return Err(format!("`{text}` is not in quotes")),
    };
    let inner = text[1..].strip_suffix(quote).ok_or_else(|| format!("`{text}` lacks its closing quote"))?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(character) = rest.next() {
        if character == quote {
            return Err(format!("a {quote} within the text is written \\{quote}"));
        }
        if character != '\\' {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match rest.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('\\') => b'\\',
            Some('"') => b'"',
            Some('\'') => b'\'',
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                let two = digits.len() == 2 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
                match u8::from_str_radix(&digits, 16) {
                    Ok(byte) if two => byte,
                    _ => return Err(format!("`\\x{digits}` needs two hexadecimal digits")),
                }
            }
            Some(other) => return Err(format!("there is no escape `\\{other}`")),
            None => return Err("the text ends within an escape".into()),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read() {
        let text = r#"
            # A comment.
            ask endpoint chat
            expect outcome success
            status 200
            wait 1.5ms
            event {"a": 1}
            bytes 'data: "x"\r\n\xe2\x82'
            answer /health
            status 503 Still loading
            body length
            answer /v1/completions #2
            reset
        "#;
        let script = Script::parse("s", text).unwrap();
        assert_eq!(script.ask["endpoint"], "chat");
        assert_eq!(script.expect["outcome"], "success");
        let usual = script.answer("/v1/completions", 1).unwrap();
        assert_eq!(
            usual.steps,
            [
                Step::Wait(Duration::from_micros(1500)),
                Step::Body(b"data: {\"a\": 1}\n\n".to_vec()),
                Step::Body(b"data: \"x\"\r\n\xe2\x82".to_vec()),
            ]
        );
        let health = script.answer("/health", 2).unwrap();
        assert_eq!(
            (health.status.clone(), health.framing),
            (Some((503, "Still loading".into())), Framing::Length(None))
        );
        assert_eq!(script.answer("/v1/completions", 2).unwrap().steps, [Step::Reset]);
    }

    #[test]
    fn a_script_may_leave_requests_without_an_answer_of_its_own() {
        let script = Script::parse("s", "answer /a\nhang").unwrap();
        assert!(script.answer("/a", 1).is_some());
        assert_eq!(script.answer("/b", 1), None);
        assert_eq!(Script::parse("s", "").unwrap().answer("/b", 1), Some(&Answer::default()));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, expected) in [
            ("status 200\nsing", "s, line 2: there is no `sing`"),
            ("wait 50", "s, line 1: `50` is no duration such as `50ms`, `1.5s` or `200us`"),
            ("wait -1s", "s, line 1: `-1s` is no duration such as `50ms`, `1.5s` or `200us`"),
            ("status 99", "s, line 1: `99` is no status from 100 to 599"),
            ("header x", "s, line 1: `x` is not `Name: value`"),
            ("bytes x", "s, line 1: `x` is not in quotes"),
            ("bytes \"x", "s, line 1: `\"x` lacks its closing quote"),
            ("bytes \"", "s, line 1: `\"` lacks its closing quote"),
            ("bytes \"a\"b\"", "s, line 1: a \" within the text is written \\\""),
            ("bytes \"\\q\"", "s, line 1: there is no escape `\\q`"),
            ("bytes \"\\x+1\"", "s, line 1: `\\x+1` needs two hexadecimal digits"),
            ("fill 99999999999 'x'", "s, line 1: `fill` makes at most 67108864 bytes in all"),
            ("fill 67108864 'x'\nfill 1 'x'", "s, line 2: `fill` makes at most 67108864 bytes in all"),
            ("body gzip", "s, line 1: `gzip` is none of `chunked`, `length`, `length N`, `close`"),
            ("hang\nwait 1s", "s, line 2: nothing can follow `hang`, `reset` or `close`"),
            ("hang now", "s, line 1: `hang` takes nothing, but `now` follows"),
            (
                "answer",
                "s, line 1: `answer` needs a path such as `/v1/models`, or the number of a request such as `#2`",
            ),
            ("answer x", "s, line 1: `x` is neither a path nor `#` with a number"),
            (
                "ask nicely",
                "s, line 1: `nicely` is none of endpoint, max_line, max_tokens, timeout, timeout_between, timeout_first_token, tokenizer",
            ),
            ("expect outcome a\nexpect outcome b", "s, line 2: `outcome` was already `a`"),
        ] {
            assert_eq!(Script::parse("s", text).unwrap_err().to_string(), expected);
        }
    }
}
