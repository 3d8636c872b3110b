//! Data files to batches of tokens, for fine-tuning models of the T5 kind on instructions.
//!
//! The way goes in one direction, and each step is one function:
//!
//! | from | to | by |
//! | --- | --- | --- |
//! | JSON lines, JSON, CSV, TSV, Parquet | [`Row`]s of named columns | [`Rows`], or [`read_rows`] |
//! | rows | training and held-out rows | [`split_fraction`] |
//! | rows and a [`TemplateSet`] | [`Example`]s: prompt, target, references | a [`Dataset`], or [`Prompts::examples`] |
//! | examples | [`Samples`] of token ids | [`Tokenizer::tokenize`], or a [`TokenCache`] |
//! | their lengths | batches of row numbers, epoch by epoch | [`Batches`] |
//! | a batch's rows | one flat stream and its bounds | [`Packed`] |
//!
//! Everything random is a function of a seed, the same on every platform and for ever. Errors name the file and
//! line. No tensors occur here.
//!
//! ```
//! use tallow_data::{BatchOptions, BatchSize, Batches, Packed, Prompts, Rows, Targets, TemplateSet};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("rows.jsonl");
//! std::fs::write(&path, r#"{"dialogue": "A: Tea?\nB: Please.", "summary": "B would like tea."}"#)?;
//! let rows = Rows::open(&path)?;
//!
//! let prompts = Prompts::new(TemplateSet::named("dialogue-summary")?, Targets::Template, 1);
//! let examples = prompts.examples(rows)?;
//! assert_eq!(
//!     examples[0].prompt,
//!     "Summarize the following conversation.\n\nA: Tea?\nB: Please.\n\nSummary:"
//! );
//! assert_eq!(examples[0].target, "B would like tea.");
//!
//! // Token ids come from `Tokenizer::from_file("tokenizer.json")?.tokenize(&examples, limits)?`.
//! let sources = [vec![8, 9, 1], vec![7, 1], vec![5, 6, 4, 1]];
//! let lengths = sources.iter().map(|ids| (ids.len(), 2)).collect();
//! let batches = Batches::new(lengths, BatchOptions::training(BatchSize::Rows(2)), 1)?;
//! for (epoch, rows) in batches.from_step(0).take(batches.steps(3)) {
//!     let packed = Packed::new(rows.iter().map(|&row| &sources[row]));
//!     assert_eq!(packed.bounds.len(), rows.len() + 1);
//!     assert!(epoch < 3);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batches;
mod columns;
mod dataset;
mod error;
mod nearest;
mod pack;
mod prompts;
mod random;
mod read;
mod row;
mod samples;
mod split;
mod template;
mod templates;
mod token_cache;
mod tokenize;
mod tokenizer;

pub use batches::{BatchOptions, BatchSize, Batches, Steps};
pub use columns::{MissingColumn, MissingColumns};
pub use dataset::{Dataset, Examples};
pub use error::{Error, Result};
pub use pack::Packed;
pub use prompts::{Example, Prompts, Targets};
pub use read::{Rows, Source, files, holds_rows, read_rows};
pub use row::{Origin, Row};
pub use samples::{Sample, Samples};
pub use split::split_fraction;
pub use template::{Part, Template};
pub use templates::TemplateSet;
pub use token_cache::TokenCache;
pub use tokenize::{Limits, SideStats, TokenStats};
pub use tokenizer::{Encoded, Newlines, Tokenizer};
