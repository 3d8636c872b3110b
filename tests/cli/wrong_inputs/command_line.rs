use insta::assert_snapshot;

use super::wrong;
use crate::harness::Place;

#[test]
fn words_that_are_not_known() {
    let place = Place::new();
    assert_snapshot!(wrong(&place, "trian DIR/trial.toml"), @"
    2: error: unrecognized subcommand 'trian'

      tip: a similar subcommand exists: 'train'

    Usage: tallow [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "train DIR/trial.toml --resum"), @"
    2: error: unexpected argument '--resum' found

      tip: a similar argument exists: '--resume'

    Usage: tallow train --resume <CONFIG> [KEY=VALUE]...

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "data previev DIR/trial.toml"), @"
    2: error: unrecognized subcommand 'previev'

      tip: a similar subcommand exists: 'preview'

    Usage: tallow data [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "completions tcsh"), @"
    2: error: invalid value 'tcsh' for '<SHELL>'
      [possible values: bash, elvish, fish, powershell, zsh]

      tip: a similar value exists: 'zsh'

    For more information, try '--help'.
    ");
}

#[test]
fn arguments_that_are_missing() {
    let place = Place::new();
    assert_snapshot!(wrong(&place, "train"), @"
    2: error: the following required arguments were not provided:
      <CONFIG>

    Usage: tallow train <CONFIG> [KEY=VALUE]...

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "bench DIR/model"), @"
    2: error: the following required arguments were not provided:
      <BATCHES>

    Usage: tallow bench <MODEL> <BATCHES>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "generate --prompt Hi"), @"
    2: error: the following required arguments were not provided:
      <--model <DIR>|--run <DIR>|--adapter <[NAME=]DIR>>

    Usage: tallow generate --prompt <TEXT> <--model <DIR>|--run <DIR>|--adapter <[NAME=]DIR>>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "export DIR/out"), @"
    2: error: the following required arguments were not provided:
      <--model <DIR>|--run <DIR>|--adapter <DIR>>

    Usage: tallow export <--model <DIR>|--run <DIR>|--adapter <DIR>> <OUT>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "export --model DIR/a DIR/out"), @"
    2: error: the following required arguments were not provided:
      --adapter <DIR>

    Usage: tallow export <--model <DIR>|--run <DIR>|--adapter <DIR>> <OUT>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "generate --model DIR/a --template alpaca"), @"
    2: error: the following required arguments were not provided:
      --file <FILE>

    Usage: tallow generate --file <FILE> --template <NAME> <--model <DIR>|--run <DIR>|--adapter <[NAME=]DIR>>

    For more information, try '--help'.
    ");
}

#[test]
fn arguments_that_exclude_each_other() {
    let place = Place::new();
    assert_snapshot!(wrong(&place, "evaluate DIR/trial.toml --base --adapter DIR/a"), @"
    2: error: the argument '--base' cannot be used with '--adapter <DIR>'

    Usage: tallow evaluate --base <CONFIG> [KEY=VALUE]...

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "generate --run DIR/a --model DIR/b --prompt Hi"), @"
    2: error: the argument '--run <DIR>' cannot be used with '--model <DIR>'

    Usage: tallow generate --prompt <TEXT> <--model <DIR>|--run <DIR>|--adapter <[NAME=]DIR>>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "generate --model DIR/a --prompt Hi --file DIR/rows.jsonl"), @"
    2: error: the argument '--prompt <TEXT>' cannot be used with '--file <FILE>'

    Usage: tallow generate --prompt <TEXT> <--model <DIR>|--run <DIR>|--adapter <[NAME=]DIR>>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "generate --model DIR/a --prompt Hi --template alpaca"), @"
    2: error: the argument '--prompt <TEXT>' cannot be used with '--template <NAME>'

    Usage: tallow generate --prompt <TEXT> <--model <DIR>|--run <DIR>|--adapter <[NAME=]DIR>>

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "train DIR/trial.toml --quiet --verbose"), @"
    2: error: the argument '--quiet' cannot be used with '--verbose'

    Usage: tallow train --quiet <CONFIG> [KEY=VALUE]...

    For more information, try '--help'.
    ");
}

#[test]
fn values_that_cannot_be() {
    let place = Place::new();
    let generate = |more: &str| wrong(&place, &format!("generate --model DIR/a --prompt Hi {more}"));
    assert_snapshot!(generate("--num-beams four"), @"
    2: error: invalid value 'four' for '--num-beams <N>': expected a whole number from 1

    For more information, try '--help'.
    ");
    assert_snapshot!(generate("--batch-size 0"), @"
    2: error: invalid value '0' for '--batch-size <N>': expected a whole number from 1

    For more information, try '--help'.
    ");
    assert_snapshot!(generate("--temperature warm"), @"
    2: error: invalid value 'warm' for '--temperature <X>': expected a number

    For more information, try '--help'.
    ");
    assert_snapshot!(generate("--seed=-1"), @"
    2: error: invalid value '-1' for '--seed <N>': expected a whole number from 0

    For more information, try '--help'.
    ");
    assert_snapshot!(generate("--early-stopping maybe"), @r#"
    2: error: invalid value 'maybe' for '--early-stopping <WHEN>': `maybe` is not true, false or "never"

    For more information, try '--help'.
    "#);
    assert_snapshot!(generate("--device gpu"), @r#"
    2: error: invalid value 'gpu' for '--device <DEVICE>': `gpu` is no device: give "auto", "cpu", "cuda:0" or "metal"

    For more information, try '--help'.
    "#);
    assert_snapshot!(generate("--dtype f16"), @r#"
    2: error: invalid value 'f16' for '--dtype <TYPE>': T5's activations overflow in f16, and the loss is NaN from then on: give "bf16" or "f32"

    For more information, try '--help'.
    "#);
    assert_snapshot!(wrong(&place, "bench DIR/a DIR/b --threads 100000"), @"
    2: error: invalid value '100000' for '--threads <N>': expected a whole number from 0 to 1024

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "bench DIR/a DIR/b --steps 0"), @"
    2: error: invalid value '0' for '--steps <N>': expected a whole number from 1

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "bench DIR/a DIR/b --rank 0"), @"
    2: error: invalid value '0' for '--rank <N>': expected a whole number from 1

    For more information, try '--help'.
    ");
    assert_snapshot!(wrong(&place, "data preview DIR/trial.toml --part trian"), @"
    2: error: invalid value 'trian' for '--part <PART>'
      [possible values: training, validation, test]

      tip: a similar value exists: 'training'

    For more information, try '--help'.
    ");
}

#[test]
fn paths_that_lead_nowhere() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    assert_snapshot!(wrong(&place, "train DIR/tryal.toml"), @"2: error: DIR/tryal.toml: no such file: give a config file, or a run's folder");
    assert_snapshot!(wrong(&place, "train DIR/empty"), @"2: error: DIR/empty: a folder without config.toml: give a config file, or a run's folder");
    assert_snapshot!(wrong(&place, "inspect DIR/none"), @"2: error: DIR/none: no such file or folder");
    assert_snapshot!(wrong(&place, "inspect DIR/empty"), @"2: error: DIR/empty: neither a model (config.json), an adapter (adapter_config.json) nor a run (config.toml)");
    assert_snapshot!(wrong(&place, "inspect DIR/trial.toml --model DIR/none"), @"2: error: --model DIR/none: no such folder; a model is one with config.json, model.safetensors and tokenizer.json");
    assert_snapshot!(wrong(&place, "bench DIR/none DIR/batches.jsonl"), @"2: error: DIR/none: no such folder; a model is one with config.json, model.safetensors and tokenizer.json");
    assert_snapshot!(wrong(&place, "bench data/quickstart/base DIR/batches.jsonl"), @"2: error: DIR/batches.jsonl: no such file");
    assert_snapshot!(wrong(&place, "evaluate DIR/trial.toml --adapter DIR/none"), @"2: error: --adapter DIR/none: no such folder; an adapter is one with adapter_config.json and adapter_model.safetensors");
    assert_snapshot!(wrong(&place, "export --run DIR/none DIR/out"), @"2: error: DIR/none holds no run: there is no DIR/none/config.toml");
}
