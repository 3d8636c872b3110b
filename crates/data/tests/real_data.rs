//! The published data sets, from file to tokens. Their licences keep them out of this repository: where they are not
//! at hand, each test says so and passes.

use std::path::{Path, PathBuf};

use tallow_data::{Limits, Newlines, Prompts, Targets, TemplateSet, Tokenizer, read_rows};

fn shared(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(file);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

fn summaries(targets: Targets) -> Prompts {
    Prompts::new(TemplateSet::named("dialogue-summary").unwrap(), targets, 1)
}

const NO_LIMITS: Limits = Limits { source: usize::MAX, target: usize::MAX };

#[test]
fn dialogsum_training_rows() {
    let Some(path) = shared("dialogsum/dialogsum.train.jsonl") else { return };
    // The last line has no newline.
    let rows = read_rows(&path).unwrap();
    assert_eq!(rows.len(), 12_460);
    assert_eq!(rows[12_459].origin.line, 12_460);
    let examples = summaries(Targets::Template).examples(rows.iter().cloned().map(Ok)).unwrap();
    assert_eq!(examples.len(), rows.len());

    let Some(path) = shared("tokenizer/tokenizer.json") else { return };
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    let (samples, stats) = tokenizer.tokenize(&examples[..500], NO_LIMITS).unwrap();
    println!("first 500 rows of DialogSum: {stats}");
    let samples = samples.read_all().unwrap();
    assert_eq!((samples.len(), stats.source.tokens_cut, stats.target.tokens_cut), (500, 0, 0));
    let mean = stats.source.tokens as f64 / 500.0;
    assert!((200.0..260.0).contains(&mean), "{mean} tokens a prompt");

    let limits = Limits { source: 128, target: 32 };
    let (cut, cut_stats) = tokenizer.tokenize(&examples[..500], limits).unwrap();
    assert_eq!(cut_stats.source.tokens + cut_stats.source.tokens_cut, stats.source.tokens);
    assert_eq!(cut_stats.target.tokens + cut_stats.target.tokens_cut, stats.target.tokens);
    assert_eq!(
        (cut_stats.source.longest, cut_stats.target.longest),
        (stats.source.longest, stats.target.longest)
    );
    for (cut, whole) in cut.read_all().unwrap().iter().zip(&samples) {
        let kept = cut.source.len() - 1;
        assert!(kept < 128 && cut.source[..kept] == whole.source[..kept] && cut.source[kept] == 1);
    }
}

#[test]
fn dialogsum_test_rows_have_three_references_and_no_summary() {
    let Some(path) = shared("dialogsum/dialogsum.test.jsonl") else { return };
    let rows = read_rows(&path).unwrap();
    assert_eq!(rows.len(), 500);
    let columns = ["summary1", "summary2", "summary3"].map(String::from).to_vec();
    let examples = summaries(Targets::References(columns)).examples(rows.iter().cloned().map(Ok)).unwrap();
    assert!(examples.iter().all(|example| example.references.len() == 3));
    assert!(examples.iter().all(|example| example.target == example.references[0]));

    let message =
        summaries(Targets::Template).examples(rows.iter().cloned().map(Ok)).unwrap_err().to_string();
    assert!(message.contains("column `summary` is missing in 500 of 500 rows"), "{message}");
    assert!(message.contains("the nearest column is `summary1`"), "{message}");
}

#[test]
fn dialogsum_as_csv() {
    let Some(path) = shared("dialogsum/dialogsum_test.csv") else { return };
    let rows = read_rows(&path).unwrap();
    assert_eq!(rows.len(), 1_500);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for row in &rows {
        assert!(lines[row.origin.line - 1].starts_with(&*row.text("id").unwrap()), "{}", row.origin);
    }
    assert_eq!(summaries(Targets::Template).examples(rows.iter().cloned().map(Ok)).unwrap().len(), 1_500);
    let Some(path) = shared("dialogsum/dialogsum_validation.csv") else { return };
    assert_eq!(read_rows(&path).unwrap().len(), 500);
}

#[test]
fn samsum_as_a_json_array() {
    let Some(path) = shared("samsum/train.json") else { return };
    let rows = read_rows(&path).unwrap();
    let elements: Vec<_> = rows.iter().map(|row| row.origin.element.unwrap()).collect();
    assert_eq!(elements, (1..=rows.len()).collect::<Vec<_>>());
    assert!(rows.windows(2).all(|pair| pair[0].origin.line < pair[1].origin.line));
}

#[test]
fn alpaca_in_its_two_forms() {
    let Some(path) = shared("alpaca/alpaca_union.json") else { return };
    let rows = read_rows(&path).unwrap();
    assert_eq!(rows.len(), 6_765);
    let prompts = Prompts::new(TemplateSet::named("alpaca").unwrap(), Targets::Template, 1);
    let examples = prompts.examples(rows.iter().cloned().map(Ok)).unwrap();
    let with_input = examples.iter().filter(|example| example.prompt.contains("\n\n### Input:\n")).count();
    assert_eq!(with_input, 6_765 - 4_746);

    let Some(path) = shared("tokenizer/tokenizer.json") else { return };
    let (_, stats) = Tokenizer::from_file(&path).unwrap().tokenize(&examples[..], NO_LIMITS).unwrap();
    println!("Alpaca: {stats}");
    assert_eq!(stats.targets_changed, 1_959);

    // Kept line breaks leave what the vocabulary lacks altogether, and blanks in rows.
    let tokenizer = Tokenizer::from_file(&path).unwrap().with_newlines(Newlines::Targets).unwrap();
    let (_, stats) = tokenizer.tokenize(&examples[..], NO_LIMITS).unwrap();
    println!("Alpaca, line breaks kept: {stats}");
    assert!(stats.targets_changed < 700, "{}", stats.targets_changed);
}
