use insta::assert_snapshot;

use super::wrong;
use crate::harness::{BASE, Place, TINY, TINY_LORA, change};

#[test]
fn configs_of_adapters_that_cannot_be_read() {
    let place = Place::new();
    place.copy(TINY_LORA, "adapter");
    let inspect = || wrong(&place, &format!("inspect DIR/adapter --model {TINY}"));
    place.edit("adapter/adapter_config.json", "\"use_qalora\": false", "\"use_qalora\": true");
    assert_snapshot!(inspect(), @"1: error: DIR/adapter/adapter_config.json: uses use_qalora, which cannot be read");
    place.edit("adapter/adapter_config.json", "\"LORA\"", "\"LOHA\"");
    assert_snapshot!(inspect(), @"1: error: DIR/adapter/adapter_config.json: peft_type is LOHA; LORA, IA3, PROMPT_TUNING, PREFIX_TUNING and LN_TUNING can be read");
    place.write("adapter/adapter_config.json", "{\"peft_type\": \"LORA\"}");
    assert_snapshot!(inspect(), @"1: error: DIR/adapter/adapter_config.json: there is no r");
    place.write("adapter/adapter_config.json", "LORA");
    assert_snapshot!(inspect(), @"1: error: DIR/adapter/adapter_config.json: not a JSON object: expected value at line 1 column 1");
    std::fs::remove_file(place.path("adapter/adapter_config.json")).unwrap();
    assert_snapshot!(wrong(&place, &format!("export --model {TINY} --adapter DIR/adapter DIR/out")), @"1: error: cannot load the adapter in DIR/adapter: DIR/adapter/adapter_config.json: no such file or folder");
}

#[test]
fn tensors_that_do_not_fit() {
    let place = Place::new();
    place.copy(TINY_LORA, "adapter");
    let layer = |name: &str| format!("base_model.model.{name}.weight");
    change(&place, "adapter/adapter_model.safetensors", |tensors| {
        let moved = tensors.remove(&layer("encoder.block.0.layer.0.SelfAttention.q.lora_A")).unwrap();
        tensors.insert(layer("encoder.block.9.layer.0.SelfAttention.q.lora_A"), moved);
        let name = layer("decoder.block.1.layer.1.EncDecAttention.v.lora_B");
        let turned = tensors[&name].t().unwrap().contiguous().unwrap();
        tensors.insert(name, turned);
    });
    let export = || wrong(&place, &format!("export --model {TINY} --adapter DIR/adapter DIR/out"));
    assert_snapshot!(export(), @"
    1: error: cannot load the adapter in DIR/adapter: DIR/adapter/adapter_model.safetensors is not an adapter of this model:
      - missing: base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight [4, 32]
      - misshapen: base_model.model.decoder.block.1.layer.1.EncDecAttention.v.lora_B.weight is [4, 32], expected [32, 4]
      - stray: base_model.model.encoder.block.9.layer.0.SelfAttention.q.lora_A.weight [4, 32]
    ");
    let file = place.path("adapter/adapter_model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert_snapshot!(export(), @"1: error: cannot load the adapter in DIR/adapter: DIR/adapter/adapter_model.safetensors: the file is cut short or not safetensors: fetch or write it again");
    std::fs::remove_file(&file).unwrap();
    assert_snapshot!(export(), @"1: error: cannot load the adapter in DIR/adapter: DIR/adapter/adapter_model.safetensors: no such file or folder");
}

#[test]
fn adapters_of_another_base() {
    let place = Place::new();
    assert_snapshot!(
        wrong(&place, &format!("generate --model {BASE} --adapter {TINY_LORA} --prompt Hi")),
        @"
    1: error: cannot load the adapter in tests/golden/tiny-gated/adapters/lora: tests/golden/tiny-gated/adapters/lora/adapter_model.safetensors is not an adapter of this model:
      - misshapen: base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight is [4, 32], expected [4, 128]
      - misshapen: base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_B.weight is [32, 4], expected [128, 4]
      - misshapen: base_model.model.encoder.block.0.layer.0.SelfAttention.v.lora_A.weight is [4, 32], expected [4, 128]
      - misshapen: base_model.model.encoder.block.0.layer.0.SelfAttention.v.lora_B.weight is [32, 4], expected [128, 4]
      - misshapen: base_model.model.encoder.block.1.layer.0.SelfAttention.q.lora_A.weight is [4, 32], expected [4, 128]
      - misshapen: base_model.model.encoder.block.1.layer.0.SelfAttention.q.lora_B.weight is [32, 4], expected [128, 4]
      - misshapen: base_model.model.encoder.block.1.layer.0.SelfAttention.v.lora_A.weight is [4, 32], expected [4, 128]
      - misshapen: base_model.model.encoder.block.1.layer.0.SelfAttention.v.lora_B.weight is [32, 4], expected [128, 4]
      - missing: base_model.model.encoder.block.2.layer.0.SelfAttention.q.lora_A.weight [4, 128]
      - missing: base_model.model.encoder.block.2.layer.0.SelfAttention.q.lora_B.weight [128, 4]
      and 26 more
    "
    );
}
