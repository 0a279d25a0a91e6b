//! `compare`: two or more results, with a verdict.

use sagellm_core::{Exit, Failure};
use sagellm_report::compare::{CompareOptions, Side, compare};
use sagellm_report::history::{Entry, History};
use sagellm_report::{check_writable, write_atomic};

use crate::args::{CompareArgs, CompareFormat};
use crate::terminal::Printer;

/// Runs of a baseline that repeated runs are compared with, at most.
const MOST_RUNS: usize = 20;

pub(crate) fn run(args: &CompareArgs, printer: &Printer) -> Result<Exit, Failure> {
    if !(0.0..100.0).contains(&args.margin) {
        let message =
            format!("`--margin {}` is not possible: it must be a percentage from 0 to below 100", args.margin);
        return Err(Failure::new(Exit::Usage, message));
    }
    if let Some(file) = &args.output {
        check_writable(file)?;
    }
    let mut sides = args.results.iter().map(|path| Side::load(path)).collect::<Result<Vec<_>, _>>()?;
    let first = match &args.baseline {
        Some(name) => baseline(args, name, &sides, printer)?,
        None if sides.len() == 1 => {
            return Err(Failure::new(Exit::Usage, "one result alone cannot be compared")
                .with_hint("give two, or name the runs of the history to compare it with: `--baseline main`"));
        }
        None => sides.remove(0),
    };
    for side in &mut sides {
        side.name_after(&first);
        check(args, &first, side)?;
    }
    let options = CompareOptions {
        margin: args.margin / 100.0,
        gates: args.fail_on.clone(),
        judge_disturbed: args.allow_disturbed,
    };
    let comparison = compare(&first, &sides, &options)?;
    let text = match args.format {
        CompareFormat::Table => comparison.table(),
        CompareFormat::Markdown => comparison.markdown(),
        CompareFormat::Html => comparison.html()?,
        CompareFormat::Junit => comparison.junit(),
        CompareFormat::Json => serde_json::to_string_pretty(&comparison)
            .map_err(|error| Failure::new(Exit::Bug, format!("the comparison cannot be written as JSON: {error}")))?,
    };
    let text = text.trim_end().to_owned() + "\n";
    match &args.output {
        Some(file) => write_atomic(file, text.as_bytes())?,
        None => printer.result(&text)?,
    }
    Ok(if comparison.gate_failed() {
        Exit::Gate
    } else if args.require_conclusive && comparison.inconclusive() {
        Exit::Inconclusive
    } else {
        Exit::Ok
    })
}

/// What the history has by a name that can be compared with all of `sides`.
fn baseline(args: &CompareArgs, name: &str, sides: &[Side], printer: &Printer) -> Result<Side, Failure> {
    let history = History::open(&args.store)?;
    let mut valid: Vec<Entry> = history.runs(Some(name))?.into_iter().filter(Entry::is_valid).collect();
    // A run that was added before it is compared is no baseline of itself.
    let itself = |entry: &Entry| {
        let side = sides.iter().find(|side| side.began_at(&entry.started_at))?;
        Some(format!("run {} of `{name}` is `{}` itself, and so no baseline of it", entry.id, side.name))
    };
    let passed_over: Vec<String> = valid.iter().filter_map(itself).collect();
    valid.retain(|entry| itself(entry).is_none());
    let fits = |run: &Side| {
        sides.iter().all(|side| {
            run.shares_a_workload(side)
                && (args.allow_different_hosts || run.same_hosts(side) == Some(true))
                && (args.allow_different_plans || run.same_plans(side) != Some(false))
                && (args.allow_different_semantics || run.different_semantics(side).is_empty())
        })
    };
    let runs = valid.iter().map(|entry| Side::of_summary(name.to_owned(), &entry.summary)).filter(fits);
    let mut runs: Vec<Side> = runs.collect();
    let most = if sides.iter().all(|side| side.runs() > 1) { MOST_RUNS } else { 1 };
    let mut latest = runs.split_off(runs.len().saturating_sub(most)).into_iter();
    let Some(mut first) = latest.next() else {
        let message = format!(
            "none of the {} other valid runs of `{name}` in `{}` has the same machine, workload and requests{}",
            valid.len(),
            args.store.display(),
            passed_over.first().map_or_else(String::new, |words| format!(": {words}"))
        );
        return Err(Failure::new(Exit::Input, message).with_hint(
            "add one with `history add`, or waive it with `--allow-different-hosts`, `--allow-different-plans` or \
             `--allow-different-semantics`",
        ));
    };
    passed_over.iter().for_each(|words| printer.note(&format!("note: {words}")));
    latest.for_each(|run| first.add(run));
    Ok(first)
}

/// Refuses what cannot be compared.
fn check(args: &CompareArgs, first: &Side, side: &Side) -> Result<(), Failure> {
    for side in [first, side] {
        if let Some(reason) = side.invalid.as_ref().filter(|_| !args.allow_invalid) {
            let message = format!("`{}` is INVALID: {reason}", side.name);
            return Err(Failure::new(Exit::Invalid, message)
                .with_hint("measure again, or show the changes with `--allow-invalid`"));
        }
    }
    let between = format!("`{}` and `{}`", first.name, side.name);
    if !first.shares_a_workload(side) {
        return Err(Failure::new(Exit::Input, format!("{between} have no workload in common")));
    }
    if first.same_plans(side) == Some(false) && !args.allow_different_plans {
        let differences = first.different_plans(side);
        let differences = if differences.is_empty() { String::new() } else { format!(": {}", differences.join("; ")) };
        let message = format!("{between} had different requests{differences}");
        return Err(Failure::new(Exit::Input, message)
            .with_hint("run the same plan on both (`run --plan`), or compare them with `--allow-different-plans`"));
    }
    let different = first.different_semantics(side);
    if !different.is_empty() && !args.allow_different_semantics {
        let message = format!("requests of {between} meant different things: {}", different.join("; "));
        return Err(Failure::new(Exit::Input, message).with_hint(
            "give both runs the same `--endpoint-type`, `--ignore-eos` and `--extra-body`, or compare them all the same with \
             `--allow-different-semantics`",
        ));
    }
    // Without a gate it is a note.
    if first.same_hosts(side) == Some(false) && !args.fail_on.is_empty() && !args.allow_different_hosts {
        let message =
            format!("{between} were measured on different machines, and `--fail-on` would blame the software");
        return Err(Failure::new(Exit::Input, message)
            .with_hint("measure both on one machine, or gate them all the same with `--allow-different-hosts`"));
    }
    Ok(())
}
