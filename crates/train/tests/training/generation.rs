use std::sync::atomic::{AtomicUsize, Ordering};

use tallow_t5::{GenerationOptions, SamplingOptions};
use tallow_train::Engine;

use crate::support::{model, rows};

fn sources() -> Vec<Vec<u32>> {
    let lengths = [(9, 1), (30, 1), (4, 1), (17, 1), (2, 1), (40, 1), (11, 1)];
    rows(&lengths).into_iter().map(|row| row.source).collect()
}

/// Answers with 1 to 3 threads and batches of 1 to more than all rows, which must all be the same.
fn answers(sources: &[Vec<u32>], options: &GenerationOptions) -> Vec<Vec<u32>> {
    let sources: Vec<&[u32]> = sources.iter().map(Vec::as_slice).collect();
    let mut all = Vec::new();
    for (threads, batch) in [(1, 1), (1, 3), (1, 100), (2, 1), (2, 2), (3, 100)] {
        let done = AtomicUsize::new(0);
        let count = |rows| {
            done.fetch_add(rows, Ordering::Relaxed);
        };
        let found = Engine::cpu(threads).generate(&model(), &sources, options, batch, &count).unwrap();
        assert_eq!(done.into_inner(), sources.len(), "{threads} threads, batches of {batch}");
        all.push(found);
    }
    for found in &all {
        assert_eq!(found, &all[0]);
    }
    all.swap_remove(0)
}

#[test]
fn greedy_answers_depend_on_nothing_but_the_source() {
    let options = GenerationOptions { max_new_tokens: 10, no_repeat_ngram_size: 2, ..Default::default() };
    let found = answers(&sources(), &options);
    assert!(found.iter().all(|answer| answer.len() <= 10));
    assert!(found.iter().any(|answer| answer != &found[0]), "the sources matter");
    let mut turned = sources();
    turned.reverse();
    let mut back = answers(&turned, &options);
    back.reverse();
    assert_eq!(back, found);
}

#[test]
fn drawn_answers_depend_on_source_and_row_number() {
    let draw = |seed| {
        let sampling = Some(SamplingOptions { seed, top_k: Some(50), ..Default::default() });
        answers(&sources(), &GenerationOptions { max_new_tokens: 10, sampling, ..Default::default() })
    };
    let found = draw(1);
    assert_ne!(found, draw(100));
    assert_ne!(found, answers(&sources(), &GenerationOptions { max_new_tokens: 10, ..Default::default() }));
}

#[test]
fn no_sources_have_no_answers() {
    assert!(answers(&[], &GenerationOptions::default()).is_empty());
}

#[test]
fn a_source_that_fails_fails_all() {
    let engine = Engine::cpu(2);
    let sources: [&[u32]; 3] = [&[3, 1], &[999, 1], &[4, 1]];
    let found = engine.generate(&model(), &sources, &GenerationOptions::default(), 1, &|_| ());
    assert!(found.unwrap_err().to_string().starts_with("token id 999 is past the model's vocabulary"));
}
