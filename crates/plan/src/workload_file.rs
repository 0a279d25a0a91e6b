//! Workload files, in YAML, TOML or JSON: one workload, or several under `workloads`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use sagellm_core::{Source, file};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::{PlanError, Spec};

/// Largest workload file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What a workload file holds; for its schema.
struct WorkloadFile;

impl JsonSchema for WorkloadFile {
    fn schema_name() -> Cow<'static, str> {
        "WorkloadFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (one, several) = (generator.subschema_for::<Spec>(), generator.subschema_for::<Several>());
        json_schema!({ "description": "A workload, or several.", "anyOf": [one, several] })
    }
}

/// The JSON schema of workload files, for editors.
pub fn workload_schema() -> String {
    format!("{:#}\n", schemars::schema_for!(WorkloadFile).as_value())
}

/// Several workloads, run one after the other.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Several {
    /// In their order.
    workloads: Vec<Spec>,
}

/// Finds out which of the two a file is.
#[derive(Deserialize)]
struct Peek {
    workloads: Option<IgnoredAny>,
}

/// The languages that workloads are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Yaml,
    Toml,
    Json,
}

/// Endings of the names of workload files.
const ENDINGS: [(&str, Syntax); 4] =
    [("yaml", Syntax::Yaml), ("yml", Syntax::Yaml), ("toml", Syntax::Toml), ("json", Syntax::Json)];

/// What is wrong with a text, and where.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// Line and column, from 1.
    at: Option<(u64, u64)>,
    /// The field, as `source.text.input_tokens`.
    field: Option<String>,
    reason: String,
}

impl Wrong {
    fn of_field(field: String, reason: String) -> Self {
        Self { at: None, field: Some(field), reason }
    }

    pub(crate) fn within(self, path: PathBuf) -> PlanError {
        let place = self.at.map_or(String::new(), |(line, column)| format!(":{line}:{column}"));
        let field = self.field.map_or(String::new(), |field| format!("`{field}`: "));
        PlanError::WorkloadFile { path, place, reason: format!("{field}{}", self.reason) }
    }
}

/// Whether a word means a workload file rather than one of the built-in workloads.
pub fn names_file(word: &str) -> bool {
    syntax(Path::new(word)).is_some() || word.contains(['/', '\\'])
}

fn syntax(path: &Path) -> Option<Syntax> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, syntax)| *syntax)
}

/// Reads the workloads of a file. Paths in it that are relative start from its folder.
///
/// # Errors
/// [`PlanError::File`] when it cannot be read, and [`PlanError::WorkloadFile`], which names line, column and field, when it
/// is wrong.
pub fn read_workloads(path: &Path) -> Result<Vec<Spec>, PlanError> {
    let failed = |source| PlanError::File { path: path.to_owned(), action: "read", source };
    let text = file::read_text(path, MAX_BYTES).map_err(failed)?;
    let Some(syntax) = syntax(path) else {
        let reason = "the ending of its name has to be `.yaml`, `.yml`, `.toml` or `.json`".into();
        return Err(PlanError::WorkloadFile { path: path.to_owned(), place: String::new(), reason });
    };
    let mut specs = parse(&text, syntax).map_err(|wrong| wrong.within(path.to_owned()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for spec in &mut specs {
        if let Source::Sharegpt { path, .. } | Source::Custom { path, .. } | Source::Trace { path, .. } =
            &mut spec.source
        {
            *path = folder.join(&*path);
        }
    }
    Ok(specs)
}

/// The workloads of a text, checked as far as they can be without their data.
pub(crate) fn parse(text: &str, syntax: Syntax) -> Result<Vec<Spec>, Wrong> {
    let several = deserialize::<Peek>(text, syntax)?.workloads.is_some();
    let specs = match several {
        true => deserialize::<Several>(text, syntax)?.workloads,
        false => vec![deserialize::<Spec>(text, syntax)?],
    };
    if specs.is_empty() {
        return Err(Wrong::of_field("workloads".into(), "at least one is needed".into()));
    }
    for (nth, spec) in specs.iter().enumerate() {
        let field = if several { format!("workloads[{nth}]") } else { spec.name.clone() };
        spec.check().map_err(|error| Wrong::of_field(field.clone(), error.to_string()))?;
        if specs[..nth].iter().any(|before| before.name == spec.name) {
            return Err(Wrong::of_field(field, format!("the name `{}` occurs twice", spec.name)));
        }
    }
    Ok(specs)
}

fn deserialize<T: DeserializeOwned>(text: &str, syntax: Syntax) -> Result<T, Wrong> {
    match syntax {
        Syntax::Yaml => yaml(text),
        Syntax::Toml => toml(text),
        Syntax::Json => json(text),
    }
}

fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, Wrong> {
    let mut field = None;
    let read = serde_saphyr::with_deserializer_from_str_with_options(
        text,
        serde_saphyr::options! { with_snippet: false },
        |deserializer| {
            let mut track = serde_path_to_error::Track::new();
            let read = T::deserialize(serde_path_to_error::Deserializer::new(deserializer, &mut track));
            field = known(&track.path());
            read
        },
    );
    read.map_err(|error| {
        let at = error.location().map(|at| (at.line(), at.column()));
        let mut reason = error.to_string();
        if let Some((line, column)) = at
            && let Some(end) = reason.find(&format!(" at line {line}, column {column}"))
        {
            reason.truncate(end);
        }
        let reason = match &*reason {
            "invalid u32" => "a whole number from 0 to 4294967295 is expected here".into(),
            "invalid u64" => "a whole number that is not below 0 is expected here".into(),
            "invalid floating point" => "a number is expected here".into(),
            _ if reason.starts_with("non-finite float") => "a finite number is expected here".into(),
            _ => reason.replace(", set DuplicateKeyPolicy in Options if acceptable", ""),
        };
        Wrong { at, field: field.take(), reason }
    })
}

fn toml<T: DeserializeOwned>(text: &str) -> Result<T, Wrong> {
    let wrong = |error: &toml::de::Error, field| {
        let at = error.span().map(|span| {
            let before = &text[..text.floor_char_boundary(span.start)];
            let line = before.rsplit('\n').next().unwrap_or("");
            (before.matches('\n').count() as u64 + 1, line.chars().count() as u64 + 1)
        });
        Wrong { at, field, reason: error.message().to_owned() }
    };
    let deserializer = toml::Deserializer::parse(text).map_err(|error| wrong(&error, None))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| wrong(error.inner(), known(error.path())))
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, Wrong> {
    let wrong = |error: &serde_json::Error, field| {
        let at = (error.line() > 0).then_some((error.line() as u64, error.column() as u64));
        let mut reason = error.to_string();
        if let Some(end) = reason.rfind(" at line ") {
            reason.truncate(end);
        }
        Wrong { at, field, reason }
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| wrong(error.inner(), known(error.path())))?;
    deserializer.end().map_err(|error| wrong(&error, None))?;
    Ok(read)
}

/// A path that says something.
fn known(path: &serde_path_to_error::Path) -> Option<String> {
    Some(path.to_string()).filter(|path| !matches!(&**path, "." | "?"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use sagellm_core::Arrival;

    const GOOD: &str =
        "name: mine\nsource:\n  random: {input_tokens: 32, output_tokens: 8}\narrival:\n  poisson:\n    rate: 4\n";

    fn wrong(text: &str, syntax: Syntax) -> String {
        parse(text, syntax).unwrap_err().within("w".into()).to_string()
    }

    #[test]
    fn the_three_languages_say_the_same() {
        let yaml = parse(GOOD, Syntax::Yaml).unwrap();
        let toml =
            "name = 'mine'\n[source.random]\ninput_tokens = 32\noutput_tokens = 8\n[arrival.poisson]\nrate = 4\n";
        let json = serde_json::json!({
            "name": "mine",
            "source": {"random": {"input_tokens": 32, "output_tokens": 8}},
            "arrival": {"poisson": {"rate": 4}},
        });
        assert_eq!(yaml[0].arrival, Arrival::Poisson { rate: 4.0 });
        assert_eq!(parse(toml, Syntax::Toml).unwrap(), yaml);
        assert_eq!(parse(&json.to_string(), Syntax::Json).unwrap(), yaml);
        assert_eq!(parse(&serde_json::to_string(&yaml[0]).unwrap(), Syntax::Json).unwrap(), yaml);
    }

    #[test]
    fn one_workload_can_begin_like_another() {
        let text = "workloads:\n  - &first\n    name: a\n    source: {text: {input_tokens: 9, output_tokens: 1}}\n  - <<: *first\n    name: b\n";
        let specs = parse(text, Syntax::Yaml).unwrap();
        assert_eq!((specs[0].source.clone(), &*specs[1].name), (specs[1].source.clone(), "b"));
    }

    #[test]
    fn mistakes_are_named_by_line_column_and_field() {
        let swap = |from: &str, to: &str| wrong(&GOOD.replace(from, to), Syntax::Yaml);
        insta::assert_snapshot!(
            [
                swap("rate: 4", "rate: fast"),
                swap("rate: 4", "rate: -1"),
                swap("rate: 4", "rate: .nan"),
                swap("rate: 4", "speed: 4"),
                swap("poisson", "fish"),
                swap("input_tokens: 32", "input_tokens: -32"),
                swap("name: mine", "nmae: mine"),
                swap("name: mine", "name: ../mine"),
                swap("name: mine\n", ""),
                swap("name: mine\n", "name: mine\nname: yours\n"),
                swap("name: mine\n", "name: mine\nnum_prompts: 0\n"),
                swap("output_tokens: 8}", "output_tokens: 8"),
                wrong("", Syntax::Yaml),
                wrong("workloads: []", Syntax::Yaml),
                wrong(
                    "workloads:\n- &a {name: a, source: {text: {input_tokens: 9, output_tokens: 1}}}\n- *a\n",
                    Syntax::Yaml
                ),
                wrong("name = 'a'\n[source.text]\ninput_tokens = 'many'\noutput_tokens = 1\n", Syntax::Toml),
                wrong("name = 'a'\n[source.text]\nintput_tokens = 9\n", Syntax::Toml),
                wrong("name = \n", Syntax::Toml),
                wrong("{\"name\": \"a\",\n \"source\": {\"text\": {\"input_tokens\": 1.5}}}", Syntax::Json),
                wrong("{\"name\": \"a\",\n \"source\": 5}", Syntax::Json),
                wrong("{\"name\"", Syntax::Json),
            ]
            .join("\n")
        );
    }

    #[test]
    fn paths_start_from_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("w.yml");
        fs::write(&file, "name: a\nsource:\n  custom: {path: data/x.jsonl}\n").unwrap();
        let specs = read_workloads(&file).unwrap();
        let wanted = folder.path().join("data/x.jsonl");
        assert!(matches!(&specs[0].source, Source::Custom { path, .. } if *path == wanted));
        assert!(matches!(read_workloads(&folder.path().join("none.toml")), Err(PlanError::File { .. })));
    }

    #[test]
    fn names_and_files_are_told_apart() {
        assert!(names_file("mine.yaml") && names_file("./mine") && names_file("A.TOML"));
        assert!(!names_file("short") && !names_file("Q1"));
    }
}
