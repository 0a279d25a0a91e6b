//! How a figure went from run to run.

use std::collections::BTreeSet;

use sagellm_stats::{ChangePoint, change_points};

use super::Entry;
use crate::registry::Metric;
use crate::render::number;
use crate::{Error, WorkloadSummary};

/// Probability to find a change where there is none.
const LEVEL: f64 = 0.01;

/// A figure of every workload, run by run. Runs that are INVALID, or of another machine than the latest, are left out and
/// counted.
#[derive(Debug)]
pub struct Trend<'a> {
    pub(crate) metric: &'static Metric,
    pub(crate) courses: Vec<Course<'a>>,
    pub(crate) left_out: usize,
}

/// The figure of one workload, and the places at which its level changed.
#[derive(Debug)]
pub(crate) struct Course<'a> {
    pub(crate) workload: &'a str,
    pub(crate) points: Vec<(&'a Entry, f64)>,
    pub(crate) changes: Vec<ChangePoint>,
}

impl<'a> Trend<'a> {
    /// Of runs in the order in which they began.
    pub fn new(entries: &'a [Entry], metric: &'static Metric) -> Self {
        let host = entries.last().and_then(|entry| entry.host.as_deref());
        let used: Vec<&Entry> =
            entries.iter().filter(|entry| entry.is_valid() && entry.host.as_deref() == host).collect();
        let workloads: BTreeSet<&str> =
            used.iter().flat_map(|entry| entry.summary.workloads.iter().map(WorkloadSummary::name)).collect();
        let courses = workloads.into_iter().map(|workload| {
            let points: Vec<(&Entry, f64)> =
                used.iter().filter_map(|entry| Some((*entry, entry.figure(workload, &metric.key)?))).collect();
            let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
            let changes = change_points(&values, LEVEL, 0);
            Course { workload, points, changes }
        });
        Self {
            metric,
            courses: courses.filter(|course| !course.points.is_empty()).collect(),
            left_out: entries.len() - used.len(),
        }
    }

    /// As a page for a browser, which loads nothing.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn html(&self) -> Result<String, Error> {
        crate::export::html::trend(self)
    }
}

impl Course<'_> {
    /// How the level changed at a place, if it did.
    pub(crate) fn change(&self, place: usize) -> Option<String> {
        let change = self.changes.iter().find(|change| change.at == place)?;
        let (before, after) = (change.before, change.after);
        // From 0 there is no percentage.
        let how = match before > 0.0 {
            true => format!("by {:+.1} %", 100.0 * (after / before - 1.0)),
            false => format!("from {} to {}", number::figure(before), number::figure(after)),
        };
        Some(format!("changed {how} (p = {:.3})", change.p_value))
    }

    pub(crate) fn summary(&self) -> String {
        let runs = self.points.len();
        match (runs, self.changes.len()) {
            (1, _) => "1 run: too few to tell a change from chance".into(),
            // Fewer cannot be significant: of 20 ways to divide 6 runs none is rarer than 1 %.
            (..8, 0) => format!("{runs} runs: too few to tell a change from chance"),
            (_, 0) => format!("{runs} runs: no change of level"),
            (_, 1) => format!("{runs} runs: 1 change of level"),
            (_, changes) => format!("{runs} runs: {changes} changes of level"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_from_0_has_no_percentage() {
        let change = |before, after| {
            let changes = vec![ChangePoint { at: 4, before, after, p_value: 0.001 }];
            Course { workload: "w", points: Vec::new(), changes }.change(4).unwrap()
        };
        assert_eq!(change(0.0, 0.25), "changed from 0 to 0.250 (p = 0.001)");
        assert_eq!(change(0.5, 0.25), "changed by -50.0 % (p = 0.001)");
    }
}
