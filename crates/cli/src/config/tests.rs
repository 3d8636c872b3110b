//! What a config file comes to.

use std::path::Path;

use tallow_peft::Method;

use super::check::check;
use super::{Config, Reads, load_reading};

pub const GOOD: &str = r#"
name = "trial"

[model]
path = "model"

[training]
steps = 3

[[task]]
name = "summary"
train = "rows.jsonl"
template = "dialogue-summary"
"#;

pub fn try_load(text: &str, overrides: &[&str]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    load_reading(&path, &overrides, Reads::Nothing)
        .map_err(|error| format!("{error:#}").replace(&path.display().to_string(), "c.toml"))
}

#[test]
fn a_config_is_read_with_defaults() {
    let config = try_load(GOOD, &[]).unwrap();
    assert_eq!(config.folder(), Path::new("runs/trial"));
    assert_eq!(config.method, tallow_peft::Method::default());
    assert_eq!(config.task().max_source_tokens, 512);
}

#[test]
fn a_resolved_config_reads_back_as_itself() {
    let config = try_load(GOOD, &["method.kind=full", "evaluation.generation.sampling.top_k=5"]).unwrap();
    let text = toml::to_string(&config).unwrap();
    assert_eq!(try_load(&text, &[]).unwrap(), config);
}

#[test]
fn all_problems_come_together_with_their_lines() {
    let text = GOOD
        .replace("steps = 3", "stepps = 3\nlearning_rate = \"high\"\nbeta1 = 2.0")
        .replace("train = \"rows.jsonl\"", "train = \"rows.jsonl\"\nmax_sauce_tokens = 3\ntemplat = \"x\"");
    assert_eq!(
        try_load(&text, &["method.kind=lora", "method.rnak=3", "nonsense"]).unwrap_err(),
        "c.toml: 8 problems\n  \
         `nonsense`: an override has the form key=value\n  \
         `method.rnak=3`: is not a known key of kind = \"lora\"; did you mean `rank`?\n  \
         c.toml:7: training.steps: neither steps nor epochs is given\n  \
         c.toml:8: training.stepps: is not a known key; did you mean `steps`?\n  \
         c.toml:9: training.learning_rate: invalid type: string \"high\", expected a number\n  \
         c.toml:10: training.beta1: must lie in [0, 1)\n  \
         c.toml:15: task.0.max_sauce_tokens: is not a known key; did you mean `max_source_tokens`?\n  \
         c.toml:16: task.0.templat: is not a known key; did you mean `template`?"
    );
}

#[test]
fn a_wrong_type_names_its_key_even_where_serde_names_the_section() {
    let error = |overrides: &[&str]| try_load(GOOD, overrides).unwrap_err();
    assert_eq!(
        error(&["method.kind=lora", "method.rank=abc", "method.alpha=[]"]),
        "c.toml: 2 problems\n  \
         `method.alpha=[]`: invalid type: sequence, expected a number\n  \
         `method.rank=abc`: invalid type: string \"abc\", expected a whole number from 0"
    );
    assert_eq!(
        error(&["training.steps=five"]),
        "c.toml: 1 problem\n  \
         `training.steps=five`: invalid type: string \"five\", expected a whole number from 0"
    );
    assert_eq!(
        error(&["model=x"]),
        "c.toml: 1 problem\n  `model=x`: invalid type: string \"x\", expected a section"
    );
    // LoRA is what a method is unless another is named.
    let Method::Lora(options) = try_load(GOOD, &["method.rank=4"]).unwrap().method else {
        panic!("not LoRA")
    };
    assert_eq!(options.rank, 4);
}

#[test]
fn every_config_that_comes_along_is_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let paths = |folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let folders = [folder.join("tasks"), folder.join("methods"), folder];
    let paths = folders.into_iter().flat_map(paths);
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let config = load_reading(&path, &[], Reads::Nothing).unwrap_or_else(|error| panic!("{error:#}"));
        println!("{}: the run {}", path.file_name().unwrap().display(), config.name);
        // A config that comes along sets nothing that a resolved one cannot say.
        let resolved = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&resolved).unwrap(), config);
    }
}

/// A comment that shows how a config is used with other sizes is right, too.
#[test]
fn every_command_in_a_configs_comments_is_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut commands = 0;
    for path in paths.filter(|path| path.is_file()) {
        let (text, name) = (std::fs::read_to_string(&path).unwrap(), path.file_name().unwrap().display());
        for command in text.lines().filter_map(|line| line.strip_prefix("#   tallow train ")) {
            let mut words = command.split(' ');
            assert_eq!(words.next().unwrap(), format!("configs/{name}"));
            let overrides: Vec<String> = words.map(str::to_owned).collect();
            let config =
                load_reading(&path, &overrides, Reads::Nothing).unwrap_or_else(|error| panic!("{error:#}"));
            let (size, steps) = (config.training.batch_size.unwrap(), config.training.accumulation);
            assert_eq!(size * steps, 32, "{command}");
            commands += 1;
        }
    }
    assert_eq!(commands, 12);
}

#[test]
fn a_name_on_the_hub_is_checked_with_everything_else() {
    assert_eq!(
        try_load(GOOD, &["model.path=hf://tiny/", "task.0.train=hf://datasets/a/b/../c"]).unwrap_err(),
        "c.toml: 2 problems\n  \
         `model.path=hf://tiny/`: hf://tiny/: give owner and name, as in hf://google/flan-t5-small\n  \
         `task.0.train=hf://datasets/a/b/../c`: hf://datasets/a/b/../c: what follows the repository is no file in it"
    );
    assert!(try_load(GOOD, &["model.path=hf://google/flan-t5-small@v1"]).is_ok());
}

/// The reference lists each key once, set or behind a `#`, and what it sets is the default.
#[test]
fn the_reference_has_every_key_and_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
    let page = std::fs::read_to_string(path).unwrap();
    let text = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let config = try_load(text, &[]).unwrap();
    let needed = r#"
        name = "my-run"
        model = { path = "models/flan-t5-small" }
        training = { steps = 1000 }
        [[task]]
        name = "dialogue-summary"
        train = "data/dialogsum/dialogsum.train.jsonl"
        template = "dialogue-summary"
    "#;
    assert_eq!(config, try_load(needed, &[]).unwrap());

    // Every line behind a `#` that reads like a key is one, at its place.
    let all = text.replace("\n# ", "\n");
    let all: toml::Table = all.parse().unwrap();
    let (config, problems) = check(toml::Value::Table(all.clone()));
    let rivals = ["epochs", "batch_tokens", "validation_fraction"].map(|key| format!(".{key}"));
    assert!(problems.iter().all(|(key, _)| rivals.iter().any(|rival| key.ends_with(rival))), "{problems:?}");
    assert_eq!(toml::Table::try_from(config.unwrap()).unwrap(), all, "a key is not there");
}

#[test]
fn what_is_missing_is_named() {
    let error = try_load("name = \"x\"\nthreads = -1\n", &[]).unwrap_err();
    assert_eq!(
        error,
        "c.toml: 4 problems\n  \
         c.toml: model: is missing\n  \
         c.toml: task: is missing\n  \
         c.toml: training.steps: neither steps nor epochs is given\n  \
         c.toml:2: threads: invalid value: integer `-1`, expected a whole number from 0"
    );
    let error = try_load(&GOOD.replace("train = ", "test = "), &[]).unwrap_err();
    assert_eq!(error, "c.toml: 1 problem\n  c.toml:10: task.0.train: is missing");
}

#[test]
fn a_syntax_error_names_its_line() {
    let error = try_load("name = \"x\"\n[model\n", &[]).unwrap_err();
    assert!(error.starts_with("c.toml: 1 problem\n  c.toml:2: "), "{error}");
}
