//! `--fail-on` of single runs: limits on the values of `run`, `report` and the loads of a `sweep`.

use sagellm_core::{Exit, Failure};
use sagellm_plan::Spec;
use sagellm_report::compare::{Gate, GateReport};
use sagellm_report::render::Format;
use sagellm_report::{Summary, Verdict};

use crate::terminal::Printer;

/// The conditions of the command line, which hold for all workloads, and those that workloads bring along.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gates {
    of_all: Vec<Gate>,
    of_workloads: Vec<(String, Gate)>,
}

impl Gates {
    /// Collects the conditions, and refuses limits on changes: a single run has none.
    pub(crate) fn new(fail_on: &[Gate], specs: &[Spec]) -> Result<Self, Failure> {
        let of_all = fail_on.to_vec();
        let mut of_workloads = Vec::new();
        for spec in specs {
            for text in &spec.fail_on {
                let gate = text.parse::<Gate>().map_err(|wrong| {
                    Failure::new(Exit::Input, format!("`fail_on` of the workload `{}`: {wrong}", spec.name))
                })?;
                of_workloads.push((spec.name.clone(), gate));
            }
        }
        let all = of_all.iter().chain(of_workloads.iter().map(|(_, gate)| gate));
        all.into_iter().try_for_each(Gate::check_value)?;
        Ok(Self { of_all, of_workloads })
    }

    /// Judges a run, or repeated runs by their medians.
    pub(crate) fn judge(&self, runs: &[Summary]) -> Result<GateReport, Failure> {
        let mut report = GateReport::of_runs(&self.of_all, runs, None)?;
        for (workload, gate) in &self.of_workloads {
            report.extend(GateReport::of_runs(std::slice::from_ref(gate), runs, Some(workload))?);
        }
        Ok(report)
    }

    /// Judges, prints what became of each condition, and returns the exit code. Text that is no part of a format goes to
    /// standard error. An INVALID run stays INVALID, whatever its values.
    pub(crate) fn finish(
        &self,
        runs: &[Summary],
        exit: Exit,
        format: Format,
        printer: &Printer,
    ) -> Result<Exit, Failure> {
        // What ended early has values of a part of the run.
        if runs.is_empty() || !matches!(exit, Exit::Ok | Exit::Invalid) {
            return Ok(exit);
        }
        let report = self.judge(runs)?;
        let lines = report.lines();
        match format {
            _ if lines.is_empty() => {}
            Format::Table => printer.result(&format!("\n{}\n", lines.join("\n")))?,
            _ => lines.iter().for_each(|line| printer.note(line)),
        }
        let invalid = runs.iter().any(|run| run.validity.verdict == Verdict::Invalid);
        Ok(match exit {
            Exit::Ok if invalid && !lines.is_empty() => Exit::Invalid,
            Exit::Ok if !report.failed.is_empty() => Exit::Gate,
            exit => exit,
        })
    }
}
