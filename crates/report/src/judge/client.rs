//! The rules for a client that was too busy.

use sagellm_core::{Stamp, seconds};

use super::{Judge, MOST_DISTURBANCE, percent};
use crate::validity::{Code, Finding};
use crate::{Manifest, WorkloadSummary};

/// Handing a request from one thread to another takes some time, which disturbs only servers that answer within
/// milliseconds: a slot that is refilled sooner is a warning at most.
const SHORT_MS: f64 = 1.0;
/// Slots of a closed loop may be empty, and the client may not run, for this share of the time.
const MOST_EMPTY: f64 = 0.02;
/// Share of its threads' time from which the client counts as busy all the time.
const BUSY: f64 = 0.9;

impl Judge<'_> {
    /// While a slot of a closed loop is empty, the server has less to do than the load says. What it disturbs is how long a
    /// slot takes for one request, and, where single stalls cost much, the throughput.
    pub(super) fn hand_over(&mut self) {
        let cap = self.sample.header.workload.max_concurrency.map_or(u64::MAX, u64::from);
        let Some(empty) = self.sample.empty_share().filter(|_| self.sample.sent > cap) else { return };
        let wait = self.sample.waits.ascending().quantile(0.5);
        let Some((wait, e2e)) = wait.zip(self.summary.get("p50_e2e_ms")) else { return };
        let (mean, worst) = (self.sample.waits.mean().unwrap_or(0.0), self.sample.waits.max().unwrap_or(0.0));
        let times = format!(
            "slots were refilled after {wait:.3} ms in the median, {mean:.3} ms on average, {worst:.3} ms at most"
        );
        let slow = wait > MOST_DISTURBANCE * e2e;
        if empty > MOST_EMPTY && (mean >= SHORT_MS || wait >= SHORT_MS) {
            let message = format!(
                "the client was the bottleneck: slots of the closed loop were empty for {} of the time ({times}), so the load \
                 was less than asked",
                percent(empty)
            );
            self.reject(Code::HandOver, message, &self.help_client());
        } else if slow {
            let message = format!(
                "the client was slow: {times}: the median is more than {} of the median E2E of {e2e:.3} ms",
                percent(MOST_DISTURBANCE)
            );
            if wait < SHORT_MS {
                self.warn(Code::HandOver, message, self.help_client());
            } else {
                self.reject(Code::HandOver, message, &self.help_client());
            }
        }
    }

    /// A client that did not run sent nothing and read nothing.
    pub(super) fn stalls(&mut self) {
        let Some(close) = self.close else { return };
        let (Some(stalls), Some(window)) = (close.stalls, self.sample.throughput.window) else { return };
        if stalls.suspended_ns > 0 {
            let message = format!("the machine was suspended for {:.1} s during the run", seconds(stalls.suspended_ns));
            return self.reject(Code::ClientStalled, message, "keep the machine awake, and run it again");
        }
        let share = stalls.total_ns as f64 / (window.1 - window.0).max(1) as f64;
        if share > MOST_EMPTY {
            let journal = match stalls.journal_ns {
                0 => String::new(),
                waited => format!(", {:.3} s of it waiting for the journal to be written", seconds(waited)),
            };
            let message = format!(
                "the client did not run for {:.3} s, {} of the time ({} stalls, the longest {:.3} s{journal}): it was stopped or \
                 had no processor",
                seconds(stalls.total_ns),
                percent(share),
                stalls.count,
                seconds(stalls.worst_ns)
            );
            self.reject(Code::ClientStalled, message, &self.help_client());
        }
    }
}

/// Whether the client over HTTP used up the processor time that its threads can have. The manifest knows how many those are.
pub(crate) fn check_processor(manifest: &Manifest, workloads: &mut [WorkloadSummary]) {
    let threads = manifest.backend.settings.get("client_threads").and_then(|threads| threads.parse::<u32>().ok());
    let Some(threads) = threads else { return };
    let most = 100.0 * f64::from(threads.min(manifest.host.logical_cpus.max(1)));
    for workload in workloads {
        let Some(used) = workload.get("client_cpu_percent").filter(|used| *used >= BUSY * most) else { continue };
        let busy = format!("the client used {used:.0} % of a core, and its threads can use {most:.0} %");
        let help = "give the client more threads (`--client-threads`) or a machine of its own, or lower the load";
        let mut finding = Finding::new(Code::ClientBusy, busy, help);
        finding.workload = Some(workload.name().to_owned());
        let validity = &mut workload.details.validity;
        if manifest.backend.stamp == Stamp::User {
            finding.message = format!(
                "the client was the bottleneck: {}; its own stamps are late then, by an unknown amount",
                finding.message
            );
            validity.reject(finding);
        } else {
            finding.message += "; it may have limited the throughput";
            validity.warn(finding);
        }
    }
}
