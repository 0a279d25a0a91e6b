//! Results of many runs in one SQLite file: baselines to compare with, and how a figure went over time.
//!
//! One row per run: when it began, the name that it goes by (such as that of a branch), the commit that it measured, the
//! machine, the verdict, and its whole summary as JSON. Rows are only ever added.

mod table;
mod trend;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row, params};
use sagellm_core::{Exit, UserError};
use serde::Serialize;

use crate::{Summary, Verdict};
pub use table::{csv, list};
pub(crate) use trend::Course;
pub use trend::Trend;

/// Version of the tables, in `user_version` of the file.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        started_at TEXT NOT NULL,
        git_commit TEXT,
        host TEXT,
        verdict TEXT NOT NULL,
        summary TEXT NOT NULL,
        UNIQUE (name, started_at)
    ) STRICT;
    CREATE INDEX runs_by_name ON runs (name, started_at);
    PRAGMA user_version = 1;
";

/// A file of runs.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    file: Connection,
}

/// One run of a history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its number in the file.
    pub id: i64,
    /// What it goes by, such as `main`.
    pub name: String,
    /// When the run began, as RFC 3339 in UTC.
    pub started_at: String,
    /// The commit of what was measured, where it was given.
    pub git_commit: Option<String>,
    /// Fingerprint of the machine that measured.
    pub host: Option<String>,
    /// VALID or INVALID.
    pub verdict: String,
    /// Everything that was found.
    pub summary: Summary,
}

/// What can be wrong with a history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no such file.
    #[error("there is no history at `{path}`", path = .0.display())]
    NotFound(PathBuf),
    /// SQLite says what is wrong.
    #[error("the history `{path}` cannot be used: {source}", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A later version made it, or another program.
    #[error("`{path}` is no history of this version", path = .0.display())]
    Foreign(PathBuf),
    /// The run is there already.
    #[error("the run of {started_at} is in the history as `{name}` already")]
    Twice {
        /// Its name.
        name: String,
        /// When it began.
        started_at: String,
    },
    /// There is no such run.
    #[error("the history has no run {0}")]
    NoSuchRun(i64),
    /// The run does not say when it began.
    #[error("the result does not say when it was measured: it has no manifest and no workload")]
    NoTime,
    /// A stored summary cannot be read.
    #[error("run {id} of the history cannot be read: {source}")]
    Damaged {
        /// Its number.
        id: i64,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl UserError for HistoryError {
    fn exit(&self) -> Exit {
        Exit::Input
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some("`history add` makes it; name another with `--store`".into()),
            Self::Foreign(_) => Some("give another file, or use the version that made it".into()),
            Self::NoSuchRun(_) => Some("`history list` shows those that there are".into()),
            Self::NoTime => Some("give the folder of the run".into()),
            Self::Sqlite { .. } | Self::Twice { .. } | Self::Damaged { .. } => None,
        }
    }
}

impl History {
    /// Opens the file for adding, and makes it if there is none.
    ///
    /// # Errors
    /// When it cannot be opened or is no history.
    pub fn create(path: &Path) -> Result<Self, HistoryError> {
        let history = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        if history.version()? == 0 && history.is_empty_file()? {
            history.file.execute_batch(&format!("BEGIN; {TABLES} COMMIT;")).map_err(|source| history.failed(source))?;
        }
        history.check()
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// When there is none, or it is no history.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        if !path.exists() {
            return Err(HistoryError::NotFound(path.to_owned()));
        }
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?.check()
    }

    /// Adds a run by a name; gives its number.
    ///
    /// # Errors
    /// When the same run is there by that name already, or the file cannot be written.
    pub fn add(&self, name: &str, git_commit: Option<&str>, summary: &Summary) -> Result<i64, HistoryError> {
        let environment = summary.environment.as_ref();
        let of_workload = summary.workloads.iter().map(|workload| workload.details.started_at.as_str()).next();
        let started_at = environment.map(|manifest| manifest.started_at.as_str()).or(of_workload);
        let started_at = started_at.ok_or(HistoryError::NoTime)?;
        let host = environment.map(|manifest| manifest.host.fingerprint.as_str());
        let text = serde_json::to_string(summary).map_err(|source| HistoryError::Damaged { id: 0, source })?;
        let added = self.file.execute(
            "INSERT INTO runs (name, started_at, git_commit, host, verdict, summary) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![name, started_at, git_commit, host, summary.validity.verdict.word(), text],
        );
        match added {
            Ok(_) => Ok(self.file.last_insert_rowid()),
            Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::ConstraintViolation => {
                Err(HistoryError::Twice { name: name.to_owned(), started_at: started_at.to_owned() })
            }
            Err(source) => Err(self.failed(source)),
        }
    }

    /// The runs, all or those of a name, from the earliest to the latest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn runs(&self, name: Option<&str>) -> Result<Vec<Entry>, HistoryError> {
        self.select("WHERE ?1 IS NULL OR name = ?1 ORDER BY started_at, id", &name)
    }

    /// The run of a number.
    ///
    /// # Errors
    /// When there is none.
    pub fn run(&self, id: i64) -> Result<Entry, HistoryError> {
        self.select("WHERE id = ?1", &id)?.pop().ok_or(HistoryError::NoSuchRun(id))
    }

    fn select(&self, which: &str, value: &dyn rusqlite::ToSql) -> Result<Vec<Entry>, HistoryError> {
        let failed = |source| self.failed(source);
        let query = format!("SELECT id, name, started_at, git_commit, host, verdict, summary FROM runs {which}");
        let mut statement = self.file.prepare(&query).map_err(failed)?;
        let mut rows = statement.query([value]).map_err(failed)?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let (mut entry, text) = entry(row).map_err(failed)?;
            entry.summary =
                serde_json::from_str(&text).map_err(|source| HistoryError::Damaged { id: entry.id, source })?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, HistoryError> {
        let failed = |source| HistoryError::Sqlite { path: path.to_owned(), source };
        let file = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
        // Two jobs may add to the same file.
        file.busy_timeout(std::time::Duration::from_secs(10)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn check(self) -> Result<Self, HistoryError> {
        match self.version()? {
            VERSION => Ok(self),
            _ => Err(HistoryError::Foreign(self.path)),
        }
    }

    fn version(&self) -> Result<i64, HistoryError> {
        self.number("PRAGMA user_version")
    }

    fn is_empty_file(&self) -> Result<bool, HistoryError> {
        Ok(self.number("SELECT count(*) FROM sqlite_schema")? == 0)
    }

    fn number(&self, query: &str) -> Result<i64, HistoryError> {
        self.file.query_row(query, [], |row| row.get(0)).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> HistoryError {
        HistoryError::Sqlite { path: self.path.clone(), source }
    }
}

/// A row, with the summary still as text.
fn entry(row: &Row<'_>) -> rusqlite::Result<(Entry, String)> {
    let entry = Entry {
        id: row.get(0)?,
        name: row.get(1)?,
        started_at: row.get(2)?,
        git_commit: row.get(3)?,
        host: row.get(4)?,
        verdict: row.get(5)?,
        summary: Summary::assemble(Vec::new(), None, crate::Validity::default()),
    };
    Ok((entry, row.get(6)?))
}

impl Entry {
    /// Whether its figures may be used.
    pub fn is_valid(&self) -> bool {
        self.summary.validity.verdict == Verdict::Valid
    }

    /// When it began, to the second.
    pub(crate) fn began(&self) -> &str {
        self.started_at.get(..19).unwrap_or(&self.started_at)
    }

    /// Its figure of a workload.
    pub fn figure(&self, workload: &str, key: &str) -> Option<f64> {
        self.summary.workloads.get(workload)?.get(key)
    }
}
