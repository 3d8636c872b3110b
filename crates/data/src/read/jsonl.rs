//! JSON lines: an object a line.

use std::path::Path;
use std::sync::Arc;

use super::{malformed, row_of};
use crate::error::Result;
use crate::row::{Origin, Row};

pub(super) fn rows(text: &str, file: &Arc<Path>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let origin = Origin::new(file.clone(), index + 1);
        let value = serde_json::from_str(line).map_err(|e| malformed(&e, origin.clone()))?;
        rows.push(row_of(value, origin)?);
    }
    Ok(rows)
}
