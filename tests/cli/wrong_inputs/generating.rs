use insta::assert_snapshot;

use super::{wrong, wrong_reading};
use crate::harness::{BASE, Place, TEST_ROWS};

#[test]
fn prompts_that_are_not_there() {
    let place = Place::new();
    let generate = format!("generate --model {BASE}");
    assert_snapshot!(wrong_reading(&place, &generate, " \n"), @"2: error: the prompt is empty");
    assert_snapshot!(wrong_reading(&place, &format!("{generate} --lines"), "\n\n"), @"2: error: the prompt is empty");
    place.write("empty.txt", "");
    assert_snapshot!(wrong(&place, &format!("{generate} --file DIR/empty.txt")), @"2: error: the prompt is empty");
    assert_snapshot!(wrong(&place, &format!("{generate} --file DIR/none.txt")), @"2: error: --file DIR/none.txt: no such file");
    assert_snapshot!(wrong(&place, &format!("{generate} --file DIR")), @"2: error: --file DIR: a folder, not a file");
    std::fs::write(place.path("bytes.txt"), b"caf\xe9").unwrap();
    assert_snapshot!(wrong(&place, &format!("{generate} --file DIR/bytes.txt")), @"2: error: DIR/bytes.txt:1: not UTF-8 text");
}

#[test]
fn rows_that_are_taken_for_text_and_text_for_rows() {
    let place = Place::new();
    let generate = |more: &str| wrong(&place, &format!("generate --model {BASE} {more}"));
    place.write("one.txt", "Where is Ann?\n");
    assert_snapshot!(generate(&format!("--file {TEST_ROWS}")), @"2: error: data/quickstart/test.jsonl holds rows: name the template that makes prompts of them, --template NAME");
    assert_snapshot!(generate(&format!("--file {TEST_ROWS} --lines")), @"2: error: data/quickstart/test.jsonl holds rows: leave out --lines, which is for text");
    assert_snapshot!(generate("--file DIR/one.txt --template dialogue-summary"), @"2: error: --file DIR/one.txt: the kind of file is told by its extension: .jsonl, .ndjson, .json, .csv, .tsv or .parquet, all but the last also with .gz or .zst behind it");
    assert_snapshot!(generate(&format!("--file {TEST_ROWS} --template dialog")), @"2: error: --template: no template set `dialog`; did you mean `dialogue-summary`? Known sets: alpaca, dialogue-summary, dialogue-summary-flan, entities, entities-of-type, qa-choices, qa-choices-lettered, qa-closed-book, qa-context, review-rating, review-sentence, sentiment, translation; a file of templates ends in .toml or .yaml");
}

#[test]
fn settings_that_exclude_each_other() {
    let place = Place::new();
    let generate = |more: &str| wrong(&place, &format!("generate --model {BASE} --prompt Hi {more}"));
    assert_snapshot!(generate("--num-beams 4 --temperature 1 --length-penalty nan"), @"
    2: error: generation settings: 2 problems
      length_penalty: must be a number; 0 leaves the length out
      num_beams: sampling is given too: keep one of them
    ");
    assert_snapshot!(generate("--temperature 0 --top-p 2 --min-new-tokens 99"), @"
    2: error: generation settings: 3 problems
      min_new_tokens: 99 is more than max_new_tokens, 64
      sampling.temperature: must be a positive number
      sampling.top_p: must lie in (0, 1]
    ");
}
