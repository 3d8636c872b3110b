use insta::assert_snapshot;

use super::wrong;
use crate::harness::{BASE, Place, TINY, change};

#[test]
fn folders_that_hold_no_model() {
    let place = Place::new();
    let train = |more: &str| wrong(&place, &format!("train DIR/trial.toml {more}"));
    assert_snapshot!(train("model.path=DIR/nowhere"), @"
    2: error: DIR/trial.toml: 1 problem
      `model.path=DIR/nowhere`: DIR/nowhere: no such folder; a model is one with config.json, model.safetensors and tokenizer.json
    ");
    place.copy(BASE, "model");
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        std::fs::rename(place.path(&format!("model/{file}")), place.path("aside")).unwrap();
        match file {
            "model.safetensors" => {
                assert_snapshot!(train("model.path=DIR/model"), @"1: error: cannot load the model in DIR/model: DIR/model/model.safetensors: no such file or folder")
            }
            "config.json" => {
                assert_snapshot!(train("model.path=DIR/model"), @"1: error: cannot load the model in DIR/model: DIR/model/config.json: no such file or folder")
            }
            _ => {
                assert_snapshot!(train("model.path=DIR/model"), @"1: error: DIR/model/tokenizer.json: no such file; name another by model.tokenizer in a config, or by --tokenizer to generate")
            }
        }
        std::fs::rename(place.path("aside"), place.path(&format!("model/{file}"))).unwrap();
    }
}

#[test]
fn weights_that_are_cut_short() {
    let place = Place::new();
    place.copy(BASE, "model");
    let file = place.path("model/model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    let mut said = Vec::new();
    for length in [0, 4, 3000, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        said.push(wrong(&place, "train DIR/trial.toml model.path=DIR/model"));
    }
    said.dedup();
    assert_snapshot!(said.join("\n"), @"1: error: cannot load the model in DIR/model: DIR/model/model.safetensors: the file is cut short or not safetensors: fetch or write it again");
}

#[test]
fn weights_that_do_not_fit_the_config() {
    let place = Place::new();
    place.copy(TINY, "model");
    change(&place, "model/model.safetensors", |tensors| {
        tensors.remove("encoder.final_layer_norm.weight").unwrap();
        tensors.remove("decoder.block.1.layer.0.SelfAttention.k.weight").unwrap();
        let name = "encoder.block.0.layer.0.SelfAttention.q.weight";
        let wide = tensors[name].narrow(0, 0, 16).unwrap().contiguous().unwrap();
        tensors.insert(name.into(), wide);
    });
    assert_snapshot!(wrong(&place, "inspect DIR/model"), @"
    1: error: cannot load the model in DIR/model: DIR/model does not fit its config.json:
      - encoder.block.0.layer.0.SelfAttention.q.weight: shape [16, 32], expected [32, 32]
      - encoder.final_layer_norm.weight: missing, expected [32]
      - decoder.block.1.layer.0.SelfAttention.k.weight: missing, expected [32, 32]
    ");
    place.edit("model/config.json", "\"t5\"", "\"bart\"");
    assert_snapshot!(wrong(&place, "inspect DIR/model"), @"1: error: cannot load the model in DIR/model: DIR/model/config.json: model_type is `bart`; T5 and FLAN-T5 (`t5`) can be trained");
    place.write("model/config.json", "{\"model_type\": \"t5\"");
    assert_snapshot!(wrong(&place, "inspect DIR/model"), @"1: error: cannot load the model in DIR/model: DIR/model/config.json: not JSON: EOF while parsing an object at line 1 column 19");
    place.write("model/config.json", "{\"model_type\": \"t5\", \"d_model\": 8}");
    assert_snapshot!(wrong(&place, "inspect DIR/model"), @"1: error: cannot load the model in DIR/model: DIR/model/config.json: not a T5's config: missing field `vocab_size`");
}

#[test]
fn tokenizers_that_are_not_the_models() {
    let place = Place::new();
    assert_snapshot!(wrong(&place, &format!("generate --model {TINY} --prompt Hi")), @"1: error: tests/golden/tiny-gated/model/tokenizer.json: no such file; name another by model.tokenizer in a config, or by --tokenizer to generate");
    let generate = |tokenizer: &str| {
        wrong(&place, &format!("generate --model {TINY} --tokenizer {tokenizer} --prompt Hi"))
    };
    assert_snapshot!(generate(&format!("{BASE}/tokenizer.json")), @"1: error: data/quickstart/base/tokenizer.json: 1054 tokens, but the model in tests/golden/tiny-gated/model has a vocabulary of 384: use the model's own tokenizer");
    assert_snapshot!(generate("DIR/none.json"), @"2: error: --tokenizer DIR/none.json: no such file");
    place.write("broken.json", "{\"model\": 1}");
    assert_snapshot!(generate("DIR/broken.json"), @"1: error: DIR/broken.json: not a usable tokenizer: data did not match any variant of untagged enum ModelUntagged at line 1 column 12");
}

#[test]
fn targets_that_match_nothing() {
    let place = Place::new();
    let train =
        |targets: &str| wrong(&place, &format!("train DIR/trial.toml method.target_modules={targets}"));
    assert_snapshot!(train("[\"query\"]"), @r#"1: error: target_modules ["query"] match no layer of the model; its layers end in embed_tokens, k, lm_head, o, q, v, wi_0, wi_1, wo"#);
    assert_snapshot!(train("\"(q|v\""), @r#"
    2: error: DIR/trial.toml: 1 problem
      `method.target_modules="(q|v"`: `(q|v` is not a regular expression: regex parse error:
        ^(?:(q|v)$
         ^
    error: unclosed group
    "#);
}
