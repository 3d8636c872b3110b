//! Metrics of generated text against references.
//!
//! [`Rouge`] gives precision, recall and F1 of ROUGE-N, ROUGE-L and ROUGE-Lsum (Lin, *ROUGE: A Package for
//! Automatic Evaluation of Summaries*, 2004), equal to the last bit to those of the Python package `rouge_score`
//! 0.1.2, with and without its Porter stemmer. Figures are in 0..=1; papers print them times 100.
//!
//! # A worked example
//!
//! The reference has four words, the prediction five. All four of the reference are there, in order, so the
//! longest common *subsequence* is 4, although the longest contiguous run is 2.
//!
//! ```
//! use tallow_metrics::{Rouge, RougeType};
//!
//! let rouge = Rouge { types: vec![RougeType::ROUGE_1, RougeType::ROUGE_2, RougeType::L], stemmer: false };
//! let scores = rouge.score("It is cold outside", "It is very cold outside");
//!
//! // Four of the five predicted words are right; four of the four wanted words were found.
//! assert_eq!((scores[0].precision, scores[0].recall), (4.0 / 5.0, 4.0 / 4.0));
//! assert_eq!(scores[0].fmeasure, 0.888888888888889);
//! // "it is" and "cold outside", of four predicted and three wanted pairs.
//! assert_eq!((scores[1].precision, scores[1].recall), (2.0 / 4.0, 2.0 / 3.0));
//! assert_eq!((scores[2].precision, scores[2].recall), (4.0 / 5.0, 4.0 / 4.0));
//! ```
//!
//! # A corpus, several references a row
//!
//! ```
//! use tallow_metrics::{References, Rouge, RougeCorpus};
//!
//! let rouge = Rouge { types: vec!["rouge1".parse()?, "rougeL".parse()?], stemmer: true };
//! let mut corpus = RougeCorpus::new(rouge, References::Best);
//! corpus.add(&["Ann meets Bob.", "Bob is met by Ann."], "Ann is meeting Bob")?;
//! corpus.add(&["They will call the bank."], "A cat slept.")?;
//! for (rouge_type, score) in corpus.mean().unwrap_or_default() {
//!     println!("{rouge_type} {:.2}", 100.0 * score.fmeasure);
//! }
//! # assert_eq!(corpus.mean().unwrap()[0].1.fmeasure, (6.0 / 7.0) / 2.0);
//! # Ok::<(), tallow_metrics::Error>(())
//! ```

mod error;
pub mod porter;
pub mod rouge;

pub use error::Error;
pub use rouge::{References, Rouge, RougeCorpus, RougeType, Score};
