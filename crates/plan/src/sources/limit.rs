//! Limits on what a parser keeps of a text at a time, whatever the text is.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use sagellm_core::file::FileError;

/// Longest string of a JSON text, in bytes. No model takes a prompt of this length.
pub(super) const MAX_STRING: usize = 16 << 20;

/// Longest row of a CSV table, in bytes.
pub(super) const MAX_ROW: usize = 1 << 20;

/// Deepest nesting of a JSON text; the parser keeps a byte for each level, also of what it skips.
const MAX_DEPTH: usize = 1000;

/// Passes on a JSON text until one of its strings is longer than [`MAX_STRING`], or it is nested too deep.
pub(super) struct LimitedJson<R> {
    text: R,
    depth: usize,
    /// Bytes of the string so far, when inside of one.
    length: Option<usize>,
    escaped: bool,
    line: u64,
    exceeded: Option<&'static str>,
}

impl<R: Read> LimitedJson<R> {
    pub(super) fn new(text: R) -> Self {
        Self { text, depth: 0, length: None, escaped: false, line: 1, exceeded: None }
    }

    /// The line where a limit was exceeded, from 1, and which one it was.
    pub(super) fn exceeded(&self) -> Option<(u64, &'static str)> {
        Some((self.line, self.exceeded?))
    }

    fn scan(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.line += u64::from(*byte == b'\n');
            let Some(length) = &mut self.length else {
                match byte {
                    b'"' => self.length = Some(0),
                    b'[' | b'{' => self.depth += 1,
                    b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                if self.depth > MAX_DEPTH {
                    self.exceeded = Some("it is nested too deep");
                    return;
                }
                continue;
            };
            *length += 1;
            if *length > MAX_STRING {
                self.exceeded = Some("a string is longer than 16 MiB");
                return;
            }
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.length = None,
                _ => {}
            }
        }
    }
}

impl<R: Read> Read for LimitedJson<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(into)?;
        self.scan(&into[..read]);
        match self.exceeded {
            Some(limit) => Err(io::Error::other(limit)),
            None => Ok(read),
        }
    }
}

/// Passes on a table as long as [`Budget::renew`] is called at least every [`MAX_ROW`] bytes.
pub(super) struct LimitedRows<R> {
    table: R,
    left: Budget,
}

/// Bytes that may be read until the next row is complete.
#[derive(Clone)]
pub(super) struct Budget(Rc<Cell<usize>>);

impl Budget {
    pub(super) fn renew(&self) {
        self.0.set(MAX_ROW);
    }
}

impl<R: Read> LimitedRows<R> {
    pub(super) fn new(table: R) -> (Self, Budget) {
        let left = Budget(Rc::new(Cell::new(MAX_ROW)));
        (Self { table, left: left.clone() }, left)
    }
}

impl<R: Read> Read for LimitedRows<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.table.read(into)?;
        match self.left.0.get().checked_sub(read) {
            Some(left) => self.left.0.set(left),
            None => return Err(FileError::LongLine { limit: MAX_ROW as u64 }.into()),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a text is passed on whole, or the line where it is not.
    fn passes(text: &[u8]) -> Result<(), u64> {
        let mut limited = LimitedJson::new(text);
        match io::copy(&mut limited, &mut io::sink()) {
            Ok(_) => Ok(()),
            Err(_) => Err(limited.exceeded().unwrap().0),
        }
    }

    #[test]
    fn strings_and_nesting_are_limited() {
        let long = "a".repeat(MAX_STRING);
        assert_eq!(passes(format!("[\"{}\", \"\\\"\", {long}]", &long[1..]).as_bytes()), Ok(()));
        assert_eq!(passes(format!("[\n\"{long}\"]").as_bytes()), Err(2));
        assert_eq!(passes(format!("\"{}\\\"{long}", &long[..100]).as_bytes()), Err(1), "an escaped quote");
        assert_eq!(passes("[{}],".repeat(MAX_DEPTH).as_bytes()), Ok(()));
        assert_eq!(passes(format!("\n{}", "[".repeat(MAX_DEPTH + 1)).as_bytes()), Err(2));
    }

    #[test]
    fn a_row_is_limited_but_not_the_table() {
        let bytes = vec![b'a'; 4 * MAX_ROW];
        let (mut rows, budget) = LimitedRows::new(&bytes[..]);
        let mut piece = vec![0; MAX_ROW / 2];
        for _ in 0..8 {
            rows.read_exact(&mut piece).unwrap();
            budget.renew();
        }
        let (mut rows, _budget) = LimitedRows::new(&bytes[..]);
        assert!(io::copy(&mut rows, &mut io::sink()).is_err());
    }
}
