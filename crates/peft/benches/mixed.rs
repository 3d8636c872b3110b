//! Eight rows of 150 tokens, 32 new tokens each, at FLAN-T5-small's size with random weights: on the base, on one LoRA, and
//! on eight in one batch. `cargo bench -p tallow-peft --bench mixed`.

mod geometry;

use std::sync::Arc;

use candle_core::{D, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use tallow_ops::{Cpu, Segments, Tape};
use tallow_peft::Mix;
use tallow_t5::{Result, Stream, T5};

use self::geometry::{SMALL, lora, model};

const ROWS: usize = 8;
const SOURCE: usize = 150;
const NEW: usize = 32;

/// Greedy decoding that no end token ends.
fn decode(model: &T5) -> Result<()> {
    let tape = Tape::off(Arc::new(Cpu));
    let ids: Vec<u32> = (0..ROWS * SOURCE).map(|i| 2 + (i * 7919 % 32_000) as u32).collect();
    let segments = Arc::new(Segments::packed([SOURCE; ROWS]));
    let at = Stream::numbered(segments, (0..ROWS).collect());
    let encoded = model.encode(&tape, &Tensor::new(ids, model.device())?, &at)?;
    let mut cache = model.start(&tape, &encoded, 1)?;
    let slots: Vec<usize> = (0..ROWS).collect();
    let mut tokens = vec![0; ROWS];
    for _ in 0..NEW {
        let logits = model.next(&tape, &tokens, &slots, &mut cache)?;
        tokens = logits.argmax(D::Minus1)?.to_vec1()?;
    }
    Ok(())
}

fn mixed(criterion: &mut Criterion) {
    let (_folder, base) = model(&SMALL);
    let adapted: Vec<T5> = (0..ROWS).map(|seed| lora(&base, seed as u64).model).collect();
    let mut mix = Mix::new(&base);
    for adapted in &adapted {
        mix.add(adapted).expect("LoRA can be mixed");
    }
    let of = |number: fn(usize) -> usize| mix.model(&(0..ROWS).map(|row| Some(number(row))).collect());
    let models = [
        ("base", base.clone()),
        ("one adapter", adapted[0].clone()),
        ("one adapter, in the mix", of(|_| 0)),
        ("eight adapters", of(|row| row)),
    ];
    let mut group = criterion.benchmark_group("mixed");
    group.sample_size(20);
    for (name, model) in &models {
        group.bench_function(*name, |bencher| bencher.iter(|| decode(model).expect("the model runs")));
    }
    group.finish();
}

criterion_group!(benches, mixed);
criterion_main!(benches);
