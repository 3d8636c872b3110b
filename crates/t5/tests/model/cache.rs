use candle_core::{Device, Tensor};
use tallow_ops::Traced;
use tallow_t5::{GenerationOptions, SamplingOptions, T5, generate};

use crate::support::{MODELS, batch, logits, message, model, off, rows};

fn sources() -> Vec<(usize, Vec<u32>)> {
    rows().into_iter().map(|row| row.0).enumerate().collect()
}

/// The logits after `shown` behind the start token, computed without a cache.
fn uncached(model: &T5, source: &[u32], shown: &[u32]) -> Vec<f32> {
    // The decoder is shown the labels but the last, whose value plays no part.
    let labels = [shown, &[1]].concat();
    logits(model, &batch(&[(source.to_vec(), labels)])).pop().unwrap()
}

fn largest(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    best.unwrap() as u32
}

#[test]
fn a_cache_changes_no_logits() {
    // 70 tokens: the cache grows after 64. Rows end at different times.
    for name in MODELS {
        let model = model(name);
        let tape = off();
        let sources: Vec<Vec<u32>> = sources().into_iter().map(|source| source.1).collect();
        let all = batch(&sources.iter().map(|source| (source.clone(), vec![1])).collect::<Vec<_>>());
        let encoded = model.encode(&tape, &all.source, &all.source_segments).unwrap();
        let mut cache = model.start(&tape, &encoded, 1).unwrap();
        let token = |row: usize, step: usize| (2 + (step * 53 + row * 17) % 382) as u32;
        for step in 0..70 {
            let active: Vec<usize> = (0..4).filter(|row| step < 40 + 10 * row).collect();
            let tokens: Vec<u32> =
                active.iter().map(|&row| if step == 0 { 0 } else { token(row, step) }).collect();
            let found = model.next(&tape, &tokens, &active, &mut cache).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(found.len(), active.len());
            for (found, &row) in found.iter().zip(&active) {
                let shown: Vec<u32> = (1..=step).map(|step| token(row, step)).collect();
                let wanted = uncached(&model, &sources[row], &shown);
                let far = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(far < 1e-4, "{name}, row {row}, token {step}: {far} off");
            }
        }
    }
}

#[test]
fn generation_is_step_by_step_decoding() {
    for name in MODELS {
        let model = model(name);
        let options = GenerationOptions { max_new_tokens: 70, min_new_tokens: 70, ..Default::default() };
        let answers = generate(&model, &off(), &sources(), &options).unwrap();
        for ((row, source), answer) in sources().iter().zip(&answers) {
            assert_eq!(answer.len(), 70, "{name}, row {row}");
            for (step, &token) in answer.iter().enumerate() {
                let mut logits = uncached(&model, source, &answer[..step]);
                logits[1] = f32::NEG_INFINITY;
                assert_eq!(token, largest(&logits), "{name}, row {row}, token {step}");
            }
        }
    }
}

#[test]
fn the_end_token_ends_an_answer() {
    // A head of its own that is zero but for the end token's row: that row's logit decides against all others.
    let mut model = model("tiny-gated");
    let first = logits(&model, &batch(&[(sources()[0].1.clone(), vec![1])]));
    let head = model.weights_mut().into_iter().find(|weight| weight.name() == "lm_head.weight").unwrap();
    let mut keep = vec![0f32; first[0].len()];
    keep[1] = first[0][1].signum();
    let keep = Tensor::from_vec(keep, (first[0].len(), 1), &Device::Cpu).unwrap();
    head.value = Traced::constant(head.value.value().broadcast_mul(&keep).unwrap());
    for least in [0, 3] {
        let options = GenerationOptions { max_new_tokens: 6, min_new_tokens: least, ..Default::default() };
        let answers = generate(&model, &off(), &sources()[..1], &options).unwrap();
        assert!(answers[0].len() >= least && !answers[0].contains(&1));
        assert_eq!(answers[0].is_empty(), least == 0);
    }
}

#[test]
fn nothing_to_generate() {
    let model = model("tiny-tied");
    let options = GenerationOptions { max_new_tokens: 5, ..Default::default() };
    let none: [(usize, Vec<u32>); 0] = [];
    assert!(generate(&model, &off(), &none, &options).unwrap().is_empty());
    let options = GenerationOptions { max_new_tokens: 0, ..options };
    assert_eq!(generate(&model, &off(), &sources(), &options).unwrap(), vec![Vec::<u32>::new(); 4]);
}

#[test]
fn ids_past_the_vocabulary_are_refused() {
    let sources = [(0, vec![5, 1]), (1, vec![384, 1])];
    let found = message(generate(&model("tiny-tied"), &off(), &sources, &GenerationOptions::default()));
    assert_eq!(
        found,
        "token id 384 is past the model's vocabulary of 384: is this the model's own tokenizer?"
    );
}

#[test]
fn drawn_answers_follow_seed_and_row_number() {
    let model = model("tiny-gated");
    let draw = |seed, sources: &[(usize, Vec<u32>)]| {
        let sampling = Some(SamplingOptions { seed, ..Default::default() });
        let options = GenerationOptions { max_new_tokens: 12, sampling, ..Default::default() };
        generate(&model, &off(), sources, &options).unwrap()
    };
    let all = draw(7, &sources());
    assert_eq!(draw(7, &sources()), all);
    assert_ne!(draw(8, &sources()), all);
    assert_eq!(draw(7, &sources()[2..]), all[2..]);
    let twin = [(0, sources()[1].1.clone()), (1, sources()[1].1.clone())];
    let twins = draw(7, &twin);
    assert_ne!(twins[0], twins[1], "rows with one prompt draw apart");
}
