//! Values of one column that wait to be written.

use std::sync::Arc;

use parquet::basic::{ConvertedType, Encoding, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::fields::{Field, Row, Take};

/// A column, in the layout of the format: the values there are, and at which level every row is defined. A list also has
/// the level at which every value repeats.
#[derive(Debug)]
pub(super) struct Column {
    name: &'static str,
    values: Values,
    defined: Vec<i16>,
    repeated: Vec<i16>,
}

#[derive(Debug)]
enum Values {
    Text(Vec<ByteArray>),
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Flag(Vec<bool>),
    List(Vec<i64>),
}

impl Column {
    pub(super) fn new(field: &Field) -> Self {
        let values = match field.take {
            Take::Text(_) => Values::Text(Vec::new()),
            Take::Whole(_) => Values::Whole(Vec::new()),
            Take::Real(_) => Values::Real(Vec::new()),
            Take::Flag(_) => Values::Flag(Vec::new()),
            Take::Chunks(_) => Values::List(Vec::new()),
        };
        Self { name: field.name, values, defined: Vec::new(), repeated: Vec::new() }
    }

    /// Its type: a value that can be null, or a list that can be empty.
    pub(super) fn of_schema(&self) -> Result<TypePtr, ParquetError> {
        let one = |physical| Type::primitive_type_builder(self.name, physical).with_repetition(Repetition::OPTIONAL);
        Ok(Arc::new(match self.values {
            Values::Text(_) => one(Physical::BYTE_ARRAY).with_logical_type(Some(LogicalType::String)).build()?,
            Values::Whole(_) => one(Physical::INT64).build()?,
            Values::Real(_) => one(Physical::DOUBLE).build()?,
            Values::Flag(_) => one(Physical::BOOLEAN).build()?,
            Values::List(_) => {
                let element = Type::primitive_type_builder("element", Physical::INT64)
                    .with_repetition(Repetition::REQUIRED)
                    .build()?;
                let list = Type::group_type_builder("list")
                    .with_repetition(Repetition::REPEATED)
                    .with_fields(vec![Arc::new(element)])
                    .build()?;
                Type::group_type_builder(self.name)
                    .with_repetition(Repetition::REQUIRED)
                    .with_logical_type(Some(LogicalType::List))
                    .with_converted_type(ConvertedType::LIST)
                    .with_fields(vec![Arc::new(list)])
                    .build()?
            }
        }))
    }

    /// How it is encoded: whole numbers by what they differ from the one before, texts by their place among those there
    /// are. Both are what any reader of the format knows.
    pub(super) fn encoded(&self, properties: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
        let of_list = |name: &str| [name, "list", "element"].map(str::to_owned).to_vec();
        let path = ColumnPath::new(match self.values {
            Values::List(_) => of_list(self.name),
            _ => vec![self.name.to_owned()],
        });
        match self.values {
            Values::Whole(_) | Values::List(_) => properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            Values::Text(_) => properties.set_column_dictionary_enabled(path, true),
            Values::Real(_) | Values::Flag(_) => properties,
        }
    }

    pub(super) fn push(&mut self, field: &Field, row: &Row<'_>) {
        let known = match (&mut self.values, &field.take) {
            (Values::Text(values), Take::Text(of)) => {
                let text = of(row).map(|text| match values.last() {
                    // Most say what the one before said, and share its bytes.
                    Some(last) if last.data() == text.as_bytes() => last.clone(),
                    _ => ByteArray::from(text.as_ref()),
                });
                add(values, text)
            }
            (Values::Whole(values), Take::Whole(of)) => add(values, of(row)),
            // NaN and infinity never leave an exporter.
            (Values::Real(values), Take::Real(of)) => add(values, of(row).filter(|value| value.is_finite())),
            (Values::Flag(values), Take::Flag(of)) => add(values, of(row)),
            (Values::List(values), Take::Chunks(of)) => {
                values.extend(row.record.chunks.iter().map(of));
                let count = row.record.chunks.len();
                self.repeated.extend((0..count.max(1)).map(|nth| i16::from(nth > 0)));
                self.defined.extend(std::iter::repeat_n(1, count.saturating_sub(1)));
                count > 0
            }
            // A column is made of its field.
            _ => false,
        };
        self.defined.push(i16::from(known));
    }

    /// Writes what waits, and holds nothing then.
    pub(super) fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let defined = Some(&self.defined[..]);
        match &self.values {
            Values::Text(values) => writer.typed::<ByteArrayType>().write_batch(values, defined, None)?,
            Values::Whole(values) => writer.typed::<Int64Type>().write_batch(values, defined, None)?,
            Values::Real(values) => writer.typed::<DoubleType>().write_batch(values, defined, None)?,
            Values::Flag(values) => writer.typed::<BoolType>().write_batch(values, defined, None)?,
            Values::List(values) => writer.typed::<Int64Type>().write_batch(values, defined, Some(&self.repeated))?,
        };
        match &mut self.values {
            Values::Text(values) => values.clear(),
            Values::Whole(values) | Values::List(values) => values.clear(),
            Values::Real(values) => values.clear(),
            Values::Flag(values) => values.clear(),
        }
        self.defined.clear();
        self.repeated.clear();
        Ok(())
    }
}

/// Whether there was a value.
fn add<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let before = values.len();
    values.extend(value);
    values.len() > before
}
