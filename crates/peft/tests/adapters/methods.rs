//! The invariants of every method, through both kinds of kernels for the CPU.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_ops::{Composed, Cpu, Dest, DropoutKernel, Kernels, Randomness, Segments, Tape, Traced};
use tallow_peft::{
    Adapted, AfterSublayer, BottleneckOptions, DoraOptions, FullOptions, Ia3Options, Initial, LoraOptions,
    LoraStart, Method, PrefixAttention, PrefixOptions, PromptOptions, PromptStart, Reads, SelectiveOptions,
    TargetModules, inject,
};
use tallow_t5::{GenerationOptions, Stream, T5};

use crate::support::{batch, message, moved, options};

/// A method, and what holds for it.
struct Case {
    name: &'static str,
    method: Method,
    /// Before the first step the model is the base: exactly, to rounding, or not at all.
    identity: Option<f32>,
    /// The base's weights can take it in.
    merges: bool,
}

fn suffixes<const N: usize>(names: [&str; N]) -> TargetModules {
    TargetModules::suffixes(names)
}

fn lora(options: LoraOptions) -> Method {
    Method::Lora(options)
}

fn cases() -> Vec<Case> {
    let case = |name, method| Case { name, method, identity: Some(0.0), merges: true };
    let apart = |name, method| Case { merges: false, ..case(name, method) };
    let rounding = |name, method| Case { identity: Some(1e-5), ..case(name, method) };
    let other = |name, method| Case { identity: None, merges: false, ..case(name, method) };
    let selective = |weights: &[&str]| SelectiveOptions {
        weights: weights.iter().map(|&pattern| pattern.to_owned()).collect(),
        ..Default::default()
    };
    let all = [PrefixAttention::Decoder, PrefixAttention::Encoder, PrefixAttention::Cross];
    let start = |init_lora_weights| LoraOptions { init_lora_weights, ..options() };
    vec![
        case("lora", lora(options())),
        case("lora, rank-stabilised", lora(LoraOptions { use_rslora: true, ..options() })),
        case("lora, gaussian", lora(start(LoraStart::Gaussian))),
        rounding("lora, pissa", lora(start(LoraStart::Pissa))),
        rounding("lora, olora", lora(LoraOptions { use_rslora: true, ..start(LoraStart::Olora) })),
        case(
            "lora of some layers",
            lora(LoraOptions {
                target_modules: TargetModules::Pattern("all-linear".into()),
                exclude_modules: Some(suffixes(["wo", "EncDecAttention.k"])),
                layers: vec![1],
                rank_pattern: [("SelfAttention.q".to_owned(), 2)].into(),
                alpha_pattern: [("v".to_owned(), 3.5)].into(),
                ..options()
            }),
        ),
        case(
            "lora of the head",
            lora(LoraOptions { target_modules: suffixes(["lm_head", "q"]), ..options() }),
        ),
        apart(
            "lora of embeddings",
            lora(LoraOptions { target_modules: suffixes(["embed_tokens"]), ..options() }),
        ),
        case(
            "lora and whole modules",
            lora(LoraOptions {
                modules_to_save: vec![
                    "final_layer_norm".into(),
                    "relative_attention_bias".into(),
                    "lm_head".into(),
                ],
                ..options()
            }),
        ),
        rounding("dora", Method::Dora(DoraOptions(options()))),
        case("ia3", Method::Ia3(Ia3Options::default())),
        other("prompt", Method::Prompt(PromptOptions { num_virtual_tokens: 5, ..Default::default() })),
        other("prefix", Method::Prefix(PrefixOptions { num_virtual_tokens: 3, ..Default::default() })),
        other(
            "prefixes everywhere",
            Method::Prefix(PrefixOptions { num_virtual_tokens: 3, attentions: all.to_vec() }),
        ),
        apart(
            "bottleneck",
            Method::Bottleneck(BottleneckOptions { reduction_factor: 4.0, ..Default::default() }),
        ),
        apart(
            "bottlenecks everywhere",
            Method::Bottleneck(BottleneckOptions {
                reduction_factor: 8.0,
                after: vec![
                    AfterSublayer::Attention,
                    AfterSublayer::CrossAttention,
                    AfterSublayer::FeedForward,
                ],
                reads: Reads::Output,
            }),
        ),
        case("norms", Method::Selective(selective(&["layer_norm"]))),
        case("tables", Method::Selective(selective(&["relative_attention_bias", "^shared"]))),
        case("last blocks", Method::Selective(SelectiveOptions { last_blocks: 1, ..Default::default() })),
        apart(
            "biases",
            Method::Selective(SelectiveOptions {
                biases: Some(suffixes(["q", "wo"])),
                ..selective(&["final"])
            }),
        ),
        case("full", Method::Full(FullOptions {})),
    ]
}

/// What holds for a checkpoint whose head is not its embedding alone.
fn cases_of_untied() -> Vec<Case> {
    let tokens = LoraOptions { trainable_token_indices: vec![7, 39, 2], ..options() };
    let case = Case { name: "lora and tokens", method: lora(tokens), identity: Some(0.0), merges: true };
    cases().into_iter().chain([case]).collect()
}

/// Each golden checkpoint, and the cases for it.
fn each(check: impl Fn(&str, &Path, &Case)) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    for (name, cases) in [("tiny-gated", cases_of_untied()), ("tiny-tied", cases())] {
        let base = root.join(name).join("model");
        for case in &cases {
            check(&format!("{name}, {}", case.name), &base, case);
        }
    }
}

fn load(base: &Path) -> T5 {
    T5::load(base, &Device::Cpu, DType::F32).unwrap()
}

fn hook(base: &Path, method: &Method) -> Adapted {
    inject(load(base), method, Initial::Seed(3), DType::F32).unwrap()
}

fn both_kernels() -> [Arc<dyn Kernels>; 2] {
    [Arc::new(Cpu), Arc::new(Composed::new(Device::Cpu))]
}

fn logits(model: &T5, kernels: &Arc<dyn Kernels>) -> Tensor {
    let (tape, batch) = (Tape::off(kernels.clone()), batch());
    let encoded = model.encode(&tape, &batch.source, &batch.source_segments).unwrap();
    let hidden = model.decode(&tape, &batch, &encoded).unwrap();
    model.logits(&tape, &hidden).unwrap()
}

/// The loss, and its gradient over the buffer.
fn gradient(adapted: &Adapted, kernels: &Arc<dyn Kernels>) -> (f64, Tensor) {
    let tape = Tape::new(kernels.clone());
    let loss = adapted.model.loss(&tape, &batch(), 0.0).unwrap();
    let value = f64::from(loss.value().to_scalar::<f32>().unwrap());
    let buffer = adapted.parameters.gradients().unwrap();
    tape.backward(loss, Tensor::new(1f32, &Device::Cpu).unwrap(), &buffer).unwrap();
    (value, buffer)
}

/// The distance of two tensors relative to the second's norm.
fn distance(a: &Tensor, b: &Tensor) -> f32 {
    let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
    norm(&(a - b).unwrap()) / norm(b).max(f32::MIN_POSITIVE)
}

#[test]
fn before_the_first_step_the_model_is_the_base() {
    each(|name, base, case| {
        for kernels in both_kernels() {
            let (plain, adapted) = (logits(&load(base), &kernels), hook(base, &case.method));
            let far = distance(&logits(&adapted.model, &kernels), &plain);
            match case.identity {
                Some(most) => assert!(far <= most, "{name}: {far}"),
                None => assert!(far > 1e-3, "{name}: {far}"),
            }
            assert!(distance(&logits(&moved(adapted).model, &kernels), &plain) > 1e-3, "{name}, moved");
        }
    });
}

#[test]
fn what_is_declared_receives_gradients_and_nothing_else() {
    each(|name, base, case| {
        let adapted = moved(hook(base, &case.method));
        for kernels in both_kernels() {
            let (_, buffer) = gradient(&adapted, &kernels);
            for (i, entry) in adapted.parameters.entries().iter().enumerate() {
                let found = adapted.parameters.view(i, &buffer).unwrap();
                let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
                assert!(found.iter().all(|x| x.is_finite()), "{name}, {}", entry.name);
                assert!(found.iter().any(|&x| x != 0.0), "{name}: {} receives no gradient", entry.name);
            }
        }
        // Of the base's weights, those alone are trained that the method declares.
        let mut model = adapted.model.clone();
        let traced = model.weights_mut().into_iter().filter(|weight| weight.value.is_traced()).count();
        let declared = match &case.method {
            Method::Full(_) => load(base).weights_mut().len(),
            Method::Selective(_) => {
                adapted.parameters.entries().iter().filter(|entry| entry.name.ends_with(".weight")).count()
            }
            Method::Lora(options) if !options.modules_to_save.is_empty() => 2 + 2 + 1,
            _ => 0,
        };
        assert_eq!(traced, declared, "{name}");
    });
}

#[test]
fn both_kinds_of_kernels_agree() {
    each(|name, base, case| {
        let adapted = moved(hook(base, &case.method));
        let [own, composed] =
            both_kernels().map(|kernels| (logits(&adapted.model, &kernels), gradient(&adapted, &kernels)));
        assert!(distance(&own.0, &composed.0) < 1e-5, "{name}, logits");
        for (i, entry) in adapted.parameters.entries().iter().enumerate() {
            let [own, composed] =
                [&own.1.1, &composed.1.1].map(|buffer| adapted.parameters.view(i, buffer).unwrap());
            let far = distance(&own, &composed);
            assert!(far < 1e-3, "{name}, {}: {far}", entry.name);
        }
    });
}

#[test]
fn gradients_are_the_slope_of_the_loss() {
    each(|name, base, case| {
        // DoRA's lengths are constants to backward, as peft has it, and bottlenecks bend too often: the goldens hold both.
        if matches!(case.method, Method::Dora(_) | Method::Bottleneck(_)) {
            return;
        }
        let adapted = moved(hook(base, &case.method));
        let kernels: Arc<dyn Kernels> = Arc::new(Cpu);
        let (_, buffer) = gradient(&adapted, &kernels);
        let start = adapted.parameters.state().copy().unwrap();
        let n = adapted.parameters.buffer_len();
        // Each tensor along its own gradient.
        for (i, entry) in adapted.parameters.entries().iter().enumerate() {
            let own = adapted.parameters.view(i, &buffer).unwrap().flatten_all().unwrap();
            let slope = own.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            let direction = Tensor::zeros(3 * n, DType::F32, &Device::Cpu).unwrap();
            direction.slice_set(&own, 0, entry.offset).unwrap();
            // A loss that is a sum of dozens changes far above its rounding, and few bends of a relu lie within.
            let step = (0.005 / f64::from(slope)).min(0.01 / f64::from(slope).sqrt());
            let loss_at = |by: f64| {
                let moved = (&start + (&direction * by).unwrap()).unwrap();
                adapted.parameters.restore(&moved).unwrap();
                let tape = Tape::off(kernels.clone());
                f64::from(
                    adapted.model.loss(&tape, &batch(), 0.0).unwrap().value().to_scalar::<f32>().unwrap(),
                )
            };
            let found = (loss_at(step) - loss_at(-step)) / (2.0 * step);
            adapted.parameters.restore(&start).unwrap();
            // The loss, about 70, is rounded to some 2e-5.
            let (error, rounding) = ((found - f64::from(slope)).abs(), 2e-5 / step);
            // T5 v1.0 has relus, which bend between the two.
            let bends = if name.starts_with("tiny-tied") { 0.15 } else { 0.02 };
            let most = bends * f64::from(slope) + rounding;
            assert!(error < most, "{name}, {}: the slope is {found}, not {slope}", entry.name);
            assert!(
                rounding < 0.2 * f64::from(slope),
                "{name}, {}: {slope} is hidden by rounding",
                entry.name
            );
        }
    });
}

#[test]
fn merged_weights_compute_what_the_adapter_does() {
    each(|name, base, case| {
        let adapted = moved(hook(base, &case.method));
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("merged");
        let saved = tallow_t5::save(&adapted.model, base, None, &path);
        assert_eq!(saved.is_ok(), case.merges, "{name}: {saved:?}");
        if !case.merges {
            return assert!(!path.exists(), "{name}");
        }
        for kernels in both_kernels() {
            let far = distance(&logits(&load(&path), &kernels), &logits(&adapted.model, &kernels));
            assert!(far < 2e-5, "{name}: {far}");
        }
    });
}

#[test]
fn what_is_written_is_read_back() {
    each(|name, base, case| {
        if !case.method.has_adapter() {
            return;
        }
        let adapted = moved(hook(base, &case.method));
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("adapter");
        adapted.save(&path, base, None).unwrap();
        let again = Adapted::load(load(base), &path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kernels: Arc<dyn Kernels> = Arc::new(Cpu);
        let far = distance(&logits(&again.model, &kernels), &logits(&adapted.model, &kernels));
        let most = if case.identity == Some(1e-5) { 2e-5 } else { 0.0 };
        assert!(far <= most, "{name}: {far}");
        // Written once more, it is the same.
        let twice = parent.path().join("twice");
        again.save(&twice, base, None).unwrap();
        for file in std::fs::read_dir(&path).unwrap() {
            let file = file.unwrap().file_name();
            let read = |folder: &std::path::Path| std::fs::read(folder.join(&file)).unwrap();
            if file != "README.md" {
                assert!(read(&path) == read(&twice), "{name}: {}", file.display());
            }
        }
    });
}

#[test]
fn virtual_tokens_start_as_is_asked() {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model");
    let prompt = |prompt_tuning_init, init_tokens: &[u32]| {
        let options = PromptOptions {
            num_virtual_tokens: 6,
            prompt_tuning_init,
            init_tokens: init_tokens.to_vec(),
            ..Default::default()
        };
        hook(&base, &Method::Prompt(options)).parameters.value(0).to_vec2::<f32>().unwrap()
    };
    let table = load(&base).embedding().to_vec2::<f32>().unwrap();
    let drawn = prompt(PromptStart::Vocabulary, &[]);
    assert!(drawn.iter().all(|row| table.contains(row)) && drawn[0] != drawn[1]);
    let of_text = prompt(PromptStart::Text, &[5, 9]);
    assert_eq!(of_text, [5, 9, 5, 9, 5, 9].map(|token: usize| table[token].clone()));
    let random: Vec<f32> = prompt(PromptStart::Random, &[]).concat();
    let squares =
        |values: &[f32]| values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / values.len() as f64;
    let ratio = squares(&random) / squares(&table.concat());
    assert!((0.6..1.5).contains(&ratio), "{ratio}");
}

#[test]
fn the_cache_of_generation_is_foreseen_with_its_prefixes() {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model");
    let foreseen = |model: &T5, num_beams: usize, max_new_tokens: usize| {
        let options = GenerationOptions { num_beams, max_new_tokens, ..Default::default() };
        model.generation([10, 20], &options, 4).cache
    };
    let plain = load(&base);
    let attentions = vec![PrefixAttention::Decoder, PrefixAttention::Cross];
    let options = PrefixOptions { num_virtual_tokens: 100, attentions };
    let adapted = hook(&base, &Method::Prefix(options));
    let row = (plain.config.num_decoder_layers * 2 * plain.config.inner() * 4) as f64;
    // A cache begins with room for 64 tokens behind the prefix, and doubles: 64 and 128 alone, 164 and 328 behind 100.
    for (beams, new_tokens, own) in [(1, 64, 164 - 64), (3, 70, 328 - 128)] {
        let [plain, adapted] = [&plain, &adapted.model].map(|model| foreseen(model, beams, new_tokens));
        assert_eq!(adapted - plain, row * (2 * 100 + 2 * beams * own) as f64, "{beams} beams");
    }
}

#[test]
fn b_of_lora_plus_learns_faster() {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model");
    let adapted = hook(&base, &lora(LoraOptions { loraplus_lr_ratio: 16.0, ..options() }));
    for entry in adapted.parameters.entries() {
        assert_eq!(
            entry.rate,
            if entry.name.ends_with("lora_B.weight") { 16.0 } else { 1.0 },
            "{}",
            entry.name
        );
    }
}

#[test]
fn what_a_model_cannot_do_is_refused() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let refused = |name: &str, method: Method| {
        message(inject(load(&root.join(name).join("model")), &method, Initial::Seed(0), DType::F32))
    };
    let found = [
        refused("tiny-tied", lora(LoraOptions { trainable_token_indices: vec![1], ..options() })),
        refused("tiny-gated", lora(LoraOptions { trainable_token_indices: vec![384], ..options() })),
        refused(
            "tiny-gated",
            lora(LoraOptions { modules_to_save: vec!["head".into(), "nothing".into()], ..options() }),
        ),
        refused("tiny-gated", lora(LoraOptions { layers: vec![7], ..options() })),
        refused(
            "tiny-gated",
            lora(LoraOptions { rank: 64, init_lora_weights: LoraStart::Pissa, ..options() }),
        ),
        refused(
            "tiny-gated",
            Method::Dora(DoraOptions(LoraOptions { target_modules: suffixes(["lm_head"]), ..options() })),
        ),
        refused(
            "tiny-gated",
            Method::Selective(SelectiveOptions { weights: vec!["bias$".into()], ..Default::default() }),
        ),
        refused("tiny-gated", Method::Selective(SelectiveOptions { last_blocks: 9, ..Default::default() })),
    ];
    assert_eq!(
        found,
        [
            "trainable_token_indices: the embedding is the head too, whose rows would change with it",
            "trainable_token_indices: 384 is past the vocabulary of 384",
            "modules_to_save has nothing, which no weight's name ends in",
            "of the layers that target_modules q, v match, exclude_modules and layers leave none",
            "encoder.block.0.layer.0.SelfAttention.q cannot be started from its weight at rank 64, of which it has fewer: \
             give init_lora_weights = \"kaiming\"",
            "lm_head is no linear layer of a block: give it to lora",
            "`bias$` matches no weight of the model; names are as encoder.block.0.layer.0.layer_norm.weight",
            "last_blocks is 9, but the model's stacks have 2 blocks: at most that many can be the last ones",
        ]
    );
}

#[test]
fn doras_form_for_dropout_is_its_plain_one_where_nothing_drops() {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model");
    let found = [0.0, 1e-9].map(|dropout| {
        let adapted = moved(hook(&base, &Method::Dora(DoraOptions(LoraOptions { dropout, ..options() }))));
        let tape = Tape::with_dropout(Arc::new(Cpu), Randomness::new(1, 1, 0));
        let loss = adapted.model.loss(&tape, &batch(), 0.0).unwrap();
        let value = loss.value().to_scalar::<f32>().unwrap();
        let buffer = adapted.parameters.gradients().unwrap();
        tape.backward(loss, Tensor::new(1f32, &Device::Cpu).unwrap(), &buffer).unwrap();
        (value, buffer)
    });
    let [plain, dropped] = &found;
    assert!((plain.0 / dropped.0 - 1.0).abs() < 1e-5, "{} {}", plain.0, dropped.0);
    assert!(distance(&dropped.1, &plain.1) < 1e-3);
}

/// y = W x + (m / n - 1) W d + (m / n) s B A d, d = drop(x), as peft computes DoRA in training, for a layer by itself.
#[test]
fn dora_drops_what_peft_drops() {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model");
    let mut adapted =
        moved(hook(&base, &Method::Dora(DoraOptions(LoraOptions { dropout: 0.4, ..options() }))));
    let tensors: std::collections::HashMap<String, Tensor> = adapted.tensors().unwrap().into_iter().collect();
    let mut linears = adapted.model.linears_mut();
    let linear = linears.iter_mut().find(|linear| linear.adapter.is_some()).unwrap();
    let part = |end: &str| tensors[&format!("base_model.model.{}.{end}", linear.name())].clone();
    let (a, b, m) = (part("lora_A.weight"), part("lora_B.weight"), part("lora_magnitude_vector"));
    let w = linear.weight.value.value().clone();
    let x: Vec<f32> = (0..7 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
    let x = Tensor::from_vec(x, (7, 32), &Device::Cpu).unwrap();
    let randomness = Randomness::new(5, 2, 0);
    let d = Cpu.dropout(Dest::New, &x, randomness.mask(0, 0.4)).unwrap();
    let scale = options().scale();
    let update = (b.matmul(&a).unwrap() * scale).unwrap();
    let n = (&w + &update).unwrap().sqr().unwrap().sum(1).unwrap().sqrt().unwrap();
    let ratio = (m / n).unwrap();
    let product = |x: &Tensor, weight: &Tensor| x.matmul(&weight.t().unwrap()).unwrap();
    let left = product(&d, &w).broadcast_mul(&(&ratio - 1.0).unwrap()).unwrap();
    let low = product(&d, &update).broadcast_mul(&ratio).unwrap();
    let wanted = ((product(&x, &w) + left).unwrap() + low).unwrap();
    let tape = Tape::with_dropout(Arc::new(Cpu), randomness);
    let at = Stream::from(&Arc::new(Segments::packed([7])));
    let adapter = linear.adapter.clone().unwrap();
    let found = adapter.forward(&tape, &Traced::constant(x), &Traced::constant(w), &at).unwrap();
    assert!(distance(found.value(), &wanted) < 1e-5, "{}", distance(found.value(), &wanted));
}

#[test]
fn what_is_trained_as_a_whole_is_not_adapted() {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model");
    let names = |modules: &[&str]| -> Vec<String> {
        let options = LoraOptions {
            target_modules: TargetModules::Pattern("all-linear".into()),
            modules_to_save: modules.iter().map(|&module| module.to_owned()).collect(),
            ..options()
        };
        let adapted = hook(&base, &lora(options));
        adapted.parameters.entries().iter().map(|entry| entry.name.clone()).collect()
    };
    // A name that another one ends in has its modules too.
    let found = names(&["o", "wo"]);
    assert!(!found.iter().any(|name| name.contains(".o.lora_") || name.contains(".wo.lora_")));
    assert_eq!(found.iter().filter(|name| name.ends_with("DenseReluDense.wo.weight")).count(), 4);
    assert!(!names(&["SelfAttention.q"]).iter().any(|name| name.contains("SelfAttention.q.lora_")));
}

#[test]
fn peft_is_given_what_it_takes() {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model");
    let written = |method: Method| -> serde_json::Value {
        let folder = tempfile::tempdir().unwrap();
        hook(&base, &method).save(&folder.path().join("adapter"), &base, None).unwrap();
        let text = std::fs::read_to_string(folder.path().join("adapter/adapter_config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    // feedforward_modules have to be among target_modules there.
    let ia3 = written(Method::Ia3(Ia3Options { target_modules: suffixes(["k"]), ..Default::default() }));
    assert_eq!(ia3["feedforward_modules"], serde_json::json!([]));
    assert_eq!(ia3["target_modules"].as_array().unwrap().len(), 6);
    let attentions = vec![PrefixAttention::Decoder, PrefixAttention::Cross];
    let prefix = written(Method::Prefix(PrefixOptions { attentions, ..Default::default() }));
    assert_eq!(prefix["peft_type"], "TALLOW_PREFIX");
    assert_eq!(written(Method::Prefix(PrefixOptions::default()))["peft_type"], "PREFIX_TUNING");
}
