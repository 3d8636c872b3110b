//! What a data set comes to in tokens: `token_stats ROWS TOKENIZER TEMPLATES`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use tallow_data::{Limits, Prompts, Targets, TemplateSet, Tokenizer, read_rows};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rows, tokenizer, templates] = arguments.as_slice() else {
        return Err("three arguments, please: ROWS TOKENIZER TEMPLATES".into());
    };
    let start = Instant::now();
    let rows = read_rows(&PathBuf::from(rows))?;
    println!("read {} rows: {:.2?}", rows.len(), start.elapsed());

    let start = Instant::now();
    let examples = Prompts::new(TemplateSet::named(templates)?, Targets::Template, 1)
        .examples(rows.into_iter().map(Ok))?;
    println!("made prompts: {:.2?}", start.elapsed());

    let start = Instant::now();
    let tokenizer = Tokenizer::from_file(&PathBuf::from(tokenizer))?;
    println!("loaded the tokenizer: {:.2?}", start.elapsed());

    let start = Instant::now();
    let limits = Limits { source: usize::MAX, target: usize::MAX };
    let (_, stats) = tokenizer.tokenize(&examples[..], limits)?;
    println!("tokenised: {:.2?}\n{stats}", start.elapsed());
    Ok(())
}
