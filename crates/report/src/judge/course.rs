//! Whether the run was the same from beginning to end.

use super::{Judge, percent};
use crate::course::NotSteady;
use crate::validity::Code;

/// Below this a change is no accident.
const SIGNIFICANCE: f64 = 0.01;

/// A change smaller than this does not matter.
const LEAST_DRIFT: f64 = 0.05;

impl Judge<'_> {
    pub(super) fn course(&mut self) {
        match &self.sample.steady {
            Err(why @ (NotSteady::NeverSettled | NotSteady::NeverFull)) => self.warn(
                Code::NoSteadyState,
                format!("no part of the run was steady: {}", why.reason()),
                "run longer, or lower the load if it grows without end".into(),
            ),
            Err(NotSteady::Batch | NotSteady::TooFew(_) | NotSteady::TooFewRounds(..)) => {}
            Ok(steady) => {
                let drifts: Vec<String> = steady
                    .drift
                    .iter()
                    .filter_map(|(name, change)| {
                        let change = change.as_ref()?;
                        let (by, word) = match change.ratio - 1.0 {
                            rise if rise > 0.0 => (rise, "rose"),
                            fall => (-fall, "fell"),
                        };
                        let drifted = change.p_value < SIGNIFICANCE && by > LEAST_DRIFT;
                        drifted.then(|| format!("the mean {name} {word} by {}", percent(by)))
                    })
                    .collect();
                if !drifts.is_empty() {
                    let message =
                        format!("from the first to the second half of the steady window {}", drifts.join(" and "));
                    let remedy = "look for heat, a filling cache or other load, and run longer or repeat";
                    self.warn(Code::Drift, message, remedy.into());
                }
            }
        }
    }
}
