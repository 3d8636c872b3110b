//! What is said when something is wrong, word for word.

use std::collections::HashMap;

use candle_core::{Device, Tensor};

use crate::harness::{BASE, Place, TINY, TINY_LORA};

#[test]
fn a_config_with_several_problems_lists_them_all() {
    let place = Place::new();
    place.edit("trial.toml", "steps = 6", "stepps = 6\nlearning_rat = 1e-3");
    place.edit("trial.toml", "before_rows = 2", "before_rows = \"two\"");
    place.edit("trial.toml", "\"dialogue-summary\"\n", "\"dialog-summary\"\n");
    place.bad(
        "train DIR/trial.toml method.rank=many threads=5000",
        2,
        "DIR/trial.toml: 7 problems
  `method.rank=many`: invalid type: string \"many\", expected a whole number from 0
  `threads=5000`: must be at most 1024; 0 takes one for each core
  DIR/trial.toml:16: training.steps: neither steps nor epochs is given
  DIR/trial.toml:17: training.stepps: is not a known key; did you mean `steps`?
  DIR/trial.toml:18: training.learning_rat: is not a known key; did you mean `learning_rate`?
  DIR/trial.toml:22: evaluation.before_rows: invalid type: string \"two\", expected a whole number from 0
  DIR/trial.toml:34: task.0.template: no template set `dialog-summary`; did you mean `dialogue-summary`? \
         Known sets: alpaca, dialogue-summary, dialogue-summary-flan",
    );
    assert!(!place.path("runs").exists());
}

#[test]
fn a_config_that_is_no_toml_names_the_line() {
    let place = Place::new();
    place.edit("trial.toml", "[method]", "[method");
    let outcome = place.run("train DIR/trial.toml");
    let start = "error: DIR/trial.toml: 1 problem\n  DIR/trial.toml:9: ";
    assert!(outcome.error().starts_with(start), "{}", outcome.error());
    assert_eq!(outcome.code, 2);
    place.bad(
        "train DIR/tryal.toml",
        1,
        "DIR/tryal.toml: cannot read the config: No such file or directory (os error 2)",
    );
}

#[test]
fn an_override_that_cannot_be_is_refused() {
    let place = Place::new();
    place.bad(
        "train DIR/trial.toml seed =1 seed.x=1 task.name=x task.4.name=x training.step=3 task.0.validation_fraction=2",
        2,
        "DIR/trial.toml: 7 problems
  `seed`: an override has the form key=value
  `=1`: has an empty part in its key
  `seed.x=1`: seed is not a section
  `task.name=x`: task is a list: name an item, task.0
  `task.4.name=x`: task has no item 4
  `training.step=3`: is not a known key; did you mean `steps`?
  `task.0.validation_fraction=2`: must lie between 0 and 1",
    );
}

#[test]
fn rows_that_do_not_fit_are_named() {
    let place = Place::new();
    place.write(
        "columns.jsonl",
        "{\"dialog\": \"A: Hi.\", \"summary\": \"Hi.\"}\n{\"dialog\": \"B\", \"summary\": \"b\"}\n",
    );
    place
        .write("broken.jsonl", "{\"dialogue\": \"A: Hi.\", \"summary\": \"Hi.\"}\n\n{\"dialogue\": \"A\",\n");
    place.write("list.jsonl", "[1, 2]\n");
    place.write("empty.jsonl", "\n");
    let bad = |file: &str, error: &str| {
        place.bad(&format!("train DIR/trial.toml task.0.train=DIR/{file}"), 1, error)
    };
    bad(
        "columns.jsonl",
        "rows lack columns:
  template `dialogue-summary` (prompt): column `dialogue` is missing in 2 of 2 rows, first at DIR/columns.jsonl:1; \
         the nearest column is `dialog`
  the rows have: dialog, summary",
    );
    place.bad(
        "train DIR/trial.toml task.0.train=DIR/columns.jsonl task.0.references=[\"gist\"]",
        1,
        "rows lack columns:
  template `dialogue-summary` (prompt): column `dialogue` is missing in 2 of 2 rows, first at DIR/columns.jsonl:1; \
         the nearest column is `dialog`
  the rows have: dialog, summary
rows lack columns:
  references: column `gist` is missing in 100 of 100 rows, first at data/quickstart/test.jsonl:1; the nearest \
         column is `id`
  the rows have: id, dialogue, summary1, summary2, summary3",
    );
    bad("broken.jsonl", "DIR/broken.jsonl:3: malformed row: EOF while parsing a value at column 17");
    bad("list.jsonl", "DIR/list.jsonl:1: a row must be an object with named columns, this one is a list");
    bad("empty.jsonl", "DIR/empty.jsonl holds no rows");
    bad("none.jsonl", "DIR/none.jsonl: no such file");
    bad(
        "rows.xlsx",
        "DIR/rows.xlsx: the kind of file is told by its extension: .jsonl, .ndjson, .json, .csv, .tsv or .parquet, all \
         but the last also with .gz or .zst behind it",
    );
    assert!(!place.path("runs").exists());
}

#[test]
fn targets_that_match_nothing_are_refused_with_what_there_is() {
    let place = Place::new();
    place.bad(
        "train DIR/trial.toml method.target_modules=[\"query\"]",
        1,
        "target_modules [\"query\"] match no linear layer of the model; its layers end in k, o, q, v, wi_0, wi_1, wo",
    );
    assert!(!place.path("runs").exists());
}

#[test]
fn a_tokenizer_that_is_not_the_models_is_refused() {
    let place = Place::new();
    let tokenizer = format!("{BASE}/tokenizer.json");
    let outcome = place.run(&format!("generate --model {TINY} --tokenizer {tokenizer} --prompt Hi"));
    let end =
        format!("tokens, but the model in {TINY} has a vocabulary of 384: use the model's own tokenizer");
    assert!(outcome.error().starts_with(&format!("error: {tokenizer}: ")), "{}", outcome.error());
    assert!(outcome.error().ends_with(&end), "{}", outcome.error());
    assert_eq!(outcome.code, 1);
    place.bad(
        &format!("generate --model {TINY} --prompt Hi"),
        1,
        &format!(
            "{TINY}/tokenizer.json: no such file; name another by model.tokenizer in a config, or by --tokenizer \
             to generate"
        ),
    );
    place.bad(
        "train DIR/trial.toml model.path=DIR/nowhere",
        1,
        "DIR/nowhere: no such folder; a model is one with config.json, model.safetensors and tokenizer.json",
    );
}

#[test]
fn a_model_file_that_is_cut_short_is_refused() {
    let place = Place::new();
    place.copy(BASE, "model");
    let file = place.path("model/model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 4, 3000, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        place.bad(
            "train DIR/trial.toml model.path=DIR/model",
            1,
            "cannot load the model in DIR/model: DIR/model/model.safetensors: the file is cut short or not \
             safetensors: fetch or write it again",
        );
    }
    std::fs::remove_file(&file).unwrap();
    place.bad(
        "train DIR/trial.toml model.path=DIR/model",
        1,
        "cannot load the model in DIR/model: DIR/model/model.safetensors: No such file or directory (os error 2)",
    );
    assert!(!place.path("runs").exists());
}

#[test]
fn every_weight_that_does_not_fit_the_config_is_listed() {
    let place = Place::new();
    place.copy(TINY, "model");
    change(&place, "model/model.safetensors", |tensors| {
        tensors.remove("encoder.final_layer_norm.weight").unwrap();
        tensors.remove("decoder.block.1.layer.0.SelfAttention.k.weight").unwrap();
        let name = "encoder.block.0.layer.0.SelfAttention.q.weight";
        let wide = tensors[name].narrow(0, 0, 16).unwrap().contiguous().unwrap();
        tensors.insert(name.into(), wide);
    });
    place.write("batches.jsonl", "{\"source\": [[5, 1]], \"target\": [[6, 1]]}\n");
    place.bad(
        "bench DIR/model DIR/batches.jsonl",
        1,
        "cannot load the model in DIR/model: DIR/model does not fit its config.json:
  - encoder.block.0.layer.0.SelfAttention.q.weight: shape [16, 32], expected [32, 32]
  - encoder.final_layer_norm.weight: missing, expected [32]
  - decoder.block.1.layer.0.SelfAttention.k.weight: missing, expected [32, 32]",
    );
    place.edit("model/config.json", "\"t5\"", "\"bart\"");
    place.bad(
        "bench DIR/model DIR/batches.jsonl",
        1,
        "cannot load the model in DIR/model: DIR/model/config.json: model_type is `bart`; T5 and FLAN-T5 (`t5`) \
         can be trained",
    );
}

#[test]
fn every_tensor_of_an_adapter_that_does_not_fit_is_listed() {
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
    place.write("batches.jsonl", "{\"source\": [[5, 1]], \"target\": [[6, 1]]}\n");
    let bench = format!("bench {TINY} DIR/batches.jsonl --adapter DIR/adapter");
    place.bad(
        &bench,
        1,
        "cannot load the adapter in DIR/adapter: DIR/adapter/adapter_model.safetensors is not an adapter of this model:
  - missing: base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight [4, 32]
  - misshapen: base_model.model.decoder.block.1.layer.1.EncDecAttention.v.lora_B.weight is [4, 32], expected [32, 4]
  - stray: base_model.model.encoder.block.9.layer.0.SelfAttention.q.lora_A.weight [4, 32]",
    );
    place.edit("adapter/adapter_config.json", "\"use_dora\": false", "\"use_dora\": true");
    let config = "cannot load the adapter in DIR/adapter: DIR/adapter/adapter_config.json";
    place.bad(&bench, 1, &format!("{config}: uses use_dora, which cannot be read"));
    place.edit("adapter/adapter_config.json", "\"LORA\"", "\"IA3\"");
    place.bad(&bench, 1, &format!("{config}: peft_type is IA3; adapters of type LORA can be read"));
    std::fs::remove_file(place.path("adapter/adapter_config.json")).unwrap();
    place.bad(&bench, 1, &format!("{config}: No such file or directory (os error 2)"));
}

#[test]
fn a_command_line_that_cannot_be_says_what_is_missing() {
    let place = Place::new();
    let says = |line: &str, text: &str| {
        let outcome = place.run(line);
        assert_eq!(outcome.code, 2, "{line}");
        assert!(outcome.stderr.contains(text), "{line}: {}", outcome.stderr);
    };
    says("", "Usage: tallow <COMMAND>");
    says("trian", "unrecognized subcommand 'trian'");
    says("train", "<CONFIG>");
    says("generate --prompt Hi", "<--model <DIR>|--run <DIR>|--adapter <DIR>>");
    says("export DIR/out", "<--model <DIR>|--run <DIR>|--adapter <DIR>>");
    says("export --model DIR/a DIR/out", "--adapter <DIR>");
    says("evaluate DIR/trial.toml --base --adapter DIR/a", "cannot be used with");
    says("generate --run DIR/a --model DIR/b --prompt Hi", "cannot be used with");
    says("generate --model DIR/a --prompt Hi --batch-size 0", "invalid value '0' for '--batch-size <N>'");
    says("generate --model DIR/a --prompt Hi --template alpaca", "cannot be used with");
    says("generate --model DIR/a --template alpaca", "--file <FILE>");
    says("bench DIR/a DIR/b --steps 0", "invalid value '0' for '--steps <N>'");
    says("bench DIR/a DIR/b --threads 100000", "100000 is not in 0..=1024");
}

/// Changes the tensors of a file.
fn change(place: &Place, name: &str, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let path = place.path(name);
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, &path).unwrap();
}

#[test]
fn a_device_that_cannot_be_had_is_refused() {
    let place = Place::new();
    place.bad(
        "train DIR/trial.toml device=gpu dtype=f16 kernels=fast",
        2,
        "DIR/trial.toml: 3 problems
  `device=gpu`: `gpu` is no device: give \"auto\", \"cpu\", \"cuda:0\" or \"metal\"
  `dtype=f16`: T5's activations overflow in f16, and the loss is NaN from then on: give \"bf16\" or \"f32\"
  `kernels=fast`: `fast` are no kernels: give \"verified\", \"all\" or \"composed\"",
    );
    place.bad(
        "train DIR/trial.toml device=0 method=lora",
        2,
        "DIR/trial.toml: 2 problems
  `device=0`: `0` is no device: give \"auto\", \"cpu\", \"cuda:0\" or \"metal\"
  `method=lora`: invalid type: string \"lora\", expected a section with a kind, as {kind=\"lora\"}",
    );
    let refuses = |line: &str, what: &str| {
        place.bad(line, 2, &format!("the settings: 1 problem\n  the settings: {what}"));
    };
    refuses(
        "train DIR/trial.toml device=cpu dtype=bf16",
        "dtype: bf16 is for GPUs, and a CPU is faster in f32, and exact: give \"f32\" or \"auto\"",
    );
    let without = "device: this binary was built without";
    refuses(
        "train DIR/trial.toml device=metal dtype=f32",
        &format!("{without} Metal: build it with --features metal on a Mac, or give device = \"cpu\""),
    );
    if cfg!(not(feature = "cuda")) {
        let wanted = format!(
            "{without} CUDA: build it with --features cuda, or give device = \"cpu\" and dtype = \"f32\""
        );
        refuses("train DIR/trial.toml device=cuda:3 dtype=bf16", &wanted);
        refuses("bench MODEL ROWS --device cuda:3 --dtype bf16", &wanted);
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn a_run_that_fails_before_its_first_step_leaves_nothing() {
    let place = Place::new();
    let line = "train DIR/trial.toml training={epochs=1,batch_size=4,warmup_steps=100}";
    for _ in 0..2 {
        place.bad(line, 1, "warmup_steps is 100, but the run has 3 steps: leave some after the warm-up");
        assert!(!place.path("runs/trial").exists());
    }
}

#[test]
fn candles_own_operations_train_too() {
    let place = Place::new();
    let said =
        place.run("train DIR/trial.toml device=cpu kernels=composed threads=2 training.batch_tokens=auto");
    assert!(said.code == 0 && said.stderr.contains("batches of at most 4096 tokens"), "{said:?}");
    assert!(said.stderr.contains("candle's operations on 2 threads"), "{said:?}");
    assert!(place.path("runs/trial/adapter/adapter_model.safetensors").is_file());
}
