use insta::assert_snapshot;

use super::{wrong, wrong_with};
use crate::harness::Place;

#[test]
fn several_problems_come_together() {
    let place = Place::new();
    place.edit("trial.toml", "steps = 6", "stepps = 6\nlearning_rat = 1e-3");
    place.edit("trial.toml", "before_rows = 2", "before_rows = \"two\"");
    place.edit("trial.toml", "\"dialogue-summary\"\n", "\"dialog-summary\"\n");
    place.edit("trial.toml", "DIR/rows.jsonl", "DIR/none.jsonl");
    assert_snapshot!(wrong(&place, "train DIR/trial.toml method.rank=many threads=5000"), @r#"
    2: error: DIR/trial.toml: 8 problems
      `method.rank=many`: invalid type: string "many", expected a whole number from 0
      `threads=5000`: must be at most 1024; 0 takes one for each core
      DIR/trial.toml:16: training.steps: neither steps nor epochs is given
      DIR/trial.toml:17: training.stepps: is not a known key; did you mean `steps`?
      DIR/trial.toml:18: training.learning_rat: is not a known key; did you mean `learning_rate`?
      DIR/trial.toml:22: evaluation.before_rows: invalid type: string "two", expected a whole number from 0
      DIR/trial.toml:30: task.0.train: DIR/none.jsonl: no such file
      DIR/trial.toml:34: task.0.template: no template set `dialog-summary`; did you mean `dialogue-summary`? Known sets: alpaca, dialogue-summary, dialogue-summary-flan, entities, entities-of-type, qa-choices, qa-choices-lettered, qa-closed-book, qa-context, review-rating, review-sentence, sentiment, translation; a file of templates ends in .toml or .yaml
    "#);
}

#[test]
fn text_that_is_no_toml() {
    let place = Place::new();
    place.edit("trial.toml", "[method]", "[method");
    assert_snapshot!(wrong(&place, "train DIR/trial.toml"), @"
    2: error: DIR/trial.toml: 1 problem
      DIR/trial.toml:9: unclosed table, expected `]`
    ");
    place.write("twice.toml", "name = \"a\"\nname = \"b\"\n");
    assert_snapshot!(wrong(&place, "train DIR/twice.toml"), @"
    2: error: DIR/twice.toml: 1 problem
      DIR/twice.toml:2: duplicate key
    ");
    std::fs::write(place.path("bytes.toml"), b"name = \"\xff\"\n").unwrap();
    assert_snapshot!(wrong(&place, "train DIR/bytes.toml"), @"2: error: DIR/bytes.toml:1: not UTF-8 text");
    place.write("empty.toml", "");
    assert_snapshot!(wrong(&place, "train DIR/empty.toml"), @"
    2: error: DIR/empty.toml: 4 problems
      DIR/empty.toml: name: is missing
      DIR/empty.toml: model: is missing
      DIR/empty.toml: task: is missing
      DIR/empty.toml: training.steps: neither steps nor epochs is given
    ");
}

#[test]
fn overrides_that_cannot_be() {
    let place = Place::new();
    let overrides = "seed =1 seed.x=1 task.name=x task.4.name=x training.step=3 trainig.steps=5 \
                     task.0.validation_fraction=2";
    assert_snapshot!(wrong(&place, &format!("train DIR/trial.toml {overrides}")), @"
    2: error: DIR/trial.toml: 8 problems
      `seed`: an override has the form key=value
      `=1`: has an empty part in its key
      `seed.x=1`: seed is not a section
      `task.name=x`: task is a list: name an item, task.0
      `task.4.name=x`: task has no item 4
      `trainig.steps=5`: trainig: is not a known key; did you mean `training`?
      `training.step=3`: is not a known key; did you mean `steps`?
      `task.0.validation_fraction=2`: must lie between 0 and 1
    ");
}

#[test]
fn values_of_the_wrong_type() {
    let place = Place::new();
    let train = |overrides: &str| wrong(&place, &format!("train DIR/trial.toml {overrides}"));
    assert_snapshot!(train("device=0 method=lora training.learning_rate=high task.0.references=all"), @r#"
    2: error: DIR/trial.toml: 4 problems
      `device=0`: `0` is no device: give "auto", "cpu", "cuda:0" or "metal"
      `method=lora`: invalid type: string "lora", expected a section with a kind, as {kind="lora"}
      `task.0.references=all`: invalid type: string "all", expected a list
      `training.learning_rate=high`: invalid type: string "high", expected a number
    "#);
    assert_snapshot!(train("device=gpu dtype=f16 kernels=fast"), @r#"
    2: error: DIR/trial.toml: 3 problems
      `device=gpu`: `gpu` is no device: give "auto", "cpu", "cuda:0" or "metal"
      `dtype=f16`: T5's activations overflow in f16, and the loss is NaN from then on: give "bf16" or "f32"
      `kernels=fast`: `fast` are no kernels: give "verified", "all" or "composed"
    "#);
    assert_snapshot!(train("training.schedule=linaer evaluation.scores.rouge=[\"rouge\"]"), @r#"
    2: error: DIR/trial.toml: 2 problems
      `evaluation.scores.rouge=["rouge"]`: evaluation.scores.rouge.0: unknown ROUGE type `rouge`; known are rouge1, rouge2 and so on (any whole number from 1), rougeL, rougeLsum
      `training.schedule=linaer`: `linaer` is not known; did you mean `linear`? Known are constant, linear, cosine, inverse_sqrt
    "#);
}

#[test]
fn values_out_of_bounds() {
    let place = Place::new();
    let train = |overrides: &str| wrong(&place, &format!("train DIR/trial.toml {overrides}"));
    assert_snapshot!(
        train("training.batch_size=0 training.accumulation=0 training.learning_rate=-1 training.beta2=1 method.rank=0 method.dropout=1"),
        @"
    2: error: DIR/trial.toml: 6 problems
      `method.rank=0`: must be at least 1
      `method.dropout=1`: must lie in [0, 1)
      `training.batch_size=0`: must be at least 1
      `training.accumulation=0`: must be at least 1
      `training.learning_rate=-1`: must be a positive number
      `training.beta2=1`: must lie in [0, 1)
    "
    );
    assert_snapshot!(
        train("name=a/b evaluation.batch_size=0 evaluation.scores.rouge=[] task.0.max_source_tokens=1 method.target_modules=[]"),
        @r#"
    2: error: DIR/trial.toml: 5 problems
      `name=a/b`: must be the name of a folder, without slashes
      `task.0.max_source_tokens=1`: must be at least 2
      `evaluation.batch_size=0`: must be at least 1
      `evaluation.scores.rouge=[]`: is empty: name at least one figure, such as "rouge1"
      `method.target_modules=[]`: is empty: name at least one layer
    "#
    );
    assert_snapshot!(train("evaluation.generation.num_beams=0 evaluation.generation.sampling.top_p=2"), @"
    2: error: DIR/trial.toml: 2 problems
      `evaluation.generation.num_beams=0`: must lie between 1 and 256
      `evaluation.generation.sampling.top_p=2`: must lie in (0, 1]
    ");
}

#[test]
fn keys_that_need_or_exclude_others() {
    let place = Place::new();
    place.edit("trial.toml", "steps = 6", "steps = 6\nepochs = 2\nbatch_tokens = 100");
    assert_snapshot!(wrong(&place, "train DIR/trial.toml"), @"
    2: error: DIR/trial.toml: 2 problems
      DIR/trial.toml:18: training.epochs: steps is given too: keep one of them
      DIR/trial.toml:19: training.batch_tokens: batch_size is given too: keep one of them
    ");
    let place = Place::new();
    place.edit("trial.toml", "validation = \"DIR/validation.jsonl\"\n", "");
    place.edit("trial.toml", "test = \"data/quickstart/test.jsonl\"\n", "");
    assert_snapshot!(wrong(&place, "train DIR/trial.toml training.evaluate_every=2"), @"
    2: error: DIR/trial.toml: 2 problems
      `training.evaluate_every=2`: asks for a validation loss, but the task has neither validation nor validation_fraction
      DIR/trial.toml:30: task.0.references: are columns of the test rows, but test is not given
    ");
    let second =
        place.read("trial.toml") + "\n[[task]]\nname = \"other\"\ntrain = \"x\"\ntemplate = \"alpaca\"\n";
    std::fs::write(place.path("two.toml"), second).unwrap();
    assert_snapshot!(wrong(&place, "train DIR/two.toml"), @"
    2: error: DIR/two.toml: 1 problem
      DIR/two.toml:33: task.1: one task can be trained; remove `other`
    ");
}

#[test]
fn files_that_are_not_there() {
    let place = Place::new();
    place.edit("trial.toml", "data/quickstart/base", "DIR/nowhere");
    place.edit("trial.toml", "DIR/rows.jsonl", "data/none.jsonl");
    assert_snapshot!(
        wrong(&place, "train DIR/trial.toml task.0.validation=DIR/rows.xlsx task.0.test=DIR/part-*.csv"),
        @"
    2: error: DIR/trial.toml: 4 problems
      `task.0.validation=DIR/rows.xlsx`: DIR/rows.xlsx: the kind of file is told by its extension: .jsonl, .ndjson, .json, .csv, .tsv or .parquet, all but the last also with .gz or .zst behind it
      `task.0.test=DIR/part-*.csv`: DIR/part-*.csv: no file has such a name
      DIR/trial.toml:7: model.path: DIR/nowhere: no such folder; a model is one with config.json, model.safetensors and tokenizer.json
      DIR/trial.toml:29: task.0.train: data/none.jsonl: no such file
    "
    );
    assert_snapshot!(wrong(&place, "evaluate DIR/trial.toml model.tokenizer=DIR/none.json"), @"
    2: error: DIR/trial.toml: 2 problems
      `model.tokenizer=DIR/none.json`: DIR/none.json: no such file
      DIR/trial.toml:7: model.path: DIR/nowhere: no such folder; a model is one with config.json, model.safetensors and tokenizer.json
    ");
    let place = Place::new();
    std::fs::create_dir(place.path("rows")).unwrap();
    assert_snapshot!(wrong(&place, "data stats DIR/trial.toml task.0.train=DIR/rows"), @"
    2: error: DIR/trial.toml: 1 problem
      `task.0.train=DIR/rows`: DIR/rows: a folder: name a file in it, or all by a pattern, DIR/rows/*.jsonl
    ");
}

#[test]
fn templates_that_cannot_be() {
    let place = Place::new();
    let train = |template: &str| {
        wrong_with(&place, "train DIR/trial.toml", &[&format!("task.0.template={template}")])
    };
    assert_snapshot!(train("alpacca"), @"
    2: error: DIR/trial.toml: 1 problem
      `task.0.template=alpacca`: no template set `alpacca`; did you mean `alpaca`? Known sets: alpaca, dialogue-summary, dialogue-summary-flan, entities, entities-of-type, qa-choices, qa-choices-lettered, qa-closed-book, qa-context, review-rating, review-sentence, sentiment, translation; a file of templates ends in .toml or .yaml
    ");
    assert_snapshot!(train("{prompt = \"{{ dialogue\", target = \"{{ summary }}\"}"), @r#"
    2: error: DIR/trial.toml: 1 problem
      `task.0.template={prompt = "{{ dialogue", target = "{{ summary }}"}`: template `inline`: syntax error: unexpected end of input, expected end of variable block (in prompt:1)
    "#);
    assert_snapshot!(train("{prompt = \"{% if dialogue %}\", target = \"{{ summary }}\"}"), @r#"
    2: error: DIR/trial.toml: 1 problem
      `task.0.template={prompt = "{% if dialogue %}", target = "{{ summary }}"}`: template `inline`: syntax error: unexpected end of input, expected end of block (in prompt:1)
    "#);
    assert_snapshot!(train("{prompt = \"{{ dialogue | shorten }}\", target = \"{{ summary }}\"}"), @"1: error: DIR/rows.jsonl:1: template `inline`: unknown filter: filter shorten is unknown (in prompt:1)");
    assert_snapshot!(train("{prompt = \"{{ dialogue }}\"}"), @r#"
    2: error: DIR/trial.toml: 1 problem
      `task.0.template={prompt = "{{ dialogue }}"}`: expected a template set's name or file, or a table with `prompt` and `target`, or with `set` and `names`
    "#);
    assert_snapshot!(train("7"), @"
    2: error: DIR/trial.toml: 1 problem
      `task.0.template=7`: no template set `7`; did you mean `alpaca`? Known sets: alpaca, dialogue-summary, dialogue-summary-flan, entities, entities-of-type, qa-choices, qa-choices-lettered, qa-closed-book, qa-context, review-rating, review-sentence, sentiment, translation; a file of templates ends in .toml or .yaml
    ");
}
