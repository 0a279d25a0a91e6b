//! The reader of `plan.jsonl`.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sagellm_core::file::{self, FileError};
use sagellm_core::{Failure, Plan, PlanHeader, PlanLine, Request, Requests, SCHEMA_VERSION, Workload};
use sagellm_model::Tokenizer;

use super::outline::Outliner;
use super::{Place, PlanFile, Section};
use crate::planner::check_duration;
use crate::{PlanError, arrival, warmups};

/// Longest line of a plan, in bytes: a prompt of the longest string that is read, its token ids, and escapes.
const MAX_LINE: usize = 256 << 20;

/// How a line begins that only plans of earlier versions have. It is passed over: warm-ups are made when they are sent.
const WARMUP: &[u8] = br#"{"line":"warmup""#;

/// A request, or why it cannot be read.
pub(crate) type ReadRequest = Result<Request, PlanError>;

/// A workload whose requests are being read.
pub(crate) struct Read<R> {
    pub(crate) workload: Workload,
    pub(crate) requests: R,
}

impl PlanFile {
    /// Reads a plan to its end and checks that it can be run. Its requests are not kept in memory.
    ///
    /// # Errors
    /// [`PlanError::File`] when it cannot be read, [`PlanError::Line`] for the first line that is damaged or contradicts
    /// those before it.
    pub fn open(path: &Path) -> Result<Self, PlanError> {
        let mut lines = Lines::open(path, 0)?;
        let header = match lines.next()? {
            Some(PlanLine::Header(header)) => header,
            Some(_) => return Err(lines.wrong("a header is expected here")),
            None => return Err(lines.wrong("the file is empty")),
        };
        check_header(&header).map_err(|reason| lines.wrong(reason))?;
        let mut sections = Vec::new();
        let mut open: Option<(u64, Outliner)> = None;
        let mut order = Order::default();
        loop {
            let at = lines.at;
            let line = lines.next()?;
            match &line {
                None | Some(PlanLine::Workload(_)) => {
                    if let Some((at, outliner)) = open.take() {
                        check_count(&outliner).map_err(|reason| lines.wrong(reason))?;
                        sections.push(Section { at, outline: outliner.finish() });
                    }
                }
                _ => {}
            }
            let Some(line) = line else { break };
            if let PlanLine::Workload(workload) = &line {
                check_workload(workload, &sections).map_err(|reason| lines.wrong(reason))?;
                order = Order::default();
                open = Some((at, Outliner::new(workload.clone())));
            }
            let Some((_, outliner)) = &mut open else {
                return Err(lines.wrong("a workload is expected before its requests"));
            };
            outliner.line(&lines.line);
            match line {
                PlanLine::Header(_) => return Err(lines.wrong("there is a header already")),
                PlanLine::Workload(_) => {}
                PlanLine::Request(request) => {
                    order.request(&request).map_err(|reason| lines.wrong(reason))?;
                    outliner.request(&request);
                }
            }
        }
        if sections.is_empty() {
            return Err(lines.wrong("the plan holds no workload"));
        }
        Ok(Self { place: Place::Kept(path.to_owned()), header, sections })
    }

    /// The plan of the `nth` workload. Its requests are read as they are taken, and those of its warm-up are made with the
    /// tokenizer of who is to answer them.
    ///
    /// # Errors
    /// [`PlanError::File`] and [`PlanError::Line`] when the file was changed meanwhile.
    pub fn plan(&self, nth: usize, tokenizer: &Tokenizer) -> Result<Plan, PlanError> {
        let same_tokens = self.header().tokenizer == tokenizer.fingerprint();
        let warmups = warmups::make(self.section(nth)?, tokenizer, same_tokens);
        let workload = self.sections[nth].outline.workload.clone();
        Ok(Plan { workload, warmups, requests: self.requests(nth)? })
    }

    /// The measured requests of the `nth` workload alone.
    ///
    /// # Errors
    /// As [`PlanFile::plan`].
    pub fn requests(&self, nth: usize) -> Result<Requests, PlanError> {
        let requests = self.section(nth)?.requests;
        Ok(Box::new(requests.map(|request| request.map_err(Failure::from))))
    }

    /// The `nth` workload, and its requests as they are read.
    pub(crate) fn section(
        &self,
        nth: usize,
    ) -> Result<Read<impl Iterator<Item = ReadRequest> + Send + use<>>, PlanError> {
        let Section { at, outline } = &self.sections[nth];
        let mut lines = Lines::open(self.path(), *at)?;
        let changed = |lines: &Lines| lines.wrong("the plan was changed while it was read");
        let Some(PlanLine::Workload(workload)) = lines.next()? else { return Err(changed(&lines)) };
        let requests = (0..outline.requests).map(move |_| match lines.next()? {
            Some(PlanLine::Request(request)) => Ok(request),
            _ => Err(changed(&lines)),
        });
        Ok(Read { workload, requests })
    }
}

/// The lines of a plan, one after the other.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    /// Where the next line begins.
    at: u64,
}

impl Lines {
    fn open(path: &Path, at: u64) -> Result<Self, PlanError> {
        let failed = |source| PlanError::File { path: path.to_owned(), action: "read", source };
        let mut file = BufReader::with_capacity(1 << 16, file::open(path).map_err(failed)?);
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, line: Vec::new(), number: 0, at })
    }

    fn next(&mut self) -> Result<Option<PlanLine>, PlanError> {
        let mut read = self.read()?;
        while self.line.starts_with(WARMUP) {
            self.at += read as u64;
            read = self.read()?;
        }
        if read == 0 {
            self.number -= 1;
            return Ok(None);
        }
        let mut text = self.line.trim_ascii_end();
        if self.at == 0 {
            text = file::without_mark(text).map_err(|source| self.failed(source))?;
        }
        self.at += read as u64;
        // The only line that the parser knows is line 1.
        let wrong = |error: serde_json::Error| self.wrong(error.to_string().replace(" at line 1 column", ", column"));
        serde_json::from_slice(text).map(Some).map_err(wrong)
    }

    /// Reads a line and returns its bytes.
    fn read(&mut self) -> Result<usize, PlanError> {
        self.line.clear();
        let read = file::read_line(&mut self.file, &mut self.line, MAX_LINE);
        self.number += 1;
        read.map_err(|source| match FileError::of(&source) {
            Some(long @ FileError::LongLine { .. }) => self.wrong(long.to_string()),
            _ => self.failed(source),
        })
    }

    fn failed(&self, source: std::io::Error) -> PlanError {
        PlanError::File { path: self.path.clone(), action: "read", source }
    }

    fn wrong(&self, reason: impl Into<String>) -> PlanError {
        PlanError::Line { path: self.path.clone(), line: self.number.max(1), reason: reason.into() }
    }
}

fn check_header(header: &PlanHeader) -> Result<(), String> {
    match header.schema_version {
        SCHEMA_VERSION => Ok(()),
        other => Err(format!("schema version {other}, but this program reads {SCHEMA_VERSION}")),
    }
}

fn check_workload(workload: &Workload, before: &[Section]) -> Result<(), String> {
    if workload.max_concurrency == Some(0) {
        return Err("`max_concurrency` is 0, so no request could ever be sent".into());
    }
    // A plan that was edited is held to what a new one is.
    check_duration(workload.duration_s)
        .and_then(|()| arrival::check(&workload.arrival))
        .map_err(|it| it.to_string())?;
    // The name becomes that of a file.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if workload.name.is_empty() || workload.name.starts_with('.') || !workload.name.chars().all(plain) {
        return Err(format!("`{}` is no name for a workload: letters, digits, `_`, `-` and `.`", workload.name));
    }
    match before.iter().any(|section| section.outline.workload.name == workload.name) {
        true => Err(format!("the workload `{}` occurs twice", workload.name)),
        false => Ok(()),
    }
}

fn check_count(outliner: &Outliner) -> Result<(), String> {
    let (workload, found) = (outliner.workload(), outliner.requests());
    match u64::from(workload.num_prompts) == found {
        true => Ok(()),
        false => {
            Err(format!("workload `{}` states {} requests, but {found} follow", workload.name, workload.num_prompts))
        }
    }
}

/// What the requests of a workload may not be: out of order, or two of one number.
#[derive(Default)]
struct Order {
    /// Number and conversation of the request before.
    last: Option<(u64, Option<u64>)>,
    /// The request that the latest conversation began with, or the latest single one.
    first_turn: Option<(u64, u64)>,
}

impl Order {
    fn request(&mut self, request: &Request) -> Result<(), String> {
        if request.max_tokens == 0 {
            return Err(format!("request {} asks for no token", request.id));
        }
        if let Some((last, _)) = self.last
            && request.id <= last
        {
            return Err(format!("request {} comes after request {last}", request.id));
        }
        let later_turn = request.session.is_some() && self.last.is_some_and(|(_, session)| session == request.session);
        if !later_turn {
            if let Some((id, offset)) = self.first_turn
                && request.offset_ns < offset
            {
                return Err(format!("request {} is due before request {id}, which precedes it", request.id));
            }
            self.first_turn = Some((request.id, request.offset_ns));
        }
        self.last = Some((request.id, request.session));
        Ok(())
    }
}
