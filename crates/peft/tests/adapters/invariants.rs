use candle_core::{DType, Device};
use tallow_peft::{Adapted, Initial, LoraOptions, Method, TargetModules, inject};
use tallow_t5::T5;

use crate::support::{
    all_linear, base, full, gradients, logits, lora, message, model, moved, options, values,
};

fn variants() -> [LoraOptions; 3] {
    [options(), all_linear(), LoraOptions { use_rslora: true, ..options() }]
}

#[test]
fn before_the_first_step_the_model_is_the_base() {
    let wanted = logits(&model());
    for options in variants() {
        assert_eq!(logits(&lora(&options, 3).model), wanted, "{options:?}");
        assert_ne!(logits(&moved(lora(&options, 3)).model), wanted, "{options:?}, moved");
    }
    assert_eq!(logits(&full().model), wanted);
    assert_ne!(logits(&moved(full()).model), wanted);
}

/// The names of the base's weights that are trained.
fn traced(adapted: &Adapted) -> Vec<String> {
    let mut model = adapted.model.clone();
    let weights = model.weights_mut().into_iter().filter(|weight| weight.value.is_traced());
    weights.map(|weight| weight.name().to_owned()).collect()
}

#[test]
fn what_is_declared_receives_gradients_and_nothing_else() {
    for options in variants() {
        let adapted = moved(lora(&options, 3));
        assert_eq!(traced(&adapted), Vec::<String>::new(), "{options:?}");
        let mut model = model();
        let names = model.linears_mut().into_iter().map(|linear| linear.name().to_owned());
        let names = names.filter(|name| {
            matches!(options.target_modules, TargetModules::Pattern(_))
                || name.ends_with(".q")
                || name.ends_with(".v")
        });
        let wanted: Vec<String> = names
            .flat_map(|name| ["A", "B"].map(|x| format!("base_model.model.{name}.lora_{x}.weight")))
            .collect();
        let found = gradients(&adapted);
        assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), wanted);
        for (name, gradient) in found {
            assert!(gradient.iter().all(|x| x.is_finite()), "{name}");
            assert!(gradient.iter().any(|&x| x != 0.0), "{name} receives no gradient");
        }
    }
}

#[test]
fn before_the_first_step_only_b_has_a_gradient() {
    for (name, gradient) in gradients(&lora(&options(), 3)) {
        assert_eq!(gradient.iter().any(|&x| x != 0.0), name.ends_with("lora_B.weight"), "{name}");
    }
}

#[test]
fn full_fine_tuning_trains_every_tensor_of_the_base() {
    let adapted = moved(full());
    let mut stored: Vec<String> =
        candle_core::safetensors::load(base().join("model.safetensors"), &Device::Cpu)
            .unwrap()
            .into_keys()
            .collect();
    stored.sort();
    let found = gradients(&adapted);
    let mut names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, traced(&adapted));
    names.sort();
    assert_eq!(names, stored);
    for (name, gradient) in found {
        assert!(gradient.iter().any(|&x| x != 0.0), "{name} receives no gradient");
    }
}

#[test]
fn merged_weights_compute_what_the_adapter_does() {
    for options in variants() {
        let adapted = moved(lora(&options, 3));
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("merged");
        tallow_t5::save(&adapted.model, &base(), None, &path).unwrap();
        let merged = logits(&T5::load(&path, &Device::Cpu, DType::F32).unwrap());
        let wanted = logits(&adapted.model);
        let pairs = || merged.iter().flatten().zip(wanted.iter().flatten());
        let largest = wanted.iter().flatten().fold(0f32, |most, x| most.max(x.abs()));
        let far = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far <= 1e-5 * largest, "{options:?}: {far} of {largest}");
    }
}

#[test]
fn full_fine_tuning_merges_to_what_it_trained() {
    let adapted = moved(full());
    let merged = adapted.model.merged().unwrap();
    for (name, wanted) in values(&adapted) {
        let (_, found) = merged.iter().find(|(other, _)| *other == name).unwrap();
        assert_eq!(found.flatten_all().unwrap().to_vec1::<f32>().unwrap(), wanted, "{name}");
    }
}

#[test]
fn the_scale_is_pefts() {
    let with = |rank, use_rslora| LoraOptions { rank, alpha: 6.0, use_rslora, ..options() }.scale();
    assert_eq!([with(4, false), with(9, true)], [1.5, 2.0]);
}

#[test]
fn a_starts_uniform_and_b_zero() {
    let options = LoraOptions { rank: 64, ..all_linear() };
    let adapted = lora(&options, 11);
    let mut seen: Vec<Vec<f32>> = Vec::new();
    for (entry, (name, values)) in adapted.parameters.entries().iter().zip(values(&adapted)) {
        if name.ends_with("lora_B.weight") {
            assert!(values.iter().all(|&x| x == 0.0), "{name}");
            continue;
        }
        let bound = 1.0 / (entry.shape[1] as f64).sqrt();
        let values64 = || values.iter().map(|&x| f64::from(x));
        let count = values.len() as f64;
        assert!(values64().all(|x| x.abs() <= bound * (1.0 + 1e-6)), "{name}");
        // Of a uniform variable over +-bound: mean 0, variance bound^2 / 3; these are 5 standard errors.
        let mean = values64().sum::<f64>() / count / bound;
        let square = values64().map(|x| x * x).sum::<f64>() / count / (bound * bound);
        assert!(mean.abs() < 5.0 * (1.0 / 3.0 / count).sqrt(), "{name}: mean {mean}");
        assert!((square - 1.0 / 3.0).abs() < 5.0 * (4.0 / 45.0 / count).sqrt(), "{name}: variance {square}");
        assert!(!seen.contains(&values), "{name} starts as another layer does");
        seen.push(values);
    }
    assert_eq!(
        seen.len(),
        36,
        "4 + 3 products in each of 2 encoder blocks, 8 + 3 in each of 2 decoder blocks"
    );
}

#[test]
fn a_seed_means_one_start() {
    let start = |seed| values(&lora(&options(), seed));
    assert_eq!(start(5), start(5));
    for ((name, five), (_, six)) in start(5).into_iter().zip(start(6)) {
        assert_eq!(five == six, name.ends_with("lora_B.weight"), "{name}");
    }
}

#[test]
fn the_number_of_trained_values() {
    for rank in [1, 4, 5] {
        // 6 L r (d_model + inner) for q and v: L self-attentions in the encoder, 2 L attentions in the decoder.
        let adapted = lora(&LoraOptions { rank, ..options() }, 0);
        assert_eq!(adapted.parameters.trainable(), 6 * 2 * rank * (32 + 32));
    }
}

#[test]
fn targets_that_match_nothing_are_refused() {
    let options = LoraOptions { target_modules: TargetModules::Suffixes(vec!["query".into()]), ..options() };
    let method = Method::Lora(options);
    let found = inject(model(), &method, Initial::Seed(0), DType::F32);
    assert_eq!(
        message(found),
        r#"target_modules ["query"] match no layer of the model; its layers end in embed_tokens, k, lm_head, o, q, v, wi_0, wi_1, wo"#
    );
}
