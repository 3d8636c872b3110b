//! Parquet: columns of rows, in groups.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::ConvertedType;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::row::{Origin, Row};

pub(super) struct Parquet {
    rows: RowIter<'static>,
    file: Arc<Path>,
    /// Rows that were read.
    read: usize,
}

impl Parquet {
    pub fn new(file: File, path: Arc<Path>) -> Result<Self> {
        let broken = |reason: String| Error::Broken { path: path.to_path_buf(), reason };
        let reader = SerializedFileReader::new(file).map_err(|error| broken(error.to_string()))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        if let Some(column) = schema.columns().iter().find(|c| c.converted_type() == ConvertedType::INTERVAL)
        {
            return Err(broken(format!(
                "column `{}` holds intervals, which are not read",
                column.path().string()
            )));
        }
        let rows = guarded(|| RowIter::from_file_into(Box::new(reader))).map_err(broken)?;
        Ok(Self { rows, file: path, read: 0 })
    }
}

/// The reader asserts what some valid files do not keep: old forms of lists and maps.
fn guarded<T>(read: impl FnOnce() -> T) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| "a form of Parquet that is not understood".into())
}

impl Iterator for Parquet {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        let row = match guarded(|| self.rows.next()) {
            Ok(row) => row?.map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        self.read += 1;
        let origin = Origin::row(self.file.clone(), self.read);
        let fields = row.and_then(|row| object(row.get_column_iter()));
        Some(match fields {
            Ok(fields) => Ok(Row { fields, origin }),
            Err(reason) => Err(Error::MalformedRow { origin, reason }),
        })
    }
}

fn object<'a>(
    columns: impl Iterator<Item = (&'a String, &'a Field)>,
) -> std::result::Result<Map<String, Value>, String> {
    let field = |(name, field): (&String, &Field)| match value(field) {
        Ok(value) => Ok((name.clone(), value)),
        Err(reason) => Err(format!("column `{name}` {reason}")),
    };
    columns.map(field).collect()
}

/// Days and seconds of the years from 0 to 9999, about: what is without is no date that a person wrote.
const DAYS: i64 = 3_000_000;
const SECONDS: i64 = DAYS * 24 * 60 * 60;

fn value(field: &Field) -> std::result::Result<Value, String> {
    let dated = |within: bool| match within {
        true => Ok(field.to_json_value()),
        false => Err("holds a time that is out of range".into()),
    };
    match field {
        // Text whose column is not marked as such.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err("holds bytes that are not UTF-8 text".into()),
        },
        Field::Date(days) => dated(i64::from(*days).abs() < DAYS),
        Field::TimestampMillis(time) => dated(time.unsigned_abs() < 1_000 * SECONDS as u64),
        Field::TimestampMicros(time) => dated(time.unsigned_abs() < 1_000_000 * SECONDS as u64),
        Field::Group(row) => Ok(Value::Object(object(row.get_column_iter())?)),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let entry = |(key, field): &(Field, Field)| {
                let key = match value(key)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                Ok((key, value(field)?))
            };
            Ok(Value::Object(map.entries().iter().map(entry).collect::<std::result::Result<_, String>>()?))
        }
        plain => Ok(plain.to_json_value()),
    }
}
