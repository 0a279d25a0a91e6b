//! The rules for a client that was too busy.

use sagellm_core::Stamp;

use super::{Judge, MOST_DISTURBANCE, percent};
use crate::validity::{Code, Finding};
use crate::{Manifest, WorkloadSummary};

/// A place that is empty for less is told of, but handing a request from one thread to another cannot take no time: only
/// servers that answer within milliseconds are disturbed by that.
const SHORT_MS: f64 = 1.0;
/// Share of its threads' time from which the client counts as busy all the time.
const BUSY: f64 = 0.9;

impl Judge<'_> {
    /// While a place of a closed loop is empty, the server has less to do than the load says. What it disturbs is how long
    /// a place takes for one request.
    pub(super) fn hand_over(&mut self) {
        let workload = &self.sample.header.workload;
        let cap = workload.max_concurrency.map_or(u64::MAX, u64::from);
        if !workload.is_closed_loop() || self.sample.sent <= cap {
            return;
        }
        // A single stall of the machine makes no client slow.
        let wait = self.sample.waits.ascending().quantile(0.5);
        let Some((wait, e2e)) = wait.zip(self.summary.get("p50_e2e_ms")) else { return };
        if wait > MOST_DISTURBANCE * e2e {
            let message = format!(
                "it filled half of the free places {wait:.3} ms late or later, more than {} of the median E2E of {e2e:.3} ms, so the \
                 load was less than asked",
                percent(MOST_DISTURBANCE)
            );
            if wait < SHORT_MS {
                self.warn(Code::HandOver, format!("the client was slow: {message}"), super::http::HELP_CLIENT.into());
            } else {
                let message = format!("the client was the bottleneck: {message}");
                self.reject(Code::HandOver, message, super::http::HELP_CLIENT);
            }
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
        let mut finding = Finding::new(Code::ClientBusy, busy, super::http::HELP_CLIENT);
        finding.workload = Some(workload.name().to_owned());
        let validity = &mut workload.details.validity;
        if manifest.backend.stamp == Stamp::User {
            finding.message = format!(
                "the client was the bottleneck: {}; its own stamps come late then, by an amount that nobody knows",
                finding.message
            );
            validity.reject(finding);
        } else {
            finding.message +=
                "; the stamps are the kernel's, so times stay right, but it may have held the throughput back";
            validity.warn(finding);
        }
    }
}
