//! Findings about the warm-up.

use sagellm_core::journal::Wave;

use super::Judge;
use crate::validity::Code;

impl Judge<'_> {
    pub(super) fn warmup(&mut self) {
        if self.sample.warmups == 0 {
            let message = "no warm-up request succeeded: the first figures include the cost of a cold start".into();
            self.warn(Code::NoWarmup, message, "remove `--num-warmups 0`, or find out why the warm-up failed".into());
            return;
        }
        let Some(warmup) = self.sample.header.warmup.as_ref().filter(|warmup| warmup.stable == Some(false)) else {
            return;
        };
        let seconds = warmup.duration_ns as f64 / 1e9;
        let message = match warmup.waves.as_slice() {
            [.., before, last] => format!(
                "the warm-up did not become stable in {} waves (up to {} concurrent requests, {seconds:.1} s): {}",
                warmup.waves.len(),
                warmup.at_once,
                differences(before, last)
            ),
            _ => format!("the warm-up ran only one wave ({seconds:.1} s), so its stability is unknown"),
        };
        let remedy = "raise `--warmup-max`, or check the server for other load";
        self.warn(Code::WarmupUnstable, message, remedy.into());
    }
}

/// Describes the medians of two waves.
fn differences(before: &Wave, last: &Wave) -> String {
    let from_to = |name: &str, before: Option<f64>, last: Option<f64>| {
        Some(format!("median {name} {:.3} ms, then {:.3} ms", before?, last?))
    };
    let found = [
        from_to("TTFT", before.p50_ttft_ms, last.p50_ttft_ms),
        from_to("TBT", before.p50_tbt_ms, last.p50_tbt_ms),
        (before.at_once != last.at_once).then(|| format!("{} concurrent, then {}", before.at_once, last.at_once)),
    ];
    found.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
