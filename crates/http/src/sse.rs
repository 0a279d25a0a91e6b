//! Lines and events of a stream (WHATWG HTML, section 9.2.6). Bytes go in in pieces of any size; the data of an event is
//! borrowed out of one buffer that is used again for the next.

/// A line, or the data of one event, beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// An event that carries data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SseEvent<'a> {
    /// Whether it is named `error`.
    pub(crate) error: bool,
    /// Its data; several lines are joined by a newline.
    pub(crate) data: &'a [u8],
}

/// Cuts a stream into events.
#[derive(Debug)]
pub(crate) struct EventReader {
    max_line: usize,
    /// An unfinished line.
    line: Vec<u8>,
    data: Vec<u8>,
    /// Whether the event that is being read has data, if only empty.
    has_data: bool,
    error: bool,
    /// Whether the buffers hold an event that was given out.
    given: bool,
    /// Whether a line feed that comes next belongs to the line before.
    after_cr: bool,
    /// Whether no line was finished yet, so that a byte-order mark may come.
    first: bool,
}

impl EventReader {
    pub(crate) fn new(max_line: usize) -> Self {
        Self {
            max_line,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            error: false,
            given: false,
            after_cr: false,
            first: true,
        }
    }

    /// Makes ready for another stream.
    pub(crate) fn reset(&mut self) {
        self.line.clear();
        self.clear_event();
        self.after_cr = false;
        self.first = true;
    }

    /// Takes the next event off the front of `input`; `None` when the input is used up before one is complete.
    pub(crate) fn next<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Result<Option<SseEvent<'a>>, TooLong> {
        if self.given {
            self.clear_event();
        }
        loop {
            if input.is_empty() {
                return Ok(None);
            }
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = input.strip_prefix(b"\n")
            {
                *input = rest;
            }
            if let Some(data) = self.take_whole(input) {
                return Ok(Some(SseEvent { error: false, data }));
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', input) else {
                if self.line.len() + input.len() > self.max_line {
                    return Err(TooLong);
                }
                self.line.extend_from_slice(input);
                *input = &[];
                return Ok(None);
            };
            let (line, rest) = input.split_at(end);
            if self.line.len() + line.len() > self.max_line {
                return Err(TooLong);
            }
            self.after_cr = rest.first() == Some(&b'\r');
            *input = &rest[1..];
            let complete = if self.line.is_empty() {
                self.take_line(line)?
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                let complete = self.take_line(&whole)?;
                whole.clear();
                self.line = whole;
                complete
            };
            if complete {
                self.given = true;
                return Ok(Some(SseEvent { error: self.error, data: &self.data }));
            }
        }
    }

    /// What is left when the stream is over: an event whose closing empty line, or even last line end, is missing. By
    /// the letter of the standard it is lost, but a server that ends its body properly has said it.
    pub(crate) fn finish(&mut self) -> Result<Option<SseEvent<'_>>, TooLong> {
        if self.given {
            self.clear_event();
        }
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take_line(&line)?;
        }
        if !self.has_data {
            return Ok(None);
        }
        self.given = true;
        Ok(Some(SseEvent { error: self.error, data: &self.data }))
    }

    /// The data of an event that lies whole at the front of `input`, as most do: a line of data and an empty one. It need
    /// not be copied.
    fn take_whole<'b>(&self, input: &mut &'b [u8]) -> Option<&'b [u8]> {
        const NAME: &[u8] = b"data: ";
        if self.first || self.has_data || self.error || !self.line.is_empty() {
            return None;
        }
        let value = input.strip_prefix(NAME)?;
        let end = memchr::memchr2(b'\n', b'\r', value)?;
        let rest = value[end..].strip_prefix(b"\n\n").filter(|_| NAME.len() + end <= self.max_line)?;
        *input = rest;
        Some(&value[..end])
    }

    fn clear_event(&mut self) {
        self.data.clear();
        self.has_data = false;
        self.error = false;
        self.given = false;
    }

    /// Enters a line into the event; true when it completes one that has data.
    fn take_line(&mut self, line: &[u8]) -> Result<bool, TooLong> {
        let first = std::mem::take(&mut self.first);
        let line = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| first).unwrap_or(line);
        if line.is_empty() {
            let complete = self.has_data;
            if !complete {
                self.clear_event();
            }
            return Ok(complete);
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if self.data.len() + value.len() + 1 > self.max_line {
                    return Err(TooLong);
                }
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => self.error = value == b"error",
            // `id` and `retry` are for clients that reconnect; an empty name is a comment.
            _ => {}
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// The events of a stream fed in pieces that end at `cuts`; `None` when a limit is hit.
    fn events(bytes: &[u8], cuts: &[usize]) -> Option<Vec<(bool, Vec<u8>)>> {
        let mut found = Vec::new();
        crate::fuzzing::events(bytes, cuts, 64, &mut |error, data| found.push((error, data.to_vec()))).then_some(found)
    }

    fn data(stream: &str) -> Vec<String> {
        events(stream.as_bytes(), &[]).unwrap().into_iter().map(|(_, data)| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn lines_end_in_three_ways() {
        assert_eq!(data("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\n\r\n"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn data_comes_with_or_without_a_space_and_in_several_lines() {
        assert_eq!(data("data:a\n\ndata:  b\n\ndata: c\ndata:d\ndata\n\n"), ["a", " b", "c\nd\n"]);
    }

    #[test]
    fn comments_and_other_fields_are_no_data() {
        assert_eq!(data(": keep-alive\n\nid: 1\nretry: 5\nfoo: x\n\n: x\ndata: a\n: y\n\n"), ["a"]);
    }

    #[test]
    fn a_byte_order_mark_comes_only_first() {
        assert_eq!(data("\u{feff}data: a\n\n\u{feff}data: b\n\n"), ["a"]);
    }

    #[test]
    fn an_event_named_error_says_so() {
        let found = events(b"event: error\ndata: x\n\nevent: error\n\ndata: y\n\n", &[]).unwrap();
        assert_eq!(found, [(true, b"x".to_vec()), (false, b"y".to_vec())]);
    }

    #[test]
    fn an_end_without_an_empty_line_loses_nothing() {
        assert_eq!(data("data: a\n\ndata: [DONE]"), ["a", "[DONE]"]);
        assert_eq!(data("data: a\n"), ["a"]);
    }

    #[test]
    fn lines_and_events_are_bounded() {
        let line = format!("data: {}\n\n", "x".repeat(64));
        assert_eq!(events(line.as_bytes(), &[]), None);
        assert_eq!(events(line.as_bytes(), &[10, 20]), None);
        assert_eq!(events(format!(": {}", "x".repeat(64)).as_bytes(), &[]), None);
        assert_eq!(events("data: 1234567\n".repeat(10).as_bytes(), &[]), None);
    }

    #[test]
    fn where_the_bytes_are_cut_makes_no_difference() {
        let stream =
            "\u{feff}: hi\r\n\r\nevent: error\rdata: ä€\r\rdata:x\ndata: y\n\ndata: w\n\nid: 1\r\ndata: z".as_bytes();
        let whole = events(stream, &[]).unwrap();
        assert_eq!(whole.len(), 4);
        for one in 0..stream.len() {
            for two in one..stream.len() {
                assert_eq!(events(stream, &[one, two]).unwrap(), whole, "cut at {one} and {two}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_the_same_however_cut(
            pieces in prop::collection::vec(prop_oneof!["[\r\n:]{1,3}", "data", "event", "error", "[ a\u{feff}]"], 0..30),
            cuts in prop::collection::vec(0usize..60, 0..4),
        ) {
            let bytes = pieces.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(events(&bytes, &cuts), events(&bytes, &[]));
        }
    }
}
