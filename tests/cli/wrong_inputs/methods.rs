//! What is said of a method's section.

use insta::assert_snapshot;

use super::{wrong, wrong_with};
use crate::harness::{BASE, Place};

fn train(method: &str) -> String {
    wrong_with(&Place::new(), "train DIR/trial.toml", &[&format!("method={{{method}}}")])
}

/// The same, without what stands before the problems.
fn problems(method: &str) -> String {
    let said = train(method);
    let (head, list) = said.split_once('\n').unwrap();
    assert!(head.starts_with("2: error: DIR/trial.toml: "), "{said}");
    list.replace(&format!("`method={{{method}}}`: "), "")
}

#[test]
fn kinds_that_are_not_known() {
    assert_snapshot!(problems("kind='dorra'"), @"  method.kind: `dorra` is not known; did you mean `dora`? Known are lora, dora, ia3, prompt, prefix, bottleneck, selective, full");
    assert_snapshot!(problems("kind='x'"), @"  method.kind: `x` is not known; known are lora, dora, ia3, prompt, prefix, bottleneck, selective, full");
    assert_snapshot!(wrong(&Place::new(), "train DIR/trial.toml method.kind=ia3"), @r#"
    2: error: DIR/trial.toml: 3 problems
      DIR/trial.toml:11: method.rank: is not a known key of kind = "ia3"; known are target_modules, feedforward_modules
      DIR/trial.toml:12: method.alpha: is not a known key of kind = "ia3"; known are target_modules, feedforward_modules
      DIR/trial.toml:13: method.dropout: is not a known key of kind = "ia3"; known are target_modules, feedforward_modules
    "#);
}

#[test]
fn keys_that_a_kind_does_not_have() {
    assert_snapshot!(problems("kind='lora',ranks=4"), @r#"  method.ranks: is not a known key of kind = "lora"; did you mean `rank`?"#);
    assert_snapshot!(problems("kind='dora',use_dora=true"), @r#"  method.use_dora: is not a known key of kind = "dora"; did you mean `use_rslora`?"#);
    assert_snapshot!(problems("kind='ia3',feedforward_module=[]"), @r#"  method.feedforward_module: is not a known key of kind = "ia3"; did you mean `feedforward_modules`?"#);
    assert_snapshot!(problems("kind='prompt',virtual_tokens=4"), @r#"  method.virtual_tokens: is not a known key of kind = "prompt"; did you mean `num_virtual_tokens`?"#);
    assert_snapshot!(problems("kind='prefix',attention=['cross']"), @r#"  method.attention: is not a known key of kind = "prefix"; did you mean `attentions`?"#);
    assert_snapshot!(problems("kind='bottleneck',reduction=8"), @r#"  method.reduction: is not a known key of kind = "bottleneck"; did you mean `reduction_factor`?"#);
    assert_snapshot!(problems("kind='selective',last_block=1"), @r#"
      method.last_block: is not a known key of kind = "selective"; did you mean `last_blocks`?
      method.weights: give weights, last_blocks or biases: nothing is trained
    "#);
    assert_snapshot!(problems("kind='full',rank=8"), @r#"  method.rank: is not a known key of kind = "full", which has none"#);
}

#[test]
fn values_that_a_kind_cannot_have() {
    assert_snapshot!(problems("kind='lora',rank=0,loraplus_lr_ratio=0,rank_pattern={q=0},trainable_token_indices=[3,3]"), @"
      method.rank: must be at least 1
      method.rank_pattern: has a rank of 0
      method.loraplus_lr_ratio: must be a positive number
      method.trainable_token_indices: names a token twice
    ");
    assert_snapshot!(problems("kind='dora',init_lora_weights='pissa'"), @"  method.init_lora_weights: DoRA starts from the weight as it is: give kaiming or gaussian");
    assert_snapshot!(problems("kind='lora',init_lora_weights='pisa'"), @"  method.init_lora_weights: `pisa` is not known; did you mean `pissa`? Known are kaiming, gaussian, pissa, olora");
    assert_snapshot!(problems("kind='ia3',target_modules=[]"), @"  method.target_modules: is empty: name at least one layer");
    assert_snapshot!(problems("kind='prompt',num_virtual_tokens=0,prompt_tuning_init='text'"), @"
      method.num_virtual_tokens: must be at least 1
      method.prompt_tuning_init_text: is needed to start from a text
    ");
    assert_snapshot!(problems("kind='prompt',prompt_tuning_init_text='Hi'"), @r#"  method.prompt_tuning_init_text: is there, but prompt_tuning_init is not "text""#);
    assert_snapshot!(problems("kind='prompt',prompt_tuning_init='text',prompt_tuning_init_text=' '"), @"  method.prompt_tuning_init_text: is empty");
    assert_snapshot!(problems("kind='prompt',prompt_tuning_init='text',prompt_tuning_init_text='Hi',init_tokens=[5]"), @"  method.init_tokens: is there beside prompt_tuning_init_text: give one of them");
    assert_snapshot!(problems("kind='prompt',init_tokens=[5]"), @r#"  method.init_tokens: is there, but prompt_tuning_init is not "text""#);
    assert_snapshot!(problems("kind='dora',rank=100000"), @"  method.rank: must be at most 16384, more than the sides of any layer of T5");
    assert_snapshot!(problems("kind='prefix',attentions=['decodr']"), @"  method.attentions: `decodr` is not known; did you mean `decoder`? Known are decoder, encoder, cross");
    assert_snapshot!(problems("kind='prefix',attentions=[]"), @"  method.attentions: is empty: name at least one of decoder, encoder, cross");
    assert_snapshot!(problems("kind='bottleneck',reduction_factor=0,after=['attn'],reads='strem'"), @"
      method.after: `attn` is not known; known are attention, cross_attention, feed_forward
      method.reads: `strem` is not known; did you mean `stream`? Known are stream, output
      method.reduction_factor: must be a number from 1/64
    ");
    assert_snapshot!(problems("kind='selective'"), @"  method.weights: give weights, last_blocks or biases: nothing is trained");
    assert_snapshot!(problems("kind='selective',weights=['(']"), @"  method.weights: `(` is not a regular expression: unclosed group");
}

#[test]
fn what_the_model_does_not_have() {
    assert_snapshot!(train("kind='ia3',target_modules=['query']"), @r#"1: error: target_modules ["query"] match no layer of the model; its layers end in k, o, q, v, wi_0, wi_1, wo"#);
    assert_snapshot!(train("kind='selective',weights=['norm$']"), @"1: error: `norm$` matches no weight of the model; names are as encoder.block.0.layer.0.layer_norm.weight");
    assert_snapshot!(train("kind='selective',last_blocks=9"), @"1: error: last_blocks is 9, but the model's stacks have 3 blocks: at most that many can be the last ones");
    assert_snapshot!(train("kind='selective',biases=['query']"), @r#"1: error: biases ["query"] match no layer of the model; its layers end in k, o, q, v, wi_0, wi_1, wo"#);
    assert_snapshot!(train("kind='lora',modules_to_save=['query']"), @"1: error: modules_to_save has query, which no weight's name ends in");
    assert_snapshot!(train("kind='lora',trainable_token_indices=[3000]"), @"1: error: trainable_token_indices: 3000 is past the vocabulary of 1088");
    assert_snapshot!(train("kind='lora',init_lora_weights='olora',rank=400"), @r#"1: error: encoder.block.0.layer.0.SelfAttention.q cannot be started from its weight at rank 400, of which it has fewer: give init_lora_weights = "kaiming""#);
    assert_snapshot!(train("kind='dora',target_modules=['lm_head']"), @"1: error: lm_head is no linear layer of a block: give it to lora");
}

#[test]
fn methods_on_the_command_line() {
    let place = Place::new();
    place.write("batches.jsonl", "{\"source\": [[5, 1]], \"target\": [[9, 1]]}\n");
    let bench =
        |method: &str| wrong_with(&place, &format!("bench {BASE} DIR/batches.jsonl --method"), &[method]);
    assert_snapshot!(bench("kind = 'dora', rnk = 3"), @r#"
    2: error: --method: 1 problem
      rnk: is not a known key of kind = "dora"; did you mean `rank`?
    "#);
    assert_snapshot!(bench("dora"), @r#"2: error: --method dora: neither a config file nor TOML; a method is as 'kind = "dora", rank = 4'"#);
    assert_snapshot!(bench("none.toml"), @"2: error: none.toml: no such file: give a config file, or a run's folder");
    assert_snapshot!(wrong(&place, &format!("inspect {BASE} --neighbours")), @"2: error: --neighbours is of a prompt's adapter or run, and data/quickstart/base is none");
    assert_snapshot!(wrong(&place, "inspect DIR/trial.toml --method full"), @"2: error: --method is of a model's folder; DIR/trial.toml says what its method is");
}
