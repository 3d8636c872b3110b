use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tallow_train::Evaluation;

use crate::run::{RunFolder, write};

/// What evaluation.json holds.
#[derive(Default, Serialize, Deserialize)]
pub struct Figures {
    /// Of the base, over `before_rows` rows.
    pub before: Option<Evaluation>,
    /// Of the trained model, over the same rows.
    pub after_same_rows: Option<Evaluation>,
    /// Of the trained model, over all rows.
    pub after: Option<Evaluation>,
}

impl Figures {
    /// Those that there are, by their names.
    pub fn named(&self) -> Vec<(&'static str, &Evaluation)> {
        let named =
            [("before", &self.before), ("after_same_rows", &self.after_same_rows), ("after", &self.after)];
        named.into_iter().filter_map(|(name, figures)| Some((name, figures.as_ref()?))).collect()
    }

    /// The same as a table has them.
    pub fn columns(&self) -> Vec<(&'static str, &Evaluation)> {
        let column = |(name, figures)| (if name == "before" { name } else { "after" }, figures);
        self.named().into_iter().map(column).collect()
    }

    /// Those of a run, as far as it has any.
    pub fn read(folder: &RunFolder) -> Result<Self> {
        let path = folder.evaluation();
        if !path.exists() {
            return Ok(Self::default());
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("{}: cannot read", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{}: broken: remove it to measure anew", path.display()))
    }

    pub fn write(&self, folder: &RunFolder) -> Result<()> {
        write(&folder.evaluation(), &(serde_json::to_string_pretty(self)? + "\n"))
    }

    /// What `--json` prints of the run in a folder, and where what it trained lies.
    pub fn json(&self, run: &Path, trained: &Path) -> Result<String> {
        #[derive(Serialize)]
        struct Trained<'a> {
            run: &'a Path,
            trained: &'a Path,
            #[serde(flatten)]
            figures: &'a Figures,
        }
        Ok(serde_json::to_string(&Trained { run, trained, figures: self })?)
    }
}
