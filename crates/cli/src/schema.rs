//! `schema`: the formats of the files, and the definition of every metric.

use std::fs;

use sagellm_core::{Exit, Failure};
use sagellm_plan::workload_schema;
use sagellm_report::{glossary, schemas, write_atomic};

use crate::args::SchemaArgs;
use crate::terminal::Printer;

pub(crate) fn schema(args: &SchemaArgs, printer: &Printer) -> Result<Exit, Failure> {
    let mut schemas = schemas()?;
    schemas.push(("workload.schema.json", workload_schema()));
    if let Some(name) = &args.name {
        let names = || schemas.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let (_, text) = schemas.iter().find(|(known, _)| known == name).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("no schema is called `{name}`"))
                .with_hint(format!("there are: {}", names()))
        })?;
        printer.result(text)?;
        return Ok(Exit::Ok);
    }
    if let Some(folder) = &args.output {
        fs::create_dir_all(folder)
            .map_err(|error| Failure::new(Exit::Input, format!("cannot make `{}`: {error}", folder.display())))?;
        for (name, text) in &schemas {
            write_atomic(&folder.join(name), text.as_bytes())?;
        }
    }
    if let Some(file) = &args.glossary {
        write_atomic(file, glossary().as_bytes())?;
    }
    if args.output.is_none() && args.glossary.is_none() {
        let names: String = schemas.iter().map(|(name, _)| format!("{name}\n")).collect();
        printer.result(&names)?;
    }
    Ok(Exit::Ok)
}
