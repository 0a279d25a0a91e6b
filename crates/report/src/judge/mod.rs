//! The rules by which a workload is judged.

pub(crate) mod asked;
pub(crate) mod client;
mod clock;
mod course;
mod http;
mod stimulus;
mod surroundings;
mod warmup;

use sagellm_core::journal::Close;
use sagellm_core::{Arrival, OutcomeKind, seconds};

use crate::WorkloadSummary;
use crate::sample::Sample;
use crate::validity::{Code, Finding, Validity};

/// An error or delay of the client above this share of the median figure that it disturbs is too much.
const MOST_DISTURBANCE: f64 = 0.05;
/// From this share of the machine's CPU time on, other processes are the likely cause of a late client.
const OTHERS_IN_THE_WAY: f64 = 0.25;
/// A run that lasts for less than this share of its duration ended early.
const LEAST_DURATION: f64 = 0.95;

/// Judges one workload.
pub(crate) fn judge(sample: &Sample, close: Option<&Close>, summary: &WorkloadSummary) -> Validity {
    let mut judge = Judge { sample, close, summary, validity: Validity::default() };
    judge.completeness();
    judge.outcomes();
    judge.lateness();
    judge.stimulus();
    if sample.over_http() {
        judge.http();
    }
    judge.course();
    judge.surroundings();
    judge.footing();
    let name = Some(sample.header.workload.name.clone());
    let mut validity = judge.validity;
    let Validity { reasons, warnings, notes, .. } = &mut validity;
    reasons.iter_mut().chain(warnings).chain(notes).for_each(|finding| finding.workload.clone_from(&name));
    validity
}

struct Judge<'a> {
    sample: &'a Sample,
    close: Option<&'a Close>,
    summary: &'a WorkloadSummary,
    validity: Validity,
}

impl Judge<'_> {
    fn reject(&mut self, code: Code, message: String, remedy: &str) {
        self.validity.reject(Finding::new(code, message, remedy));
    }

    fn warn(&mut self, code: Code, message: String, remedy: String) {
        self.validity.warn(Finding::new(code, message, remedy));
    }

    fn note(&mut self, code: Code, message: String) {
        self.validity.note(Finding::new(code, message, ""));
    }

    fn completeness(&mut self) {
        let workload = &self.sample.header.workload;
        // What the end of the duration left over was never due.
        let planned = u64::from(workload.num_prompts).saturating_sub(self.close.map_or(0, |close| close.unsent));
        let sent = self.sample.sent;
        match self.close {
            None => {
                let message = format!("the journal ends early: {sent} of {planned} planned requests are in it");
                self.reject(Code::Unfinished, message, "run it again, and let it end");
            }
            Some(close) if close.interrupted => {
                let message = format!("the run was interrupted: {sent} of {planned} planned requests were sent");
                self.reject(Code::Interrupted, message, "run it again, and let it end");
            }
            Some(_) if sent < planned => {
                let message = format!("{} of {planned} planned requests were never sent", planned - sent);
                self.reject(Code::NeverSent, message, "see the reasons in the journal, and run it again");
            }
            Some(close) => self.duration(close),
        }
    }

    /// A load without a schedule gets a supply of requests that is to last for the duration, and a data set may be short.
    fn duration(&mut self, close: &Close) {
        let workload = &self.sample.header.workload;
        let took = seconds(close.end_ns.saturating_sub(self.sample.header.start_ns));
        let Some(asked) = workload.duration_s.filter(|asked| close.unsent == 0 && took < LEAST_DURATION * asked) else {
            return;
        };
        if workload.arrival == Arrival::Immediate {
            let message = format!("it ended after {took:.1} s of {asked} s, since all its requests were done");
            self.warn(
                Code::EndedEarly,
                message,
                "give `--num-prompts` in place of `--duration`, or longer answers".into(),
            );
        }
    }

    fn outcomes(&mut self) {
        let (total, failed) = (self.sample.total(), self.sample.failed());
        let succeeded = self.sample.count(OutcomeKind::Success);
        if succeeded == 0 {
            let remedy = "see the reasons in the journal: every request has a kind and a reason";
            self.reject(Code::NothingSucceeded, "no request succeeded".into(), remedy);
        }
        let limit = self.sample.header.max_error_rate;
        if let Some(rate) = self.summary.get("error_rate").filter(|_| failed > 0) {
            let mut message = format!("{failed} of {total} requests failed: {}", self.failures());
            if rate > limit {
                message.push_str(&format!("; {} are over the limit of {}", percent(rate), percent(limit)));
                self.reject(Code::ErrorRate, message, "remove the cause, lower the load, or raise `--max-error-rate`");
            } else {
                self.warn(Code::SomeFailed, message, "see the reasons in the journal".into());
            }
        }
        if self.sample.wrong_lengths > 0 {
            let message = format!(
                "{} of {succeeded} answers are not as long as asked, although end-of-sequence was to be ignored",
                self.sample.wrong_lengths
            );
            let remedy = "use a backend that honours `ignore_eos`, or switch it off and compare with care";
            self.reject(Code::OutputLength, message, remedy);
        }
    }

    /// Failures by kind, and the reason of the first.
    fn failures(&self) -> String {
        let failures = self.sample.outcomes.iter().filter(|(kind, _)| kind.is_failure());
        let kinds: Vec<String> = failures.map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        match &self.sample.first_failure {
            Some(reason) => format!("{} (the first: {reason})", kinds.join(", ")),
            None => kinds.join(", "),
        }
    }

    fn lateness(&mut self) {
        let workload = &self.sample.header.workload;
        let Some(ttft) = self.summary.get("p50_ttft_ms") else { return };
        let paced = workload.arrival != Arrival::Immediate;
        if let Some(lag) = self.summary.get("avg_schedule_lag_ms").filter(|lag| paced && *lag > MOST_DISTURBANCE * ttft)
        {
            let message = format!(
                "requests were sent {lag:.3} ms late on average, more than {} of the median TTFT of {ttft:.3} ms",
                percent(MOST_DISTURBANCE)
            );
            self.reject(Code::ScheduleLag, message, &self.help_client());
        }
        let wait = self.summary.get("avg_queue_client_ms").filter(|wait| *wait > MOST_DISTURBANCE * ttft);
        if let (Some(wait), Some(cap)) = (wait, workload.max_concurrency.filter(|_| self.sample.held_back())) {
            self.warn(
                Code::ClientQueueing,
                format!(
                    "requests waited {wait:.3} ms on average for one of {cap} places before they were sent; only the \
                     figures from the schedule include this"
                ),
                "read the `_from_schedule` figures, or raise `--max-concurrency`".into(),
            );
        }
    }

    /// What makes the client keep its times.
    fn help_client(&self) -> String {
        let others = self.summary.get("other_cpu_share").filter(|share| *share > OTHERS_IN_THE_WAY);
        match (self.sample.over_http(), others) {
            (true, Some(share)) => format!(
                "other processes used {} of the machine's CPU time: stop them, or run the client on a machine of its own",
                percent(share)
            ),
            (true, None) => {
                "give the client more threads (`--client-threads`) or a machine of its own, or lower the load".into()
            }
            (false, _) => {
                "leave a core to the client (`--threads`), lower the request rate, or stop other programs".into()
            }
        }
    }

    fn footing(&mut self) {
        self.warmup();
        let succeeded = self.sample.count(OutcomeKind::Success);
        let lacking: Vec<_> = ["p95", "p99"].into_iter().filter(|name| self.summary.lacks_samples(name)).collect();
        let needed = lacking.iter().filter_map(|name| Some(self.summary.details.tail_samples.get(*name)?.needed)).max();
        if let Some(needed) = needed.filter(|_| succeeded > 0) {
            self.warn(
                Code::FewSamples,
                format!("too few successful requests ({succeeded}) to claim {}", lacking.join(" and ")),
                format!("read the marked percentiles as a rough guide, or use `--num-prompts {needed}`"),
            );
        }
    }
}

fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}
