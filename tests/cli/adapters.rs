//! Several adapters at once: generate with them, and combine.

use serde_json::{Value, json};

use crate::harness::{BASE, Place, TEST_ROWS, lines};

/// Three adapters of the base, off their initial values: `DIR/runs/NAME/adapter`. Of the last, all rows of a batch would
/// share what it changes.
fn place() -> Place {
    let place = Place::new();
    let train = |name: &str, more: &[&str]| {
        let line = format!("train -q DIR/trial.toml name={name} evaluation.rows=1 evaluation.before_rows=0");
        place.run_with(&line, more).good();
    };
    train("sums", &["training.learning_rate=5e-2"]);
    train("names", &["training.learning_rate=9e-2", "seed=8", "method.target_modules=[\"k\", \"wo\"]"]);
    train("prompt", &["training.learning_rate=1", "method={kind=\"prompt\", num_virtual_tokens=4}"]);
    place
}

fn named(names: &[&str]) -> String {
    names.iter().map(|name| format!(" --adapter {name}=DIR/runs/{name}/adapter")).collect()
}

const NAMES: [&str; 3] = ["sums", "names", "prompt"];

#[test]
fn every_adapter_answers_every_prompt() {
    let place = place();
    place.write("prompts.txt", "Where is Ann?\nAnn is here with a red ball.\nBen: Hi, Ann!\n");
    for more in ["", "--num-beams 2", "--temperature 3 --seed 4"] {
        let line = format!("generate --max-new-tokens 8 {more} --lines --file DIR/prompts.txt");
        let alone = NAMES.map(|name| {
            let answers = place.good(&format!("{line} --adapter DIR/runs/{name}/adapter"));
            answers.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        let found = place.good(&format!("{line}{}", named(&NAMES)));
        let wanted: String = (0..3)
            .flat_map(|row| {
                NAMES.iter().zip(&alone).map(move |(name, answers)| format!("{name}\t{}\n", answers[row]))
            })
            .collect();
        assert_eq!(found, wanted, "{more}");
        assert_ne!(alone[0], alone[1]);
    }
    let found = place
        .run_with(&format!("generate --max-new-tokens 4 --json{}", named(&["sums"])), &["--prompt", "Hi"]);
    let found: Value = serde_json::from_str(&found.good()).unwrap();
    assert_eq!((&found["prompt"], &found["adapter"]), (&json!("Hi"), &json!("sums")));
}

#[test]
fn a_column_names_the_adapter_of_each_row() {
    let place = place();
    let names = ["names", "", "sums", "prompt", "names", "sums"];
    let rows: String = lines(TEST_ROWS, names.len())
        .lines()
        .zip(names)
        .map(|(row, name)| {
            let mut row: Value = serde_json::from_str(row).unwrap();
            row["by"] = if name.is_empty() { Value::Null } else { name.into() };
            format!("{row}\n")
        })
        .collect();
    place.write("rows.jsonl", &rows);
    let line = "generate --max-new-tokens 8 --template dialogue-summary --file DIR/rows.jsonl";
    let answers = |more: &str| -> Vec<String> {
        place.good(&format!("{line} {more}")).lines().map(str::to_owned).collect()
    };
    let base = answers(&format!("--model {BASE}"));
    let alone = NAMES.map(|name| answers(&format!("--adapter DIR/runs/{name}/adapter")));
    let wanted: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(row, name)| match NAMES.iter().position(|other| other == name) {
            Some(number) => format!("{name}\t{}", alone[number][row]),
            None => format!("\t{}", base[row]),
        })
        .collect();
    let all = named(&NAMES);
    assert_eq!(answers(&format!("{all} --adapter-of by")), wanted);
    let json = answers(&format!("{all} --adapter-of by --json"));
    let second: Value = serde_json::from_str(&json[1]).unwrap();
    assert_eq!((&second["adapter"], &second["prediction"]), (&Value::Null, &json!(base[1])));

    let bad = |more: &str, error: &str| place.bad(&format!("{line} {more}"), 2, error);
    bad(
        &format!("{} --adapter-of by", named(&["sums", "prompt"])),
        "DIR/rows.jsonl:1: by names the adapter `names`; --adapter gives sums, prompt",
    );
    bad(&format!("{all} --adapter-of who"), "DIR/rows.jsonl:1: there is no column who, see --adapter-of");
    bad(
        "--adapter DIR/runs/sums/adapter --adapter-of by",
        "--adapter-of: name the adapters, --adapter NAME=DIR",
    );
}

#[test]
fn names_that_cannot_be_are_refused() {
    let place = Place::new();
    place.copy("tests/golden/tiny-gated/adapters/lora", "lora");
    let bad = |more: &str, error: &str| place.bad(&format!("generate --prompt Hi {more}"), 2, error);
    bad(
        "--adapter DIR/lora --adapter b=DIR/lora",
        "--adapter DIR/lora: of several each needs a name, --adapter NAME=DIR/lora",
    );
    bad("--adapter a=DIR/lora --adapter a=DIR/lora", "--adapter a: two have this name");
    let found = place.run("generate --prompt Hi --adapter a=DIR/none");
    assert!(found.error().starts_with("error: --adapter DIR/none: no such folder"), "{found:?}");
}

#[test]
fn adapters_are_combined_by_weights() {
    let place = place();
    let both = "--adapter DIR/runs/sums/adapter --adapter DIR/runs/names/adapter";
    let found = place.run(&format!("combine {both} --weight 0.5 --weight -0.25 DIR/both"));
    assert_eq!((found.code, found.stderr.as_str()), (0, "wrote DIR/both: LoRA of rank 8\n"));
    let config = place.json("both/adapter_config.json");
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(8), &json!(8)));
    assert_eq!(config["target_modules"], json!(["k", "q", "v", "wo"]));
    assert_eq!(config["base_model_name_or_path"], BASE);
    let answer = |adapter: &str| {
        place
            .run_with(
                &format!("generate --max-new-tokens 8 --adapter {adapter}"),
                &["--prompt", "Where is Ann?"],
            )
            .good()
    };
    answer("DIR/both");

    // With all the weight on one it is that one.
    for (i, more) in ["", "--method svd --rank 6", "--method ties --density 1 --rank 4"].iter().enumerate() {
        place.good(&format!("combine {both} --weight 1 --weight 0 {more} DIR/one{i}"));
        if *more != "--method ties --density 1 --rank 4" {
            assert_eq!(answer(&format!("DIR/one{i}")), answer("DIR/runs/sums/adapter"), "{more}");
        }
    }
    place.good(&format!("combine {both} --method dare --seed 3 --rank 4 DIR/dare"));
    place.good(&format!("combine {both} --method dare --seed 3 --rank 4 DIR/again"));
    place.good(&format!("combine {both} --method dare-ties --seed 4 --rank 4 DIR/other"));
    let bytes = |name: &str| std::fs::read(place.path(name).join("adapter_model.safetensors")).unwrap();
    assert!(bytes("dare") == bytes("again") && bytes("dare") != bytes("other"));

    let bad = |more: &str, code: i32, error: &str| place.bad(&format!("combine {more}"), code, error);
    bad(&format!("{both} DIR/both"), 1, "DIR/both exists: name another folder, or remove it");
    bad(
        &format!("{both} --weight 1 DIR/new"),
        2,
        "1 weights for 2 adapters: give --weight once for each --adapter",
    );
    bad(&format!("{both} --seed 1 DIR/new"), 2, "--seed is for dare: give --method, or leave it out");
    bad(&format!("{both} --method ties --density 2 DIR/new"), 2, "--density 2: must lie in (0, 1]");
    bad(
        "--adapter DIR/runs/prompt/adapter DIR/new",
        1,
        "the adapters cannot be combined: DIR/runs/prompt/adapter/adapter_model.safetensors is a prompt of 4 virtual \
         tokens; LoRA can be combined",
    );
}
