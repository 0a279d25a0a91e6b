//! The lines of a journal: parsed on several processors, taken in their order.

use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sagellm_core::SCHEMA_VERSION;
use sagellm_core::journal::Line;
use serde::Deserialize;

use crate::Error;

/// Longest line that is read. A record of 65 536 single-token chunks takes 3 MB.
pub(crate) const LONGEST_LINE: usize = 64 << 20;

/// Bytes that are parsed in one go.
pub(crate) const BLOCK: usize = 1 << 18;

/// Blocks that wait before and after each parser.
const WAITING: usize = 2;

/// More parsers than this have nothing to do: the lines are taken one after the other.
const MOST_PARSERS: usize = 4;

/// What is read: whole lines, or why there are no more.
enum Block {
    /// The first block of a file begins with the line that says its version.
    Lines {
        text: Vec<u8>,
        first: bool,
    },
    /// The file ends within a line.
    Torn,
    TooLong,
    Failed(std::io::Error),
}

/// The same, parsed.
enum Parsed {
    Lines(Vec<Result<Line, Wrong>>),
    Torn,
    TooLong,
    Failed(std::io::Error),
}

/// What is wrong with a line.
enum Wrong {
    Malformed(serde_json::Error),
    Newer(u32),
}

/// Gives every complete line of `reader` to `take`, in their order, which may refuse one. The last line is left out when it
/// is torn or damaged, as a crash leaves it. `path` is for the errors; `block` bytes or more are parsed in one go.
///
/// # Errors
/// When reading fails, a line is damaged or refused, or a later version wrote the file.
pub(crate) fn for_each_line(
    path: &Path,
    reader: impl Read + Send,
    block: usize,
    take: &mut dyn FnMut(Line) -> Result<(), String>,
) -> Result<(), Error> {
    let parsers = thread::available_parallelism().map_or(1, usize::from).min(MOST_PARSERS);
    thread::scope(|scope| {
        let mut inputs = Vec::new();
        let mut outputs = Vec::new();
        for _ in 0..parsers {
            let (input, blocks) = sync_channel::<Block>(WAITING);
            let (parsed, output) = sync_channel::<Parsed>(WAITING);
            scope.spawn(move || blocks.into_iter().try_for_each(|block| parsed.send(parse(block))));
            inputs.push(input);
            outputs.push(output);
        }
        // Whoever waits for a side that is gone ends too, so that an error here ends all.
        scope.spawn(move || read(reader, block, &inputs));
        take_all(path, outputs, take)
    })
}

fn take_all(
    path: &Path,
    outputs: Vec<Receiver<Parsed>>,
    take: &mut dyn FnMut(Line) -> Result<(), String>,
) -> Result<(), Error> {
    let mut number = 0;
    let wrong = |line: usize, column: usize, message: String| {
        Err(Error::Malformed { path: path.to_owned(), line, column, message })
    };
    // A damaged line is an error only when another comes after it.
    let mut damaged: Option<serde_json::Error> = None;
    for output in outputs.iter().cycle() {
        let Ok(parsed) = output.recv() else { break };
        let lines = match (parsed, damaged.take()) {
            (Parsed::Failed(source), _) => return Err(Error::Read { path: path.to_owned(), source }),
            (_, Some(error)) => return wrong(number, error.column(), plain_message(&error)),
            (Parsed::Torn, None) => break,
            (Parsed::TooLong, None) => return wrong(number + 1, 0, "the line is too long".into()),
            (Parsed::Lines(lines), None) => lines,
        };
        for line in lines {
            if let Some(error) = damaged.take() {
                return wrong(number, error.column(), plain_message(&error));
            }
            number += 1;
            match line {
                Ok(line) => take(line).or_else(|message| wrong(number, 0, message))?,
                Err(Wrong::Malformed(error)) => damaged = Some(error),
                Err(Wrong::Newer(version)) => return Err(Error::Newer { path: path.to_owned(), version }),
            }
        }
    }
    Ok(())
}

/// Hands blocks of whole lines to the parsers in turn.
fn read(mut reader: impl Read, size: usize, inputs: &[SyncSender<Block>]) {
    let mut text = Vec::new();
    let mut first = true;
    for input in inputs.iter().cycle() {
        let block = next_block(&mut reader, size, &mut text);
        let Some(block) = block else { return };
        let (block, last) = match block {
            Block::Lines { text, .. } => (Block::Lines { text, first }, false),
            other => (other, true),
        };
        first = false;
        if input.send(block).is_err() || last {
            return;
        }
    }
}

/// The next block; `None` at the end. `text` holds what was read of the line after it.
fn next_block(reader: &mut impl Read, size: usize, text: &mut Vec<u8>) -> Option<Block> {
    loop {
        let before = text.len();
        match reader.take(size as u64).read_to_end(text) {
            Err(source) => return Some(Block::Failed(source)),
            Ok(0) => return (!text.is_empty()).then_some(Block::Torn),
            Ok(_) => {}
        }
        if let Some(end) = text[before..].iter().rposition(|byte| *byte == b'\n') {
            let rest = text.split_off(before + end + 1);
            return Some(Block::Lines { text: std::mem::replace(text, rest), first: false });
        }
        if text.len() >= LONGEST_LINE {
            return Some(Block::TooLong);
        }
    }
}

fn parse(block: Block) -> Parsed {
    let (text, mut first) = match block {
        Block::Lines { text, first } => (text, first),
        Block::Torn => return Parsed::Torn,
        Block::TooLong => return Parsed::TooLong,
        Block::Failed(source) => return Parsed::Failed(source),
    };
    let mut lines = Vec::new();
    let mut rest = &text[..];
    while !rest.is_empty() {
        let whole = rest;
        // From memory nothing fails.
        let length = rest.skip_until(b'\n').unwrap_or(whole.len());
        let line = &whole[..length];
        let newer = if std::mem::take(&mut first) { newer_version(line) } else { None };
        lines.push(match newer {
            Some(version) => Err(Wrong::Newer(version)),
            None => serde_json::from_slice(line).map_err(Wrong::Malformed),
        });
    }
    Parsed::Lines(lines)
}

/// The version that a header says, when it is a later one. Anything else wrong with it is found when it is read in full.
fn newer_version(header: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Probe {
        schema_version: u32,
    }
    let probe: Probe = serde_json::from_slice(header).ok()?;
    Some(probe.schema_version).filter(|version| *version > SCHEMA_VERSION)
}

/// The message of a JSON error without the place, which is said separately.
pub(crate) fn plain_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(place) => text[..place].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSE: &str = include_str!("../tests/data/golden.records.jsonl");

    /// The numbers of the requests in a text, read in blocks of a size, or the error.
    fn read(text: &str, block: usize) -> Result<Vec<u64>, String> {
        let mut ids = Vec::new();
        let taken = for_each_line(Path::new("j"), text.as_bytes(), block, &mut |line| {
            match line {
                Line::Request(record) if record.id == 666 => return Err("not this one".into()),
                Line::Request(record) => ids.push(record.id),
                Line::Header(_) | Line::Close(_) => {}
            }
            Ok(())
        });
        taken.map(|()| ids).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_come_in_order_however_they_are_cut() {
        let request = CLOSE.lines().nth(2).unwrap();
        let numbered = |id: u64| request.replacen("\"id\":0", &format!("\"id\":{id}"), 1) + "\n";
        let text: String = (0..500).map(numbered).collect();
        for block in [1, 100, 1000, 5000, 1 << 20] {
            assert_eq!(read(&text, block).unwrap(), (0..500).collect::<Vec<_>>(), "{block}");
            let torn = format!("{text}{}", &request[..40]);
            assert_eq!(read(&torn, block).unwrap().len(), 500);
            let damaged_last = format!("{text}\0\0\0\n");
            assert_eq!(read(&damaged_last, block).unwrap().len(), 500);
            for after in [&numbered(3), "{"] {
                let damaged = format!("{text}{{\"line\":7}}\n{after}");
                let error = read(&damaged, block).unwrap_err();
                assert!(error.starts_with("j:501:"), "{error}");
            }
            let refused = read(&format!("{text}{}{text}", numbered(666)), block).unwrap_err();
            assert_eq!(refused, "j:501:0: not this one");
        }
        assert_eq!(read("", 100).unwrap(), Vec::<u64>::new());
    }

    #[test]
    fn a_failure_to_read_is_one() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("the disk is gone"))
            }
        }
        assert!(matches!(for_each_line(Path::new("j"), Broken, BLOCK, &mut |_| Ok(())), Err(Error::Read { .. })));
    }
}
