use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use tallow_peft::{AdapterFile, Combination, Combined, attach, combine};

use crate::mixed::golden;
use crate::support::{base, logits, message, model};

/// Those of scripts/golden_combine.py.
const WEIGHTS: [f64; 2] = [0.7, -0.4];

fn fixture(name: &str) -> PathBuf {
    base().join("../../combine").join(name)
}

fn open(other: &str) -> [AdapterFile; 2] {
    [golden("lora"), fixture(other)].map(|folder| AdapterFile::open(&folder).unwrap())
}

fn combined(other: &str, by: Combination) -> Combined {
    let [own, other] = open(other);
    combine(&[(WEIGHTS[0], &own), (WEIGHTS[1], &other)], by).unwrap()
}

/// B A of each layer.
fn updates(combined: &Combined) -> HashMap<String, Tensor> {
    let tensors: HashMap<&str, &Tensor> =
        combined.tensors().iter().map(|(name, x)| (name.as_str(), x)).collect();
    let of_a = tensors.iter().filter_map(|(name, a)| Some((name.strip_suffix(".lora_A.weight")?, a)));
    of_a.map(|(layer, a)| {
        let b = tensors[format!("{layer}.lora_B.weight").as_str()];
        (layer.strip_prefix("base_model.model.").unwrap().to_owned(), b.matmul(a).unwrap())
    })
    .collect()
}

fn far(found: &Tensor, wanted: &Tensor) -> f32 {
    let largest = |x: &Tensor| x.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    largest(&(found - wanted).unwrap()) / largest(wanted)
}

/// Checks against what peft has: A, B or the update of every layer.
fn check(name: &str, combined: &Combined) {
    let wanted =
        candle_core::safetensors::load(fixture(&format!("{name}.safetensors")), &Device::Cpu).unwrap();
    let updates = updates(combined);
    let tensors: HashMap<String, Tensor> = combined.tensors().iter().cloned().collect();
    for (key, wanted) in &wanted {
        let (layer, part) = key.rsplit_once('.').unwrap();
        let found = match part {
            "update" => &updates[layer],
            matrix => &tensors[&format!("base_model.model.{layer}.lora_{matrix}.weight")],
        };
        assert_eq!(found.dims(), wanted.dims(), "{name}: {key}");
        assert!(far(found, wanted) < 2e-5, "{name}: {key}: {}", far(found, wanted));
    }
    let layers = wanted.keys().filter(|key| key.ends_with(".A") || key.ends_with(".update")).count();
    assert_eq!(updates.len(), layers, "{name}");
}

#[test]
fn combinations_are_pefts() {
    check("linear", &combined("same_rank", Combination::Linear));
    check("svd", &combined("other_rank", Combination::Svd { rank: Some(2) }));
    check("ties", &combined("same_rank", Combination::Ties { density: 0.4, rank: None }));
    check("ties_svd", &combined("other_rank", Combination::Ties { density: 0.4, rank: Some(5) }));
}

#[test]
fn a_rank_above_the_sides_of_a_layer_is_cut_to_them() {
    let whole = combined("other_rank", Combination::Svd { rank: Some(9999) });
    let sides = whole.tensors().iter().map(|(_, tensor)| *tensor.dims().iter().min().unwrap());
    assert_eq!(sides.max(), Some(whole.options().rank));
    let exact = updates(&combined("other_rank", Combination::Concatenation));
    for (layer, found) in updates(&whole) {
        assert!(far(&found, &exact[&layer]) < 2e-5, "{layer}");
    }
}

/// scale B A of each layer.
fn own_updates(file: &AdapterFile) -> HashMap<String, Tensor> {
    updates(&combine(&[(1.0, file)], Combination::Concatenation).unwrap())
}

#[test]
fn concatenation_is_the_exact_sum() {
    let files = open("other_rank");
    let whole = combined("other_rank", Combination::Concatenation);
    check("cat", &whole);
    assert_eq!(whole.options().rank, 7);
    let parts = files.each_ref().map(own_updates);
    let found = updates(&whole);
    assert!(parts.iter().all(|part| part.keys().all(|layer| found.contains_key(layer))));
    for (layer, found) in &found {
        let mut sum = found.zeros_like().unwrap();
        for (part, weight) in parts.iter().zip(WEIGHTS) {
            if let Some(update) = part.get(layer) {
                sum = (sum + (update * weight).unwrap()).unwrap();
            }
        }
        assert!(far(found, &sum) < 1e-6, "{layer}: {}", far(found, &sum));
    }
}

#[test]
fn a_combination_is_an_adapter_like_any_other() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("combined");
    combined("other_rank", Combination::Concatenation).save(&folder).unwrap();
    let file = AdapterFile::open(&folder).unwrap();
    assert_eq!(file.base.as_ref().unwrap().name, "tiny-gated");
    let found = logits(&attach(model(), &file).unwrap());
    // Each update added to its weight.
    let mut wanted = model();
    let updates = updates(&combined("other_rank", Combination::Concatenation));
    for linear in wanted.linears_mut() {
        if let Some(update) = updates.get(linear.name()) {
            let weight = (linear.weight.value.value() + update).unwrap();
            linear.weight.value = tallow_ops::Traced::constant(weight);
        }
    }
    let wanted = logits(&wanted);
    let largest = wanted.iter().flatten().fold(0f32, |most, x| most.max(x.abs()));
    for (a, b) in found.iter().flatten().zip(wanted.iter().flatten()) {
        assert!((a - b).abs() < 1e-5 * largest, "{a} for {b}");
    }
}

fn values(combined: &Combined) -> Vec<f32> {
    combined.tensors().iter().flat_map(|(_, x)| x.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
}

#[test]
fn what_dare_drops_follows_the_seed_and_leaves_the_mean() {
    let dare = |seed| combined("same_rank", Combination::Dare { density: 0.3, rank: None, seed });
    assert_eq!(values(&dare(1)), values(&dare(1)));
    assert_ne!(values(&dare(1)), values(&dare(2)));
    let signs = |seed| combined("same_rank", Combination::DareTies { density: 0.3, rank: None, seed });
    assert_eq!(values(&signs(1)), values(&signs(1)));
    assert_ne!(values(&signs(1)), values(&dare(1)));

    // Nothing is dropped at density 1.
    let whole = values(&combined("same_rank", Combination::Linear));
    assert_eq!(
        values(&combined("same_rank", Combination::Dare { density: 1.0, rank: None, seed: 1 })),
        whole
    );

    // One adapter alone shows what is dropped: seven of ten values, and the others are scaled.
    let [own, _] = open("same_rank");
    let alone = |by| values(&combine(&[(1.0, &own)], by).unwrap());
    let (whole, dropped) =
        (alone(Combination::Linear), alone(Combination::Dare { density: 0.3, rank: None, seed: 4 }));
    let kept = dropped.iter().filter(|x| **x != 0.0).count() as f64 / whole.len() as f64;
    assert!((kept - 0.3).abs() < 0.03, "{kept}");
    let scaled = whole.iter().zip(&dropped).filter(|(_, found)| **found != 0.0);
    scaled.for_each(|(value, found)| assert!((found * 0.3 / value - 1.0).abs() < 1e-5));

    // The mean over many seeds is the value, to four of its standard errors.
    let seeds = 400;
    let mut sums = vec![0f64; whole.len()];
    for seed in 0..seeds {
        let drawn = alone(Combination::Dare { density: 0.3, rank: None, seed });
        sums.iter_mut().zip(drawn).for_each(|(sum, x)| *sum += f64::from(x));
    }
    let error = (0.7f64 / 0.3 / seeds as f64).sqrt();
    let off = sums.iter().zip(&whole).map(|(sum, x)| (sum / seeds as f64 / f64::from(*x) - 1.0) / error);
    let off: Vec<f64> = off.filter(|off| off.is_finite()).collect();
    let (mean, past) =
        (off.iter().sum::<f64>() / off.len() as f64, off.iter().filter(|x| x.abs() > 4.0).count());
    assert!(mean.abs() < 0.1 && past < 3, "{mean}, {past} of {}", off.len());
}

#[test]
fn what_cannot_be_combined_is_refused() {
    let [own, other] = open("other_rank");
    let refused = |adapters: &[(f64, &AdapterFile)], by| message(combine(adapters, by));
    let both = [(1.0, &own), (1.0, &other)];
    let say = |what: &str| format!("the adapters cannot be combined: {what}");
    assert_eq!(refused(&[], Combination::Linear), say("there is none"));
    assert_eq!(
        refused(&both, Combination::Linear),
        say(
            "A's and B's of decoder.block.0.layer.0.SelfAttention.q have ranks {3, 4}: take svd or concatenation, or \
             give ties and dare a rank"
        )
    );
    assert_eq!(
        refused(&both, Combination::Ties { density: 0.0, rank: None }),
        say("the density is 0, not in (0, 1]")
    );
    assert_eq!(refused(&[(f64::NAN, &own)], Combination::Concatenation), say("NaN is no weight"));
    let dora = AdapterFile::open(&golden("dora")).unwrap();
    let found = refused(&[(1.0, &dora)], Combination::Concatenation);
    assert!(found.ends_with("is DoRA of rank 4 on v, q; LoRA can be combined"), "{found}");
}
