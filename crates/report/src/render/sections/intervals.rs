//! How sure the percentiles are.

use super::{Footnotes, Row, Section, UNKNOWN};
use crate::registry::Stat;
use crate::render::number;
use crate::{Summary, WorkloadSummary};

const PERCENTILES: [(&str, Stat); 3] = [("p50", Stat::P50), ("p95", Stat::P95), ("p99", Stat::P99)];

/// The ends of the intervals of percentiles, and how many requests stand behind them; of the workloads that have any.
pub(super) fn section(summary: &Summary, notes: &mut Footnotes) -> Option<Section> {
    let mut rows = Vec::new();
    for workload in summary.workloads.iter().filter(|workload| has_any(workload)) {
        for (label, quantity) in [("TTFT", "ttft"), ("TBT", "tbt"), ("E2E", "e2e")] {
            let Some(mean) = workload.details.intervals.get(&Stat::Avg.key(quantity)).filter(|mean| mean.n > 0) else {
                continue;
            };
            let effective = mean.effective_n.map_or_else(|| UNKNOWN.into(), |n| format!("{n:.0}"));
            let mut cells = vec![mean.n.to_string(), effective];
            for (name, stat) in PERCENTILES {
                let interval = workload.details.intervals.get(&stat.key(quantity));
                cells.push(match interval.and_then(|it| it.low.zip(it.high)) {
                    Some((low, high)) => format!("{} – {}", number::figure(low), number::figure(high)),
                    None => {
                        let reason = interval.and_then(|it| it.reason.as_deref()).unwrap_or("the file does not say");
                        notes.unknown(workload.name(), &format!("{label} {name} ± 95 %"), reason);
                        UNKNOWN.into()
                    }
                });
            }
            rows.push(Row { workload: workload.name().to_owned(), label, cells });
        }
    }
    let columns = ["n", "worth"].into_iter().chain(PERCENTILES.map(|(name, _)| name)).collect();
    (!rows.is_empty()).then(|| {
        notes.worth();
        Section { title: "95 % intervals (ms)", columns, rows }
    })
}

fn has_any(workload: &WorkloadSummary) -> bool {
    let keys = PERCENTILES.iter().flat_map(|(_, stat)| ["ttft", "tbt", "e2e"].map(|quantity| stat.key(quantity)));
    keys.filter_map(|key| workload.details.intervals.get(&key)).any(|interval| interval.low.is_some())
}
