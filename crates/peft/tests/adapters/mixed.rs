use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use tallow_ops::{Composed, Cpu, Kernels, Segments, Tape};
use tallow_peft::{AdapterFile, Mix, attach};
use tallow_t5::{Batch, GenerationOptions, T5, generate};

use crate::support::{base, message, model};

pub fn golden(adapter: &str) -> PathBuf {
    base().parent().unwrap().join("adapters").join(adapter)
}

fn adapted(base: &T5, adapter: &str) -> T5 {
    attach(base.clone(), &AdapterFile::open(&golden(adapter)).unwrap()).unwrap()
}

/// Every kind that can be mixed, and the base.
const KINDS: [&str; 5] = ["lora", "dora", "ia3", "lora_all", "lora_rank_pattern"];

/// The base, each adapter on it, and all of them mixed.
fn all() -> (Vec<T5>, Mix) {
    let base = model();
    let mut mix = Mix::new(&base);
    let mut apart = vec![base.clone()];
    for (number, kind) in KINDS.iter().enumerate() {
        let adapted = adapted(&base, kind);
        assert_eq!(mix.add(&adapted).unwrap(), number);
        apart.push(adapted);
    }
    (apart, mix)
}

/// The adapters of eleven rows: stretches of one and of several rows, the base among them, an adapter twice.
const ADAPTERS: [Option<usize>; 11] =
    [Some(0), Some(0), None, Some(1), Some(2), Some(2), Some(2), Some(3), Some(0), Some(4), None];

fn sources() -> Vec<Vec<u32>> {
    let row = |row: usize| (0..3 + row * 5 % 7).map(move |i| 2 + ((i * 37 + row * 91) % 381) as u32);
    (0..ADAPTERS.len()).map(|i| row(i).chain([1]).collect()).collect()
}

#[test]
fn each_row_of_a_batch_is_on_its_own_adapter() {
    let (apart, mix) = all();
    let mixed = mix.model(&ADAPTERS.into());
    let sources = sources();
    let target = [5, 77, 200, 1];
    let device = Device::Cpu;
    let kernels: [Arc<dyn Kernels>; 2] = [Arc::new(Cpu), Arc::new(Composed::new(Device::Cpu))];
    for kernels in kernels {
        let tape = Tape::off(kernels);
        let logits = |model: &T5, rows: &[usize]| -> Vec<Vec<f32>> {
            let ids: Vec<u32> = rows.iter().flat_map(|&row| sources[row].clone()).collect();
            let ends = |length: &dyn Fn(usize) -> usize| -> Vec<usize> {
                let ends = rows.iter().scan(0, |end, &row| {
                    *end += length(row);
                    Some(*end)
                });
                [0].into_iter().chain(ends).collect()
            };
            let labels: Vec<u32> = rows.iter().flat_map(|_| target).collect();
            let bounds = ends(&|row| sources[row].len());
            let batch = Batch::new((&ids, &bounds), (&labels, &ends(&|_| 4)), 0, &device).unwrap();
            let encoded = model.encode(&tape, &batch.source, &batch.source_segments).unwrap();
            let hidden = model.decode(&tape, &batch, &encoded).unwrap();
            model.logits(&tape, &hidden).unwrap().to_vec2().unwrap()
        };
        let found = logits(&mixed, &(0..sources.len()).collect::<Vec<_>>());
        for (row, found) in found.chunks_exact(target.len()).enumerate() {
            let own = &apart[ADAPTERS[row].map_or(0, |number| number + 1)];
            let wanted = logits(own, &[row]);
            let largest = wanted.iter().flatten().fold(0f32, |most, x| most.max(x.abs()));
            for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
                assert!((found - wanted).abs() <= 1e-5 * largest, "row {row}: {found} for {wanted}");
            }
        }
    }
}

#[test]
fn mixed_batches_generate_what_each_adapter_does() {
    let (apart, mix) = all();
    let tape = Tape::off(Arc::new(Cpu));
    // Numbers that are not the rows' places.
    let number = |row: usize| 2 * row + 1;
    let mut of_row = vec![None; number(ADAPTERS.len())];
    ADAPTERS.iter().enumerate().for_each(|(row, adapter)| of_row[number(row)] = *adapter);
    let mixed = mix.model(&of_row.into());
    let rows: Vec<(usize, Vec<u32>)> =
        sources().into_iter().enumerate().map(|(row, ids)| (number(row), ids)).collect();
    let mut differ = 0;
    for beams in [1, 3] {
        let options = GenerationOptions { max_new_tokens: 12, num_beams: beams, ..Default::default() };
        let found = generate(&mixed, &tape, &rows, &options).unwrap();
        for (row, found) in found.iter().enumerate() {
            let alone = |model: &T5| generate(model, &tape, &rows[row..=row], &options).unwrap().remove(0);
            let own = ADAPTERS[row].map_or(0, |number| number + 1);
            assert_eq!(*found, alone(&apart[own]), "row {row}, {beams} beams");
            differ += usize::from(own > 0 && *found != alone(&apart[0]));
        }
    }
    assert!(differ > 6, "adapters that change nothing show nothing: {differ}");
}

#[test]
fn what_all_rows_share_cannot_be_mixed() {
    let base = model();
    let mut mix = Mix::new(&base);
    let refused = |mix: &mut Mix, adapter: &str| message(mix.add(&adapted(&base, adapter)));
    let shared = |place: &str| {
        format!("the adapter changes {place}, which all rows of a batch share: generate with it apart")
    };
    assert_eq!(refused(&mut mix, "prompt_tuning"), shared("the prompt"));
    assert_eq!(refused(&mut mix, "prefix_tuning"), shared("decoder.block.0.layer.0.SelfAttention"));
    assert_eq!(refused(&mut mix, "lora_modules_to_save"), shared("encoder.final_layer_norm.weight"));
    // Another load of the base is another base.
    assert_eq!(message(mix.add(&adapted(&model(), "lora"))), shared("shared.weight"));
    assert!(mix.is_empty());
    mix.add(&adapted(&base, "lora")).unwrap();
    assert_eq!(mix.len(), 1);
}

#[test]
fn attached_adapters_compute_what_loaded_ones_do() {
    let tape = Tape::off(Arc::new(Cpu));
    let ids = Tensor::new(&[5u32, 9, 1], &Device::Cpu).unwrap();
    let segments = Arc::new(Segments::packed([3]));
    let states = |model: &T5| {
        let encoded = model.encode(&tape, &ids, &segments).unwrap();
        encoded.states.value().to_vec2::<f32>().unwrap()
    };
    for kind in KINDS.into_iter().chain(["prompt_tuning", "prefix_tuning", "lora_modules_to_save"]) {
        let loaded = tallow_peft::Adapted::load(model(), &golden(kind)).unwrap();
        assert_eq!(states(&adapted(&model(), kind)), states(&loaded.model), "{kind}");
    }
}
