use insta::assert_snapshot;

use super::wrong;
use crate::harness::Place;

#[test]
fn devices_that_are_not_there() {
    let place = Place::new();
    let train = |more: &str| wrong(&place, &format!("train DIR/trial.toml {more}"));
    assert_snapshot!(train("device=cpu dtype=bf16"), @r#"
    2: error: the settings: 1 problem
      dtype: bf16 is for GPUs, and a CPU is faster in f32, and exact: give "f32" or "auto"
    "#);
    assert_snapshot!(train("device=metal dtype=f32"), @r#"
    2: error: the settings: 1 problem
      device: this binary was built without Metal: build it with --features metal on a Mac, or give device = "cpu"
    "#);
    if cfg!(not(feature = "cuda")) {
        assert_snapshot!(train("device=cuda:3 dtype=bf16"), @r#"
        2: error: the settings: 1 problem
          device: this binary was built without CUDA: build it with --features cuda, or give device = "cpu" and dtype = "f32"
        "#);
        assert_snapshot!(
            wrong(&place, "generate --model data/quickstart/base --prompt Hi --device cuda:3"),
            @r#"
        2: error: the settings: 1 problem
          device: this binary was built without CUDA: build it with --features cuda, or give device = "cpu" and dtype = "f32"
        "#
        );
    }
}

#[test]
fn places_that_cannot_be_written() {
    let place = Place::new();
    assert_snapshot!(wrong(&place, "train DIR/trial.toml output=DIR/rows.jsonl"), @"1: error: DIR/rows.jsonl/trial/config.toml: cannot write: a part of this path is a file, not a folder");
    assert_snapshot!(wrong(&place, "man DIR/rows.jsonl"), @"1: error: DIR/rows.jsonl: cannot write: a file is in the way");
    let predictions = "evaluate DIR/trial.toml --base --predictions DIR/rows.jsonl/x.jsonl evaluation.rows=1";
    assert_snapshot!(wrong(&place, predictions), @"1: error: DIR/rows.jsonl/x.jsonl: cannot write: a file is in the way");
}
