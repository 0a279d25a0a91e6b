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
    worth: bool,
    tpot: bool,
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

    /// The number of independent values is shown.
    pub(crate) fn worth(&mut self) {
        self.worth = true;
    }

    /// TBT and TPOT are shown, of which other tools call the former TPOT.
    pub(crate) fn tpot(&mut self) {
        self.tpot = true;
    }

    /// The footnotes as lines: a mark and its text. What holds for several workloads is said once.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines: Vec<_> = self.fits.iter().map(|fit| (FIT, fit.clone())).collect();
        let few = self.workloads.iter().filter(|workload| !workload.few.is_empty());
        let few = few.map(|workload| (workload.name.as_str(), workload.few.join(", ")));
        for (names, needs) in grouped(few) {
            lines.push((FEW, format!("{names}: too few successful requests to claim this: {needs}")));
        }
        let unknown = self.workloads.iter().flat_map(|workload| {
            workload
                .unknown
                .iter()
                .map(|(why, figures)| (workload.name.as_str(), format!("{}: {why}", figures.join(", "))))
        });
        for (names, text) in grouped(unknown) {
            lines.push((UNKNOWN, format!("{names}: {text}")));
        }
        if self.intervals {
            lines.push(("±", "half the width of the 95 % confidence interval, as a share of the figure".into()));
        }
        if self.tpot {
            lines.push(("TBT", "= TPOT of vLLM/SGLang; our TPOT: incl. first token".into()));
        }
        if self.worth {
            lines.push(("worth:", "independent requests that would know the mean as well as these".into()));
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

/// Texts in the order of their first appearance, each once, with the names of all that it concerns.
fn grouped<'a>(texts: impl Iterator<Item = (&'a str, String)>) -> Vec<(String, String)> {
    let mut groups: Vec<(String, String)> = Vec::new();
    for (name, text) in texts {
        match groups.iter_mut().find(|(_, known)| *known == text) {
            Some((names, _)) => {
                names.push_str(", ");
                names.push_str(name);
            }
            None => groups.push((name.to_owned(), text)),
        }
    }
    groups
}

fn push_new(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}
