use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;
use tallow_data::{Example, Origin};

/// Rows that occur before.
#[derive(Default, Serialize)]
pub struct Repeated {
    pub rows: usize,
    /// The first of them, and the row that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<(String, String)>,
}

impl Repeated {
    /// Counts a row if there is an earlier one.
    pub fn count(&mut self, row: &Example, earlier: Option<&Origin>) {
        if let Some(earlier) = earlier {
            self.rows += 1;
            self.first.get_or_insert_with(|| (row.origin.to_string(), earlier.to_string()));
        }
    }
}

/// Texts by their hashes, and where each stands first: of a million texts, two share one in 30 million cases.
#[derive(Default)]
pub struct Known(HashMap<u64, Origin>);

fn hash(text: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Known {
    /// Where a text stood before; it is known from now on.
    pub fn meet(&mut self, text: impl Hash, here: &Origin) -> Option<&Origin> {
        match self.0.entry(hash(text)) {
            Entry::Occupied(earlier) => Some(earlier.into_mut()),
            Entry::Vacant(place) => {
                place.insert(here.clone());
                None
            }
        }
    }

    /// Where a text stands.
    pub fn get(&self, text: impl Hash) -> Option<&Origin> {
        self.0.get(&hash(text))
    }
}
