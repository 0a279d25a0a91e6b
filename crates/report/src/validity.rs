//! Whether a run can be believed: every reason against it, and what to do about each.

use sagellm_core::Exit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The verdict on a workload or a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    /// Whether the figures may be used.
    pub verdict: Verdict,
    /// Why not; empty when valid.
    pub reasons: Vec<Finding>,
    /// What to bear in mind when using them.
    pub warnings: Vec<Finding>,
    /// What was seen and requires no action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Finding>,
}

/// Whether figures may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// They may.
    #[default]
    Valid,
    /// They may not.
    Invalid,
}

/// Something found about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// The workload; `null` when it concerns the run as a whole.
    pub workload: Option<String>,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// The kinds of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Invalid: no request succeeded.
    NothingSucceeded,
    /// Invalid: more requests failed than the limit allows.
    ErrorRate,
    /// Invalid: answers are not as long as asked.
    OutputLength,
    /// Invalid: planned requests were not sent.
    NeverSent,
    /// Invalid: the client was late.
    ScheduleLag,
    /// Invalid, or a warning where it is little: slots of a closed loop stayed empty, because the client filled them late.
    HandOver,
    /// Invalid: the client did not run for a part of the time, because it was stopped, starved or suspended.
    ClientStalled,
    /// Invalid: chunks were read together, so that times are known too roughly.
    UncertainTimes,
    /// Invalid: requests were not sent in the pattern of the plan.
    Arrivals,
    /// Invalid: the server counts other tokens in the prompts than the plan.
    PromptLength,
    /// Invalid: the client's own error is too large beside what it measured.
    ClientError,
    /// Invalid: the server's and the tokenizer's counts of output tokens differ.
    TokenCounts,
    /// Invalid: the server was started anew within the window.
    ServerRestarted,
    /// Invalid: not all answers are from the same model.
    ModelChanged,
    /// Invalid where it bends the figures, else a warning: somebody set the clock that the kernel stamps with.
    ClockMoved,
    /// Invalid: a signal ended the run.
    Interrupted,
    /// Invalid: the run did not end properly.
    Unfinished,
    /// Invalid: a thread of this program panicked during the run.
    InternalFault,
    /// Warning: the server adds tokens to every prompt.
    PromptsLonger,
    /// Warning: requests failed, though fewer than the limit allows.
    SomeFailed,
    /// Warning: the requests of the plan were used up before the duration was over.
    EndedEarly,
    /// Warning: too few successes for a percentile.
    FewSamples,
    /// Warning: the first measured request found everything cold.
    NoWarmup,
    /// Warning: the warm-up ended before two of its waves agreed.
    WarmupUnstable,
    /// Warning: at no time was the load steady.
    NoSteadyState,
    /// Warning: the figures changed in the course of the run.
    Drift,
    /// Warning: requests waited for a free place in the client.
    ClientQueueing,
    /// Note: chunks were read late, though none of the times depends on it.
    ClientLate,
    /// Warning: the stream is buffered on its way.
    Buffered,
    /// Warning: segments were lost on the path between client and server.
    LossyPath,
    /// Warning: the client used up its processor time. Invalid: the same with stamps of its own.
    ClientBusy,
    /// Warning: the client's own error is not known.
    ClientErrorUnknown,
    /// Warning: the server's metrics could not be read at the end, so its counters end a little before.
    MetricsCut,
    /// Warning: another model than the one asked gave the answers.
    AnsweredModel,
    /// Warning: the server does not accept all fields of the requests. They are left out, or have no effect.
    FieldsRefused,
    /// Warning: answers ended before the length asked for, since the server did not do as asked. Note: they ended by themselves.
    AnswersEndEarly,
    /// Warning: the server's usage counts no tokens although text came.
    UsageOfZero,
    /// Warning: the kernel did not stamp all that it was to stamp.
    StampsMissing,
    /// Warning: requests were sent more than once.
    Retries,
    /// Warning: others used the machine's processors at the same time.
    OtherLoad,
    /// Warning: more of the prompts came from the prefix cache than they have in common.
    WarmCache,
    /// Warning: the frequency of the processors is not held at its highest.
    PowerGovernor,
    /// Warning: the server's certificate was not checked.
    TlsInsecure,
    /// Warning: the weights are random.
    SyntheticWeights,
    /// Warning: nothing is known of machine and model.
    NoManifest,
    /// Warning: the folder holds results of another run.
    OtherRun,
}

impl Code {
    /// Its name in every machine-readable output.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            // It is an enumeration without fields.
            _ => String::new(),
        }
    }
}

impl Verdict {
    /// The word used in every output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Invalid => "INVALID",
        }
    }
}

impl Finding {
    /// A finding about the run as a whole.
    pub(crate) fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, workload: None, message: message.into(), remedy: remedy.into() }
    }
}

impl Validity {
    /// The exit code that the verdict asks for.
    pub fn exit(&self) -> Exit {
        match self.verdict {
            Verdict::Valid => Exit::Ok,
            Verdict::Invalid => Exit::Invalid,
        }
    }

    /// Whether a finding of this kind is among the reasons or the warnings.
    pub fn has(&self, code: Code) -> bool {
        self.reasons.iter().chain(&self.warnings).any(|finding| finding.code == code)
    }

    /// Names of the reasons and of the warnings that concern this workload, its own and those of the run, each once.
    pub(crate) fn codes(&self, workload: &str) -> [Vec<String>; 2] {
        [&self.reasons, &self.warnings].map(|findings| {
            let mut codes: Vec<String> = Vec::new();
            for finding in findings.iter().filter(|it| it.workload.as_deref().is_none_or(|name| name == workload)) {
                if !codes.contains(&finding.code.name()) {
                    codes.push(finding.code.name());
                }
            }
            codes
        })
    }

    pub(crate) fn reject(&mut self, finding: Finding) {
        self.verdict = Verdict::Invalid;
        self.reasons.push(finding);
    }

    pub(crate) fn warn(&mut self, finding: Finding) {
        self.warnings.push(finding);
    }

    pub(crate) fn note(&mut self, finding: Finding) {
        self.notes.push(finding);
    }

    /// Takes over what was found elsewhere.
    pub(crate) fn absorb(&mut self, other: &Self) {
        other.reasons.iter().cloned().for_each(|finding| self.reject(finding));
        other.warnings.iter().cloned().for_each(|finding| self.warn(finding));
        other.notes.iter().cloned().for_each(|finding| self.note(finding));
    }
}
