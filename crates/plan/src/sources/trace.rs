//! Lengths and times that a real service recorded.
//!
//! The prompts are random words of the recorded lengths; one that is shorter than the tokenizer can make is made as short as
//! it can. Requests without an answer, which failed, are left out. Prompts of Mooncake share blocks of 512 tokens where
//! their hash ids are equal: the same text for the same id in every plan and workload.

use std::ops::Range;
use std::path::Path;

use jiff::Timestamp;
use sagellm_core::{DataFile, Nanos, Source, TraceFormat};
use sagellm_model::Tokenizer;
use serde::Deserialize;

use super::file::{DataReader, check_count, wrong, wrong_json};
use super::lexicon::Lexicon;
use super::limit::{LimitedRows, MAX_ROW};
use super::{Draft, Drafts};
use crate::{PlanError, Spec, random};

/// Tokens that a hash id of Mooncake stands for.
const BLOCK: usize = 512;

/// The requests of a trace.
pub(crate) struct Trace {
    workload: String,
    seed: u64,
    lexicon: Lexicon,
    data: DataFile,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    at: Nanos,
    input: u32,
    output: u32,
    hashes: Box<[u64]>,
}

impl Trace {
    pub(super) fn of(spec: &Spec, tokenizer: &Tokenizer) -> Result<Self, PlanError> {
        let Source::Trace { path, format, time_scale, skip_s, take_s } = &spec.source else {
            return Err(PlanError::Prompt { workload: spec.name.clone(), reason: "its source is another".into() });
        };
        if !(1e-6..=1e6).contains(time_scale) {
            let range = "a number from 1e-6 to 1e6";
            return Err(PlanError::Value { option: "--time-scale", value: time_scale.to_string(), range });
        }
        if !(0.0..=1e9).contains(skip_s) {
            let range = "a number of seconds from 0 to 1e9";
            return Err(PlanError::Value { option: "--skip", value: skip_s.to_string(), range });
        }
        if let Some(take) = take_s
            && !(1e-9..=1e9).contains(take)
        {
            let range = "a number of seconds above 0, at most 1e9";
            return Err(PlanError::Value { option: "--take", value: take.to_string(), range });
        }
        let mut reader = DataReader::open(path)?;
        let slice = *skip_s..skip_s + take_s.unwrap_or(f64::INFINITY);
        let mut rows = Rows { path, scale: *time_scale, slice, first: None, last: 0.0, rows: Vec::new() };
        match format {
            TraceFormat::Mooncake => mooncake(&mut reader, &mut rows)?,
            TraceFormat::Burstgpt => {
                let names = ["Timestamp", "Request tokens", "Response tokens"];
                csv(&mut reader, &mut rows, names, |text| {
                    text.parse().map_err(|_| format!("`{text}` is no time in seconds"))
                })?;
            }
            TraceFormat::Azure => {
                let mut first = None;
                csv(&mut reader, &mut rows, ["TIMESTAMP", "ContextTokens", "GeneratedTokens"], |text| {
                    let at = nanos(text).ok_or_else(|| format!("`{text}` is no date and time"))?;
                    Ok((at - *first.get_or_insert(at)) as f64 / 1e9)
                })?;
            }
        }
        let (first, rows) = (rows.first, rows.rows);
        match first {
            None => Err(wrong(path, 1, "the trace holds no request")),
            Some(_) if rows.is_empty() => {
                Err(PlanError::TooFew { workload: spec.name.clone(), wanted: 1, available: 0 })
            }
            Some(_) => Ok(Self {
                workload: spec.name.clone(),
                seed: spec.seed,
                lexicon: super::lexicon(spec, tokenizer)?,
                data: reader.finish()?,
                rows,
            }),
        }
    }
}

/// Takes rows in the order of their times.
struct Rows<'a> {
    path: &'a Path,
    scale: f64,
    /// Seconds since the first request of the trace that are taken. What lies outside is read and checked all the same.
    slice: Range<f64>,
    first: Option<f64>,
    last: f64,
    rows: Vec<Row>,
}

impl Rows<'_> {
    /// `seconds` counts from any time.
    fn add(&mut self, line: u64, seconds: f64, input: f64, output: f64, hashes: Box<[u64]>) -> Result<(), PlanError> {
        let refuse = |reason| Err(wrong(self.path, line, reason));
        let whole = |value: f64| value >= 0.0 && value.fract() == 0.0 && value <= f64::from(u32::MAX);
        if !seconds.is_finite() {
            return refuse(format!("{seconds} is no time"));
        }
        if !whole(input) || !whole(output) {
            return refuse(format!("{input} and {output} are no numbers of tokens"));
        }
        let since = seconds - *self.first.get_or_insert(seconds);
        if since < self.last {
            return refuse(format!(
                "time goes backwards: {since} s after the first request, but the one above is at {} s",
                self.last
            ));
        }
        self.last = since;
        check_count(self.path, line, self.rows.len())?;
        if output > 0.0 && self.slice.contains(&since) {
            let at = ((since - self.slice.start) * self.scale * 1e9).round() as Nanos;
            self.rows.push(Row { at, input: input as u32, output: output as u32, hashes });
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct MooncakeLine {
    /// Milliseconds.
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

fn mooncake(reader: &mut DataReader, rows: &mut Rows<'_>) -> Result<(), PlanError> {
    let path = rows.path;
    reader.lines(MAX_ROW, |number, line| {
        let line: MooncakeLine =
            serde_json::from_slice(line).map_err(|error| wrong_json(path, Some(number), &error))?;
        let blocks = line.input_length.div_ceil(BLOCK as u32);
        if line.hash_ids.len() > blocks as usize {
            let (hashes, tokens) = (line.hash_ids.len(), line.input_length);
            return Err(PlanError::Data {
                path: path.to_owned(),
                line: number,
                reason: format!(
                    "{hashes} hash ids for {tokens} tokens, expected at most {blocks}: one for {BLOCK} tokens"
                ),
                hint: Some(
                    "in a Mooncake trace a hash id stands for 512 tokens and `timestamp` is in milliseconds: \
                     convert the trace to these units",
                ),
            });
        }
        let (input, output) = (line.input_length.into(), line.output_length.into());
        rows.add(number, line.timestamp / 1e3, input, output, line.hash_ids.into())
    })
}

/// Reads the columns for time, prompt tokens and output tokens.
fn csv(
    reader: &mut DataReader,
    rows: &mut Rows<'_>,
    names: [&str; 3],
    mut time: impl FnMut(&str) -> Result<f64, String>,
) -> Result<(), PlanError> {
    let path = rows.path;
    // An error of a row that cannot be read to its end has no position, but the row has.
    let broken = |error: &csv::Error, row: Option<&csv::Position>| {
        let line = error.position().or(row).map_or(1, csv::Position::line);
        wrong(
            path,
            line,
            match error.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    format!("{len} fields, but the header has {expected_len}")
                }
                csv::ErrorKind::Utf8 { .. } => "it is no text".into(),
                csv::ErrorKind::Io(error) => error.to_string(),
                _ => "it is no CSV".into(),
            },
        )
    };
    let (text, budget) = LimitedRows::new(reader.text());
    let mut table = csv::Reader::from_reader(text);
    let header = table.headers().map_err(|error| broken(&error, None))?.clone();
    let mut columns = [0; 3];
    for (column, name) in columns.iter_mut().zip(names) {
        let found =
            header.iter().position(|title| title.trim().trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
        *column = found.ok_or_else(|| wrong(path, 1, format!("the header has no column `{name}`")))?;
    }
    let mut record = csv::StringRecord::new();
    budget.renew();
    while table.read_record(&mut record).map_err(|error| broken(&error, record.position()))? {
        budget.renew();
        let line = record.position().map_or(1, csv::Position::line);
        let [at, input, output] = columns.map(|column| record.get(column).unwrap_or_default().trim());
        let tokens =
            |text: &str| text.parse::<f64>().map_err(|_| wrong(path, line, format!("`{text}` is no number of tokens")));
        let seconds = time(at).map_err(|reason| wrong(path, line, reason))?;
        rows.add(line, seconds, tokens(input)?, tokens(output)?, Box::default())?;
    }
    Ok(())
}

/// Nanoseconds of a date and time such as `2023-11-16 18:15:46.6805900`; an offset from UTC, which later releases of the
/// trace write, is the same on each line.
fn nanos(text: &str) -> Option<i128> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let time = time.split(['+', 'Z']).next()?;
    let at: Timestamp = format!("{date}T{time}Z").parse().ok()?;
    Some(at.as_nanosecond())
}

impl Drafts for Trace {
    fn available(&self) -> Option<usize> {
        Some(self.rows.len())
    }

    fn draft(&self, index: usize) -> Result<Draft, PlanError> {
        let Row { at, input, output, hashes } = &self.rows[index];
        let tokens = (*input as usize).max(self.lexicon.least());
        let inside = self.lexicon.inside(tokens);
        let mut own = random::stream(self.seed, &[&self.workload, "prompt"], index as u64);
        // Blocks are drawn by their ids alone.
        let mut blocks = hashes.iter().map(|hash| random::stream(0, &["mooncake"], *hash));
        let first = match blocks.next() {
            Some(mut block) => self.lexicon.begin(inside.min(BLOCK), &mut block),
            None => self.lexicon.begin(inside, &mut own),
        };
        let mut begun = first;
        for mut block in blocks {
            let end = inside.min(begun.ids.len() + BLOCK);
            self.lexicon.go_on(&mut begun, end, &mut block);
        }
        self.lexicon.go_on(&mut begun, inside, &mut own);
        Ok(Draft { at: Some(*at), ..Draft::one(self.lexicon.end(begun), *output) })
    }

    fn data(&self) -> Option<DataFile> {
        Some(self.data.clone())
    }
}
