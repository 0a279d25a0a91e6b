//! The rules for requests over HTTP.

use sagellm_core::{OutcomeKind, Stamp};

use super::{Judge, MOST_DISTURBANCE, percent};
use crate::validity::Code;

/// Counts of tokens that differ by more than this share make the figures per token worthless.
const MOST_DISCREPANCY: f64 = 0.02;

/// A run with lost segments in more than this share of its requests is on a path that shapes its figures.
const MOST_LOSSY: f64 = 0.01;
/// A stream of which a larger share of the chunks comes together with others is buffered.
const MOST_TOGETHER: f64 = 0.25;
/// A mean that is known to this, in milliseconds, is as exact as any of a client; of a tail ten times as much is.
const EXACT_MS: f64 = 0.05;
/// The mean of a time may be uncertain by this share of its median at most.
const MOST_UNCERTAINTY: f64 = 0.01;

impl Judge<'_> {
    pub(super) fn http(&mut self) {
        self.hand_over();
        self.stalls();
        self.client_error();
        self.uncertain_times();
        self.clock();
        self.client_delay();
        self.lossy_path();
        self.buffered();
        self.token_counts();
        self.usage_of_zero();
        self.server();
        self.retries();
    }

    /// A calibration is evidence where the stamps are the client's own. Where they are the kernel's, the run itself shows how
    /// far its times may be off: see [`Judge::uncertain_times`].
    fn client_error(&mut self) {
        if !self.sample.stamps.contains(&Stamp::User) {
            return;
        }
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
                self.reject(Code::ClientError, message, &self.help_client());
            }
        }
        if self.sample.header.calibration.is_none() {
            self.warn(
                Code::ClientErrorUnknown,
                "the client's own error is not known: the stamps are its own, and it was not calibrated".into(),
                "leave out `--no-calibrate`".into(),
            );
        }
    }

    /// Chunks that waited together to be read have one stamp, that of the last: the time of the others is an interval.
    fn uncertain_times(&mut self) {
        let median = |quantity: &str| self.summary.get(&format!("p50_{quantity}_ms")).filter(|median| *median > 0.0);
        let width = &self.sample.uncertainty;
        let (first, tbt) = (median("ttft"), median("tbt"));
        let checks = [
            ("p99 of the TTFT", width.first.quantile(0.99), first, MOST_DISTURBANCE, 10.0 * EXACT_MS),
            ("mean TTFT", width.first.mean(), first, MOST_UNCERTAINTY, EXACT_MS),
            ("mean TBT", width.tbt.mean(), tbt, MOST_UNCERTAINTY, EXACT_MS),
        ];
        for (name, width, median, most, exact) in checks {
            let too_wide = |(width, median): &(f64, f64)| *width > (most * median).max(exact);
            let Some((width, median)) = width.zip(median).filter(too_wide) else { continue };
            let message = format!(
                "chunks waited together to be read, so the {name} is known to {width:.3} ms only, more than {} of the median \
                 of {median:.3} ms",
                percent(most)
            );
            return self.reject(Code::UncertainTimes, message, &self.help_client());
        }
    }

    /// The kernel stamps what comes, so a chunk that is read late, but alone, has the right time.
    fn client_delay(&mut self) {
        let medians = [("TBT", self.summary.get("p50_tbt_ms")), ("TTFT", self.summary.get("p50_ttft_ms"))];
        let Some((name, median)) = medians.into_iter().find_map(|(name, median)| Some((name, median?))) else { return };
        if let Some(delay) = self.summary.get("p99_client_delay_ms").filter(|it| *it > MOST_DISTURBANCE * median) {
            let message = format!(
                "chunks were read {delay:.3} ms (p99) after the kernel stamped them, more than {} of the median {name} of \
                 {median:.3} ms; times are taken from the stamps",
                percent(MOST_DISTURBANCE)
            );
            self.note(Code::ClientLate, message);
        }
    }

    /// Chunks of a stream come one after the other, unless something gathers them.
    fn buffered(&mut self) {
        let width = &self.sample.uncertainty;
        let share = width.together as f64 / width.chunks.max(1) as f64;
        if share > MOST_TOGETHER {
            let message = format!(
                "{} of the chunks came together with others: the server, or something between it and the client, buffers the \
                 stream, so TTFT and TBT are those of the buffer",
                percent(share)
            );
            let remedy = "turn buffering off on the path (`proxy_buffering off` in nginx), or measure without it";
            self.warn(Code::Buffered, message, remedy.into());
        }
    }

    /// Loss on the path is part of what a user sees, but not of the server.
    fn lossy_path(&mut self) {
        let wire = &self.sample.wire;
        if wire.lossy_requests as f64 > MOST_LOSSY * self.sample.sent as f64 {
            let message = format!(
                "TCP segments were lost on the path in {} of {} requests ({} out of order, {} transmitted again): latencies \
                 include the wait for them, and {} chunks behind gaps are stamped when they became readable",
                wire.lossy_requests, self.sample.sent, wire.out_of_order, wire.retransmitted, wire.held_back_chunks
            );
            self.warn(Code::LossyPath, message, "measure from a machine that is nearer to the server".into());
        }
    }

    fn token_counts(&mut self) {
        let share = self.summary.get("output_tokens_discrepancy").filter(|share| *share > MOST_DISCREPANCY);
        if let Some(share) = share {
            let (usage, tokenizer) = self.sample.wire.answers.both;
            let message = format!(
                "the counts of output tokens differ by {}, more than {}: {usage} by the server's usage, {tokenizer} by the \
                 tokenizer in the {} answers that were checked",
                percent(share),
                percent(MOST_DISCREPANCY),
                self.sample.wire.answers.checked
            );
            let remedy = "give the tokenizer of the model that is served with `--tokenizer`";
            self.reject(Code::TokenCounts, message, remedy);
        }
    }

    /// Warns about a usage of zero next to text.
    fn usage_of_zero(&mut self) {
        let of_zero = self.sample.wire.answers.of_zero;
        if of_zero > 0 {
            let succeeded = self.sample.count(OutcomeKind::Success);
            let message = format!(
                "the server does not count tokens: its usage reports 0 output tokens in {of_zero} of {succeeded} responses that \
                 contain text; the client's own counts are used"
            );
            let remedy = "pass the tokenizer of the model with `--tokenizer`";
            self.warn(Code::UsageOfZero, message, remedy.into());
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
                "{} of {} requests were sent again ({} retries, {} because the server had closed the idle connection before \
                 the request could reach it); their latencies count from the first time",
                wire.retried_requests, self.sample.sent, wire.retries, wire.stale_connections
            );
            self.warn(
                Code::Retries,
                message,
                if wire.stale_connections == wire.retries {
                    "raise the server's keep-alive time".into()
                } else {
                    "lower the load, or find out why the server refused or dropped requests".into()
                },
            );
        }
    }
}
