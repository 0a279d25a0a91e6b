//! The requests of a run as a Parquet table: one row each, times under the keys of the registry.

mod column;
mod fields;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use self::column::Column;
pub(crate) use self::fields::FIELDS;
use self::fields::Row;
use crate::Error;
use crate::journal::read_records;
use crate::load::{journals_of_run, summary_beside};
use crate::render::Wanted;

/// Rows, and chunks, that wait for their group to be written: the memory that it takes.
const ROWS_OF_A_GROUP: usize = 1 << 16;
const CHUNKS_OF_A_GROUP: usize = 1 << 20;

/// Writes the measured requests of the run at `path` to `out`, which errors call `name`.
pub(crate) fn write<W: Write + Send>(path: &Path, wanted: Wanted<'_>, name: &Path, out: W) -> Result<(), Error> {
    let mut journals = journals_of_run(path)?;
    if let Some(workload) = wanted.workload {
        let names = journals.iter().map(|(_, header)| header.workload.name.clone()).collect();
        journals.retain(|(_, header)| header.workload.name == workload);
        if journals.is_empty() {
            return Err(Error::NoWorkload { name: workload.to_owned(), names });
        }
    }
    let failed = |error| Error::Write { path: name.to_owned(), cause: cause(error) };
    let mut metadata = vec![note("sagellm_benchmark.version", env!("CARGO_PKG_VERSION"))];
    if let Some((_, header)) = journals.first() {
        let started = header.clock_started.rfc3339();
        metadata.push(note("sagellm_benchmark.clock_started", &started));
        metadata.push(note("sagellm_benchmark.validity", &validity(path, &started)?));
    }
    let mut table = Table::new(out, metadata).map_err(failed)?;
    for (journal, header) in journals {
        let slo = wanted.slo.or(header.workload.goodput.as_ref());
        let mut written = Ok(());
        read_records(&journal, &mut |record| {
            if written.is_ok() {
                written = table.push(&Row::new(&header.workload.name, record, slo));
            }
        })?;
        written.map_err(failed)?;
    }
    table.finish().map_err(failed)
}

/// The verdict on the run as JSON, from the summary beside its journals: to find it anew would take all records in memory.
fn validity(path: &Path, started: &str) -> Result<String, Error> {
    let summary = summary_beside(path).filter(|summary| {
        summary.workloads.iter().next().is_some_and(|workload| workload.details.started_at == started)
    });
    Ok(serde_json::to_string(&summary.map(|summary| summary.validity))?)
}

fn note(key: &str, value: &str) -> KeyValue {
    KeyValue::new(key.to_owned(), value.to_owned())
}

/// What the disk said, where that is the cause.
fn cause(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

/// Gathers rows and writes them group by group.
struct Table<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Column>,
    rows: usize,
    chunks: usize,
}

impl<W: Write + Send> Table<W> {
    fn new(out: W, metadata: Vec<KeyValue>) -> Result<Self, ParquetError> {
        let columns: Vec<Column> = FIELDS.iter().map(Column::new).collect();
        let types = columns.iter().map(Column::of_schema).collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("requests").with_fields(types).build()?;
        let general = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // Stamps and latencies hardly ever repeat: to look for those that do takes longer than to write them.
            .set_dictionary_enabled(false)
            .set_created_by(concat!("sagellm-benchmark version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(metadata));
        let properties = columns.iter().fold(general, |properties, column| column.encoded(properties)).build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        Ok(Self { file, columns, rows: 0, chunks: 0 })
    }

    fn push(&mut self, row: &Row<'_>) -> Result<(), ParquetError> {
        for (column, field) in self.columns.iter_mut().zip(&FIELDS) {
            column.push(field, row);
        }
        self.rows += 1;
        self.chunks += row.record.chunks.len();
        if self.rows >= ROWS_OF_A_GROUP || self.chunks >= CHUNKS_OF_A_GROUP { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            // As many as the schema has.
            let Some(mut writer) = group.next_column()? else { break };
            column.write(&mut writer)?;
            writer.close()?;
        }
        group.close()?;
        (self.rows, self.chunks) = (0, 0);
        Ok(())
    }

    fn finish(mut self) -> Result<(), ParquetError> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.file.close().map(drop)
    }
}
