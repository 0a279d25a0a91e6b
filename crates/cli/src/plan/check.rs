//! `plan check`: what a plan asks of a backend, and what a run made of it.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use sagellm_core::{Exit, Failure, Nanos};
use sagellm_plan::{ArrivalStats, Lengths, PlanFile, Survey, arrivals_svg, offsets, survey};
use sagellm_report::{journal_file, read_records, write_atomic};

use super::chosen;
use crate::args::PlanCheckArgs;
use crate::run::PLAN_FILE;
use crate::terminal::Printer;

pub(super) fn check(args: &PlanCheckArgs, printer: &Printer) -> Result<(), Failure> {
    let path: PathBuf = match (&args.plan, &args.results) {
        (_, Some(folder)) => folder.join(PLAN_FILE),
        (Some(plan), None) => plan.clone(),
        (None, None) => PLAN_FILE.into(),
    };
    let plan = PlanFile::open(&path)?;
    let drawn = args.svg.as_ref().map(|_| chosen(&plan, args.workload.as_deref())).transpose()?;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "tokenizer  {}", plan.header().tokenizer);
    for data in &plan.header().data {
        let _ = writeln!(text, "data       {} (SHA-256 {})", data.name, data.sha256);
    }
    for (nth, outline) in plan.outlines().enumerate() {
        let workload = &outline.workload;
        let sent = args.results.as_ref().map(|folder| sent(folder, &workload.name)).transpose()?;
        let stats = sent.as_ref().map(|sent| ArrivalStats::of(&workload.arrival, sent));
        let _ = write!(text, "\n{}", describe(&survey(&plan, nth)?, stats.as_ref(), &outline.hash));
        if let (Some(file), Some(true)) = (&args.svg, drawn.map(|drawn| drawn == nth)) {
            let (times, which) = match sent {
                Some(sent) => (sent, "as sent"),
                None => (offsets(&plan, nth)?, "as planned"),
            };
            let title = format!("{}: {} arrivals {which}", workload.name, times.len());
            write_atomic(file, arrivals_svg(&title, &workload.arrival, &times).as_bytes())?;
        }
    }
    printer.result(&text)
}

/// When requests, or first turns of conversations, were sent: ascending, from the start of the workload.
fn sent(folder: &Path, workload: &str) -> Result<Vec<Nanos>, Failure> {
    let path = folder.join(journal_file(workload));
    let mut begun = HashSet::new();
    let mut times = Vec::new();
    let read = read_records(&path, &mut |record| {
        // The first turn is the first to end.
        if record.session.is_none_or(|session| begun.insert(session)) {
            times.extend(record.sent_ns);
        }
    })?;
    let Some(header) = read else {
        return Err(Failure::new(Exit::Input, format!("`{}` ends before its header does", path.display())));
    };
    times.iter_mut().for_each(|at| *at = at.saturating_sub(header.start_ns));
    times.sort_unstable();
    Ok(times)
}

/// The numbers of a workload as text; `sent` are the arrivals as they were realised.
fn describe(survey: &Survey, sent: Option<&ArrivalStats>, hash: &str) -> String {
    let (workload, arrivals) = (&survey.workload, &survey.arrivals);
    let mut lines = vec![("hash", format!("SHA-256 {hash}")), ("seed", workload.seed.to_string())];
    let mut requests = survey.requests.to_string();
    if survey.conversations > 0 {
        let _ = write!(requests, ", in {} conversations", survey.conversations);
    }
    if survey.untokenized > 0 {
        let _ = write!(requests, "; {} not tokenized", survey.untokenized);
    }
    lines.push(("requests", requests));
    lines.push(("input", lengths(&survey.input)));
    lines.push(("output", lengths(&survey.output)));
    lines.push(("shared", shared(survey)));
    let cap = workload.max_concurrency.map_or("no cap".into(), |cap| format!("{cap} at once at most"));
    lines.push(("concurrency", cap));
    if arrivals.bins.is_empty() {
        lines.push(("arrivals", "all due at once".into()));
    } else {
        lines.extend(pattern(arrivals));
    }
    if let Some(sent) = sent.filter(|sent| !sent.bins.is_empty()) {
        lines.push(("as sent", format!("{} arrivals", sent.count)));
        lines.extend(pattern(sent));
    }
    let mut text = format!("{}\n", workload.name);
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:<12} {value}");
    }
    text + &sent.unwrap_or(arrivals).plot()
}

fn pattern(arrivals: &ArrivalStats) -> Vec<(&'static str, String)> {
    let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
    let (one, five) = (number(arrivals.dispersion_1s), number(arrivals.dispersion_5s));
    vec![
        ("arrivals", format!("{}/s over {:.3} s", number(arrivals.rate), arrivals.last_s)),
        ("gaps", format!("CV {}, lag-1 correlation {}", number(arrivals.cv), number(arrivals.lag1))),
        ("dispersion", format!("{one} at 1 s, {five} at 5 s")),
        ("KS distance", number(arrivals.ks)),
    ]
}

/// What a prefix cache that never forgets could save.
fn shared(survey: &Survey) -> String {
    let prefixes = &survey.prefixes;
    match prefixes.share() {
        None => "-".into(),
        Some(share) => {
            let bound = if prefixes.complete { "" } else { "at least " };
            format!("{bound}{:.1} % of the prompt tokens repeat a beginning before them", 100.0 * share)
        }
    }
}

fn lengths(lengths: &Lengths) -> String {
    let whole = |value: Option<u64>| value.map_or("-".into(), |value| value.to_string());
    let mean = lengths.mean().map_or("-".into(), |mean| format!("{mean:.1}"));
    let [p50, p95] = [0.5, 0.95].map(|q| whole(lengths.quantile(q)));
    let (min, max, total) = (whole(lengths.min()), whole(lengths.max()), lengths.total());
    format!("{total} tokens; min {min}, mean {mean}, median {p50}, p95 {p95}, max {max}")
}
