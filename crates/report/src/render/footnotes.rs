//! What the marks in a table stand for.

/// Mark of a percentile with too little data.
pub(crate) const FEW: &str = "*";
/// What stands in place of an unknown figure.
pub(crate) const UNKNOWN: &str = "–";

/// Mark of how figures fit together.
const FIT: &str = "=";

/// Collects the reasons behind marks while cells are made.
#[derive(Debug, Default)]
pub(crate) struct Footnotes {
    workloads: Vec<OfWorkload>,
    fits: Vec<String>,
    intervals: bool,
}

#[derive(Debug, Default)]
struct OfWorkload {
    name: String,
    /// What each percentile needs.
    few: Vec<String>,
    /// Reasons, each with the figures that are unknown for it.
    unknown: Vec<(String, Vec<String>)>,
}

impl Footnotes {
    /// A percentile of a workload lacks `missing` successes.
    pub(crate) fn few(&mut self, workload: &str, percentile: &str, missing: u64) {
        push_new(&mut self.of(workload).few, format!("{percentile} needs {missing} more"));
    }

    /// A figure of a workload is unknown for a reason. Figures unknown for the same reason share a line.
    pub(crate) fn unknown(&mut self, workload: &str, what: &str, reason: &str) {
        let unknown = &mut self.of(workload).unknown;
        match unknown.iter_mut().find(|(known, _)| known == reason) {
            Some((_, figures)) => push_new(figures, what.to_owned()),
            None => unknown.push((reason.to_owned(), vec![what.to_owned()])),
        }
    }

    /// How figures of a workload fit together.
    pub(crate) fn fit(&mut self, workload: &str, text: &str) {
        self.fits.push(format!("{workload}: {text}"));
    }

    /// An interval is shown.
    pub(crate) fn interval(&mut self) {
        self.intervals = true;
    }

    /// The footnotes as lines, by workload: a mark and its text.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines: Vec<_> = self.fits.iter().map(|fit| (FIT, fit.clone())).collect();
        for OfWorkload { name, few, .. } in self.workloads.iter().filter(|workload| !workload.few.is_empty()) {
            lines.push((FEW, format!("{name}: too few successful requests to claim this: {}", few.join(", "))));
        }
        for OfWorkload { name, unknown, .. } in &self.workloads {
            lines.extend(
                unknown.iter().map(|(why, figures)| (UNKNOWN, format!("{name}: {}: {why}", figures.join(", ")))),
            );
        }
        if self.intervals {
            lines.push(("±", "half the width of the 95 % confidence interval, as a share of the figure".into()));
        }
        lines
    }

    fn of(&mut self, workload: &str) -> &mut OfWorkload {
        let place = self.workloads.iter().position(|known| known.name == workload).unwrap_or_else(|| {
            self.workloads.push(OfWorkload { name: workload.to_owned(), ..OfWorkload::default() });
            self.workloads.len() - 1
        });
        &mut self.workloads[place]
    }
}

fn push_new(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}
