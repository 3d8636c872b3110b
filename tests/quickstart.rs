//! The quickstart learns what it should, and only that: ROUGE rises on dialogues it has not seen, and far less
//! when each dialogue is given another one's summary.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rows(name: &str) -> Vec<serde_json::Map<String, Value>> {
    let path = root().join("data/quickstart").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn no_dialogue_is_shared_with_training() {
    let dialogues = |name: &str| -> HashSet<String> {
        rows(name).iter().map(|row| row["dialogue"].as_str().unwrap().to_owned()).collect()
    };
    let train = dialogues("train.jsonl");
    assert!(train.len() >= 500);
    for name in ["validation.jsonl", "test.jsonl"] {
        let held_out = dialogues(name);
        assert!(held_out.len() >= 50);
        assert!(train.is_disjoint(&held_out), "{name}");
    }
}

/// ROUGE-1 F before and after the quickstart's run on the training rows in `train`.
fn gain(name: &str, train: &Path, output: &Path) -> (f64, f64) {
    let run = Command::new(env!("CARGO_BIN_EXE_tallow"))
        .current_dir(root())
        .args(["train", "configs/quickstart.toml"])
        .arg(format!("name={name}"))
        .arg(format!("output={}", output.display()))
        .arg(format!("task.0.train={}", train.display()))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    println!("{}", String::from_utf8_lossy(&run.stdout));
    let text = std::fs::read_to_string(output.join(name).join("evaluation.json")).unwrap();
    let figures: Value = serde_json::from_str(&text).unwrap();
    let rouge1 = |when: &str| figures[when]["rouge"]["rouge1"]["fmeasure"].as_f64().unwrap();
    (rouge1("before"), rouge1("after"))
}

#[test]
fn rouge_rises_by_what_the_summaries_teach() {
    let folder = tempfile::tempdir().unwrap();
    let train = root().join("data/quickstart/train.jsonl");
    let (before, after) = gain("true", &train, folder.path());

    let mut shuffled = rows("train.jsonl");
    let summaries: Vec<Value> = shuffled.iter().map(|row| row["summary"].clone()).collect();
    let count = summaries.len();
    for (index, row) in shuffled.iter_mut().enumerate() {
        // Every row gets the summary of another one, far away.
        row["summary"] = summaries[(index + count / 2) % count].clone();
    }
    let path = folder.path().join("shuffled.jsonl");
    let text: String = shuffled.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect();
    std::fs::write(&path, text).unwrap();
    let (same, misled) = gain("shuffled", &path, folder.path());

    println!("ROUGE-1 F: {before:.4} before, {after:.4} after, {misled:.4} after shuffled summaries");
    assert_eq!(before, same);
    assert!(after - before >= 0.10, "rises by {}", after - before);
    assert!(misled - before < 0.5 * (after - before), "shuffled summaries give {}", misled - before);
}
