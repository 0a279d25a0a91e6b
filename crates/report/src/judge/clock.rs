//! Whether the kernel's stamps can be placed on the clock of the run.

use sagellm_core::Stamp;

use super::{Judge, MOST_DISTURBANCE, percent};
use crate::validity::Code;

/// Civil time may move this much against the clock of the run, in milliseconds, before it is worth a word.
const MOST_DRIFT: f64 = 1.0;
/// Two clocks cannot be compared more closely than this, in milliseconds.
const PRECISION: f64 = 0.1;

impl Judge<'_> {
    pub(super) fn clock(&mut self) {
        if !self.sample.stamps.contains(&Stamp::Kernel) {
            return;
        }
        self.drift();
        let (chunks, by_user) = self.sample.wire.stamped;
        // Those behind a gap have a finding of their own.
        let by_user = by_user.saturating_sub(self.sample.wire.held_back_chunks);
        if by_user > 0 {
            let message = format!(
                "{by_user} of {chunks} chunks are stamped by this program, since the kernel's stamp was missing or cannot be \
                 right"
            );
            let remedy = "let nobody set the system's time during a run; `--stamp user` takes all stamps alike";
            self.warn(Code::StampsMissing, message, remedy.into());
        }
    }

    fn drift(&mut self) {
        let Some(drift) = self.close.and_then(|close| close.wall_drift_ns) else { return };
        let drift = drift.unsigned_abs() as f64 / 1e6;
        let message = format!(
            "the system's time moved by {drift:.3} ms against the clock of the run, so the kernel's stamps may be off by that"
        );
        let remedy = "let nobody set the system's time during a run, or use `--stamp user`";
        let bends = |median: f64| drift > (MOST_DISTURBANCE * median).max(PRECISION);
        match self.summary.get("p50_ttft_ms").filter(|median| bends(*median)) {
            Some(median) => {
                let share = percent(MOST_DISTURBANCE);
                let message = format!("{message}: more than {share} of the median TTFT of {median:.3} ms");
                self.reject(Code::ClockMoved, message, remedy);
            }
            None if drift > MOST_DRIFT => self.warn(Code::ClockMoved, message, remedy.into()),
            None => {}
        }
    }
}
