//! What a person sees while a workload runs.

use std::fs::File;
use std::path::{Path, PathBuf};

use sagellm_core::journal::{Close, Warmup};
use sagellm_core::{BackendInfo, Clock, Event, EventKind, Nanos, OutcomeKind, Record, Workload, seconds};
use sagellm_run::Observer;

use crate::terminal::{Progress, Unit};

/// Draws progress, and with `--verbose` prints every event.
pub(super) struct Reporter<'a> {
    progress: &'a Progress,
    clock: Clock,
    verbose: bool,
    workload: String,
    requests: u32,
    expected_tokens: u64,
    done: u32,
    failed: u32,
    sent: u32,
    tokens: u64,
    started: Nanos,
    journal: Option<PathBuf>,
    opened: Option<File>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(progress: &'a Progress, clock: Clock, verbose: bool) -> Self {
        Self {
            progress,
            clock,
            verbose,
            workload: String::new(),
            requests: 0,
            expected_tokens: 0,
            done: 0,
            failed: 0,
            sent: 0,
            tokens: 0,
            started: 0,
            journal: None,
            opened: None,
        }
    }

    /// The journal of the next workload, to be opened once it exists.
    pub(super) fn keep_journal(&mut self, path: &Path) {
        self.journal = Some(path.to_owned());
    }

    /// The journal of the last workload, open for reading.
    pub(super) fn take_journal(&mut self) -> Option<File> {
        self.opened.take()
    }

    /// Output tokens that the next workload asks for: the length of the bar.
    pub(super) fn expect(&mut self, tokens: u64) {
        self.expected_tokens = tokens;
    }

    /// Says what is about to be measured.
    pub(super) fn introduce(&self, backend: &BackendInfo, quiet: bool) {
        if quiet {
            return;
        }
        let model = &backend.model;
        let note = if model.synthetic { "; synthetic weights: the speed is real, the text is not" } else { "" };
        let dtype = model.dtype.as_ref().map_or(String::new(), |dtype| format!(", {dtype}"));
        self.progress.line(&format!("{} on {}{dtype}{note}", model.name, backend.name));
        if self.verbose {
            for (name, value) in &backend.settings {
                self.progress.line(&format!("  {name} = {value}"));
            }
        }
    }

    fn rate(&self) -> f64 {
        self.tokens as f64 / seconds(self.clock.now().saturating_sub(self.started)).max(1e-9)
    }

    /// One event as a line: its own stamp in seconds on the clock of the run, not the time of printing.
    fn print(&self, event: &Event, warmup: bool) {
        let what = match &event.kind {
            EventKind::Sent => "sent".to_owned(),
            EventKind::Chunk(piece) => match &piece.text {
                Some(text) => format!("{} token {text:?}", piece.tokens),
                None => format!("{} tokens", piece.tokens),
            },
            EventKind::Preempted => "preempted".to_owned(),
            EventKind::End(end) => {
                let reason = end.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
                format!("{} after {} tokens{reason}", end.outcome.name(), end.output_tokens)
            }
        };
        let phase = if warmup { " warm-up" } else { "" };
        let at = seconds(event.at);
        self.progress.line(&format!("[{at:12.6}] {}{phase} #{} {what}", self.workload, event.request));
    }
}

impl Observer for Reporter<'_> {
    fn on_begin(&mut self, workload: &Workload) {
        self.workload.clone_from(&workload.name);
        // Its absence costs only what is described at `OpenOutput::keep`.
        self.opened = self.journal.take().and_then(|path| File::open(path).ok());
        self.requests = workload.num_prompts;
        (self.done, self.failed, self.sent, self.tokens) = (0, 0, 0, 0);
        self.progress.start(&workload.name, Some(self.expected_tokens), Unit::Tokens);
        self.progress.message(|| "warm-up".into());
    }

    fn on_start(&mut self, warmup: &Warmup) {
        if warmup.waves.len() > 1 {
            self.progress.line_unless_quiet(&format!("{}: {}", self.workload, described(warmup)));
        }
        self.started = self.clock.now();
    }

    fn on_event(&mut self, event: &Event, warmup: bool) {
        if self.verbose {
            self.print(event, warmup);
        }
        if warmup {
            return;
        }
        match &event.kind {
            EventKind::Sent => self.sent += 1,
            EventKind::Chunk(piece) => {
                self.tokens += u64::from(piece.tokens);
                self.progress.forward(u64::from(piece.tokens));
            }
            EventKind::Preempted | EventKind::End(_) => {}
        }
        self.progress.message(|| {
            let in_flight = self.sent.saturating_sub(self.done);
            format!("{}/{} done, {in_flight} in flight, {:.1} tok/s", self.done, self.requests, self.rate())
        });
    }

    fn on_request_end(&mut self, record: &Record) {
        // What an interruption cut off or kept from being sent was not done.
        if !record.warmup && !matches!(record.outcome, OutcomeKind::Censored | OutcomeKind::NotSent) {
            self.done += 1;
            self.failed += u32::from(record.outcome.is_failure());
            let untold = u64::from(record.untold_tokens());
            self.tokens += untold;
            self.progress.forward(untold);
        }
    }

    fn on_end(&mut self, close: &Close) {
        let took = seconds(close.end_ns.saturating_sub(self.started));
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        let cut = if close.interrupted { ", interrupted" } else { "" };
        let line = format!(
            "{}: {} of {} requests{failed}{cut}, {} tokens in {took:.2} s",
            self.workload, self.done, self.requests, self.tokens
        );
        self.progress.stop(Some(&line));
        if let Some(steps) = close.backend.steps.filter(|_| self.verbose) {
            self.progress.line(&format!(
                "{}: {} steps of {:.1} tokens; ms of attention {:.1}, products {:.1}, sampling {:.1}, scheduling {:.1}, \
                 other {:.1}",
                self.workload,
                steps.steps,
                steps.tokens as f64 / steps.steps.max(1) as f64,
                steps.attention_ms,
                steps.matmul_ms,
                steps.sampling_ms,
                steps.scheduling_ms,
                steps.other_ms
            ));
        }
    }
}
/// Describes a warm-up in one line.
fn described(warmup: &Warmup) -> String {
    let stable = match warmup.stable {
        Some(true) => ", stable",
        Some(false) => ", not stable",
        None => "",
    };
    format!(
        "warm-up: {} requests in {} waves, up to {} concurrent, {:.1} s{stable}",
        warmup.requests,
        warmup.waves.len(),
        warmup.at_once,
        seconds(warmup.duration_ns)
    )
}
