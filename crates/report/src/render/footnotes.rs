//! What the marks in a table stand for.

/// Mark of a percentile with too little data.
pub(crate) const FEW: &str = "*";
/// What stands in place of an unknown figure.
pub(crate) const UNKNOWN: &str = "–";

/// Collects the reasons behind marks while cells are made.
#[derive(Debug, Default)]
pub(crate) struct Footnotes {
    few: Vec<(String, String)>,
    unknown: Vec<(String, String, Vec<String>)>,
}

impl Footnotes {
    /// A percentile of a workload lacks `missing` successes.
    pub(crate) fn few(&mut self, workload: &str, percentile: &str, missing: u64) {
        let entry = (workload.to_owned(), format!("{percentile} needs {missing} more"));
        if !self.few.contains(&entry) {
            self.few.push(entry);
        }
    }

    /// A figure of a workload is unknown for a reason. Figures unknown for the same reason share a line.
    pub(crate) fn unknown(&mut self, workload: &str, what: &str, reason: &str) {
        let line = self.unknown.iter_mut().find(|(name, why, _)| name == workload && why == reason);
        match line {
            Some((_, _, whats)) if whats.iter().any(|known| known == what) => {}
            Some((_, _, whats)) => whats.push(what.to_owned()),
            None => self.unknown.push((workload.to_owned(), reason.to_owned(), vec![what.to_owned()])),
        }
    }

    /// The footnotes as lines: a mark and its text.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let mut workloads: Vec<&str> = self.few.iter().map(|(workload, _)| workload.as_str()).collect();
        workloads.dedup();
        for workload in workloads {
            let needs: Vec<&str> =
                self.few.iter().filter(|(name, _)| name == workload).map(|(_, need)| need.as_str()).collect();
            lines.push((FEW, format!("{workload}: too few successful requests: {}", needs.join(", "))));
        }
        for (workload, reason, whats) in &self.unknown {
            lines.push((UNKNOWN, format!("{workload}: {}: {reason}", whats.join(", "))));
        }
        lines
    }
}
