use candle_core::{DType, Device};
use tallow_peft::{Adapted, AdapterFile, Initial, LoraOptions, Method, TargetModules, attach, inject};
use tallow_t5::{Merged, T5};

use crate::mixed::golden;
use crate::support::{base, logits, model, moved};

/// Every weight's bits.
fn bits(model: &T5) -> Vec<Vec<u32>> {
    let mut model = model.clone();
    let values = |x: &candle_core::Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let weights = model.weights_mut().into_iter();
    weights.map(|weight| values(weight.value.value()).into_iter().map(f32::to_bits).collect()).collect()
}

fn far(found: &T5, wanted: &T5) -> f32 {
    let [found, wanted] = [found, wanted].map(|model| logits(model).concat());
    let largest = wanted.iter().fold(0f32, |most, x| most.max(x.abs()));
    found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn what_is_merged_is_unmerged_bit_for_bit() {
    for kind in ["lora", "dora", "ia3", "lora_all"] {
        let (plain, file) = (model(), AdapterFile::open(&golden(kind)).unwrap());
        let before = bits(&plain);
        let adapted = attach(plain.clone(), &file).unwrap();
        let wanted = logits(&adapted);
        let merged = Merged::new(adapted).unwrap();
        let mut linears = merged.model().clone();
        assert!(linears.linears_mut().iter().all(|linear| linear.adapter.is_none()), "{kind}");
        assert_ne!(bits(merged.model()), before, "{kind}");
        assert!(far(merged.model(), &attach(plain.clone(), &file).unwrap()) < 1e-5, "{kind}");
        let unmerged = merged.unmerge();
        assert_eq!(bits(&unmerged), before, "{kind}");
        assert_eq!(logits(&unmerged), wanted, "{kind}");
        assert_eq!(bits(&plain), before, "{kind}");
    }
    let prompted = attach(model(), &AdapterFile::open(&golden("prompt_tuning")).unwrap()).unwrap();
    assert!(Merged::new(prompted).is_err_and(|error| error.to_string().contains("the prompt")));
}

#[test]
fn the_changed_head_of_a_tied_model_survives_its_export() {
    let tied = base().join("../../tiny-tied/model");
    let options = LoraOptions {
        rank: 4,
        target_modules: TargetModules::suffixes(["q", "lm_head"]),
        ..LoraOptions::default()
    };
    let plain = T5::load(&tied, &Device::Cpu, DType::F32).unwrap();
    let adapted: Adapted =
        moved(inject(plain.clone(), &Method::Lora(options), Initial::Seed(1), DType::F32).unwrap());
    assert!(far(&adapted.model, &plain) > 1e-2);
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("merged");
    tallow_t5::save(&adapted.model, &tied, None, &path).unwrap();
    let again = T5::load(&path, &Device::Cpu, DType::F32).unwrap();
    assert!(far(&again, &adapted.model) < 1e-5);
}
