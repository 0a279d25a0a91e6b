//! The rules for requests over HTTP.

use sagellm_core::Stamp;

use super::{Judge, MOST_DISTURBANCE, percent};
use crate::validity::Code;

/// Counts of tokens that differ by more than this share make the figures per token worthless.
const MOST_DISCREPANCY: f64 = 0.02;

/// What makes the client faster.
pub(super) const HELP_CLIENT: &str =
    "give the client more threads (`--client-threads`) or a machine of its own, or lower the load";

impl Judge<'_> {
    pub(super) fn http(&mut self) {
        self.hand_over();
        self.client_error();
        self.clock();
        self.client_delay();
        self.token_counts();
        self.server();
        self.retries();
    }

    fn client_error(&mut self) {
        for (name, quantity, error) in [("TTFT", "ttft", "client_error"), ("TBT", "tbt", "client_error_tbt")] {
            let median = self.summary.get(&format!("p50_{quantity}_ms"));
            let error = self.summary.get(&format!("p99_{error}_ms"));
            if let Some((error, median)) =
                error.zip(median).filter(|(error, median)| *error > MOST_DISTURBANCE * median)
            {
                let message = format!(
                    "the client was the bottleneck: its own error on the {name} at this load is {error:.3} ms (p99), more \
                     than {} of the median of {median:.3} ms",
                    percent(MOST_DISTURBANCE)
                );
                self.reject(Code::ClientError, message, HELP_CLIENT);
            }
        }
        if self.sample.header.calibration.is_none() && self.sample.stamps.contains(&Stamp::User) {
            self.warn(
                Code::ClientErrorUnknown,
                "the client's own error is not known: the stamps are its own, and it was not calibrated".into(),
                "leave out `--no-calibrate`".into(),
            );
        }
    }

    /// The kernel's stamps are right however late the client is, so this is no reason against the figures.
    fn client_delay(&mut self) {
        let medians = [("TBT", self.summary.get("p50_tbt_ms")), ("TTFT", self.summary.get("p50_ttft_ms"))];
        let Some((name, median)) = medians.into_iter().find_map(|(name, median)| Some((name, median?))) else { return };
        if let Some(delay) = self.summary.get("p99_client_delay_ms").filter(|it| *it > MOST_DISTURBANCE * median) {
            let message = format!(
                "the client was late: it read chunks {delay:.3} ms (p99) after the kernel had them, more than {} of the \
                 median {name} of {median:.3} ms; the stamps are the kernel's, so the figures stay right",
                percent(MOST_DISTURBANCE)
            );
            self.warn(Code::ClientLate, message, HELP_CLIENT.into());
        }
    }

    fn token_counts(&mut self) {
        let share = self.summary.get("output_tokens_discrepancy").filter(|share| *share > MOST_DISCREPANCY);
        if let Some(share) = share {
            let (usage, tokenizer) = self.sample.wire.answers.both;
            let message = format!(
                "the counts of output tokens differ by {}, more than {}: {usage} in all by the server's usage, {tokenizer} by \
                 the tokenizer",
                percent(share),
                percent(MOST_DISCREPANCY)
            );
            let remedy = "give the tokenizer of the model that is served with `--tokenizer`";
            self.reject(Code::TokenCounts, message, remedy);
        }
    }

    fn server(&mut self) {
        let window = self.close.and_then(|close| close.backend.server.as_ref());
        if window.is_some_and(|window| window.restarted) {
            let message = "the server was started anew during the run: a counter of its `/metrics` went down".into();
            self.reject(Code::ServerRestarted, message, "find out why it ended, and run it again");
        }
        if let Some(cut) = window.and_then(|window| window.cut.as_ref()) {
            let message = format!("the server's `/metrics` could not be read at the end: {cut}");
            self.warn(Code::MetricsCut, message, "find out why it did not answer, or read it as nearly right".into());
        }
        let models = &self.sample.wire.answers.models;
        let mut names = models.iter().map(|(name, count)| match name {
            Some(name) => format!("`{}` ({count})", crate::sample::shorten(name)),
            None => format!("the one asked ({count})"),
        });
        if models.len() > 1 {
            let message = format!("not all answers are from the same model: {}", names.collect::<Vec<_>>().join(", "));
            self.reject(Code::ModelChanged, message, "measure a server that keeps to one model");
        } else if models.keys().any(Option::is_some) {
            let name = names.next().unwrap_or_default();
            let message = format!("the answers are from another model than the one asked: {name}");
            self.warn(Code::AnsweredModel, message, "give the name that the server uses with `--model`".into());
        }
    }

    fn retries(&mut self) {
        let wire = &self.sample.wire;
        if wire.retries > 0 {
            let message = format!(
                "{} of {} requests had to be sent again ({} retries); their latencies count from the first time",
                wire.retried_requests, self.sample.sent, wire.retries
            );
            self.warn(
                Code::Retries,
                message,
                "a server that closes idle connections early causes this: raise its keep-alive time; so does one that \
                 refuses for now, with `--retries`: lower the load"
                    .into(),
            );
        }
    }
}
