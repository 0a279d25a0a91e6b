//! `history`: results of many runs in one file.

use sagellm_core::{Exit, Failure};
use sagellm_report::history::{Entry, History, Trend, csv, list};
use sagellm_report::render::{Format, render};
use sagellm_report::{load, registry, write_atomic};

use crate::args::{ExportFormat, HistoryArgs, HistoryCommand, TrendFormat};
use crate::terminal::Printer;

pub(crate) fn run(args: &HistoryArgs, printer: &Printer) -> Result<Exit, Failure> {
    let runs = |name: &Option<String>| Ok::<_, Failure>(History::open(&args.store)?.runs(name.as_deref())?);
    let text = match &args.command {
        HistoryCommand::Add(add) => {
            let summaries = add.results.iter().map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
            let history = History::create(&args.store)?;
            for summary in &summaries {
                let number = history.add(&add.name, add.commit.as_deref(), summary)?;
                printer.note(&format!("Added as run {number} of `{}`", add.name));
            }
            return Ok(Exit::Ok);
        }
        HistoryCommand::List { name } => list(&runs(name)?),
        HistoryCommand::Show { run } => {
            let entry = History::open(&args.store)?.run(*run)?;
            render(&entry.summary, Format::Table, printer.look())?
        }
        HistoryCommand::Trend { metric, name, format, output } => {
            let Some(metric) = registry::find(metric) else {
                return Err(Failure::new(Exit::Usage, format!("there is no figure `{metric}`"))
                    .with_hint("docs/metrics.md lists them, such as `avg_tbt_ms`"));
            };
            let runs = runs(name)?;
            let trend = Trend::new(&runs, metric);
            let text = match format {
                TrendFormat::Table => trend.table(),
                TrendFormat::Html => trend.html()?,
            };
            if let Some(file) = output {
                write_atomic(file, text.as_bytes())?;
                return Ok(Exit::Ok);
            }
            text
        }
        HistoryCommand::Export { name, format } => match format {
            ExportFormat::Csv => csv(&runs(name)?),
            ExportFormat::Jsonl => runs(name)?.iter().map(json).collect::<Result<String, _>>()?,
        },
    };
    printer.result(&text)?;
    Ok(Exit::Ok)
}

fn json(entry: &Entry) -> Result<String, Failure> {
    serde_json::to_string(entry)
        .map(|line| line + "\n")
        .map_err(|error| Failure::new(Exit::Bug, format!("the run cannot be written as JSON: {error}")))
}
