//! Every way to fine-tune, by its config in configs/methods: trained, gone on with, generated with, merged.

use serde_json::{Value, json};

use crate::harness::{BASE, Outcome, Place, TEST_ROWS, root};

/// What trains a config on the tiny base and a few rows.
fn small(name: &str) -> String {
    format!(
        "train configs/methods/{name}.toml output=DIR/runs model.path={BASE} task.0.train=DIR/rows.jsonl \
         task.0.validation=DIR/validation.jsonl task.0.test={TEST_ROWS} training.steps=24 training.batch_size=4 \
         training.warmup_steps=0 training.evaluate_every=8 training.checkpoint_every=8 evaluation.before_rows=0 \
         evaluation.rows=2 evaluation.generation.max_new_tokens=6 threads=2"
    )
}

fn configs() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("configs/methods")).unwrap();
    let names = entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(
        names,
        ["bottleneck", "dora", "full", "ia3", "lora", "olora", "pissa", "prefix", "prompt", "selective"]
    );
    names
}

/// The file that a run of a method leaves.
fn left(name: &str) -> &'static str {
    match name {
        "full" => "model/model.safetensors",
        "bottleneck" => "adapter/adapter.safetensors",
        _ => "adapter/adapter_model.safetensors",
    }
}

fn export(place: &Place, run: &str) -> Outcome {
    place.run(&format!("export --run DIR/runs/{run} DIR/merged-{run}"))
}

#[test]
fn every_method_learns_and_goes_on_to_the_bit() {
    let place = Place::new();
    for name in configs() {
        place.good(&small(&name));
        let run = format!("runs/dialogsum-{name}");
        let file = place.path(&format!("{run}/{}", left(&name)));
        let whole = std::fs::read(&file).unwrap();
        let metrics = place.json_lines(&format!("{run}/metrics.jsonl"));
        let losses =
            |key: &str| -> Vec<f64> { metrics.iter().filter_map(|line| line.get(key)?.as_f64()).collect() };
        let (losses, validations) = (losses("loss"), losses("validation_loss"));
        assert!(validations[2] < validations[0], "{name}: {validations:?}");
        assert!(losses[23] < losses[0], "{name}: {losses:?}");

        // As it is where it was killed behind its second checkpoint.
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
        std::fs::remove_file(place.path(&format!("{run}/evaluation.json"))).unwrap();
        let resumed = place.run(&format!("train DIR/{run}/config.toml --resume"));
        assert!(resumed.stderr.contains("resuming after step 16\n"), "{name}: {}", resumed.stderr);
        resumed.good();
        assert!(
            std::fs::read(&file).unwrap() == whole,
            "{name}: other values than of the run that never stopped"
        );
        let again = place.json_lines(&format!("{run}/metrics.jsonl"));
        for (before, after) in metrics.iter().zip(&again) {
            assert_eq!(
                (&before["loss"], &before["validation_loss"]),
                (&after["loss"], &after["validation_loss"])
            );
        }

        let generate = format!("generate --run DIR/{run} --max-new-tokens 4 --prompt Hello");
        assert_eq!(place.good(&generate).lines().count(), 1);
        assert!(place.read(&format!("{run}/report.html")).contains("<h2>Training</h2>"), "{name}");
    }
}

#[test]
fn what_changes_weights_is_merged_and_what_does_not_says_so() {
    let place = Place::new();
    for name in configs() {
        place.good(&format!("{} training.steps=3 training.evaluate_every=0", small(&name)));
        let run = format!("dialogsum-{name}");
        let outcome = export(&place, &run);
        let refused = match name.as_str() {
            "prompt" => "the prompt",
            "prefix" => "decoder.block.0.layer.0.SelfAttention",
            "bottleneck" => "encoder.block.0.layer.1",
            "full" => {
                outcome.bad(1, "DIR/runs/dialogsum-full is a full fine-tuning: DIR/runs/dialogsum-full/model is the model already");
                continue;
            }
            _ => {
                outcome.good();
                let write = |from: &str| {
                    place.good(&format!(
                        "generate {from} --file {TEST_ROWS} --template dialogue-summary --max-new-tokens 8"
                    ))
                };
                let (adapted, merged) =
                    (write(&format!("--run DIR/runs/{run}")), write(&format!("--model DIR/merged-{run}")));
                let differing = adapted.lines().zip(merged.lines()).filter(|(a, b)| a != b).count();
                // Sums are rounded otherwise in a merged weight, which may tip a close choice.
                assert!(differing <= 2, "{name}: {differing} texts differ");
                continue;
            }
        };
        outcome.bad(1, &format!("{refused}: what is trained there is no weight of the base and cannot be merged into it: use it as an adapter"));
        assert!(!place.path(&format!("merged-{run}")).exists());
    }
    let biases = "method={kind=\"selective\",biases=[\"q\"]} name=biases training.steps=3";
    place.good(&format!("{} {biases}", small("selective")));
    let refused = "encoder.block.0.layer.0.SelfAttention.q: what is trained there is no weight of the base and cannot be \
                   merged into it: use it as an adapter";
    export(&place, "biases").bad(1, refused);
}

#[test]
fn a_prompt_starts_from_a_text_and_is_told_by_its_neighbours() {
    let place = Place::new();
    let text = "method.prompt_tuning_init_text=Summarize";
    // Nothing is learnt: the tokens are those of the text, the end token among them, over and over.
    place.good(&format!(
        "{} {text} training.learning_rate=1e-12 training.steps=1 training.evaluate_every=0",
        small("prompt")
    ));
    let config = place.read("runs/dialogsum-prompt/config.toml");
    assert!(
        config.contains("prompt_tuning_init_text = \"Summarize\"") && !config.contains("init_tokens"),
        "{config}"
    );

    let inspect = |path: &str, most: usize| -> Value {
        serde_json::from_str(&place.good(&format!("inspect {path} --neighbours {most} --json"))).unwrap()
    };
    let run = inspect("DIR/runs/dialogsum-prompt", 2);
    let adapter = inspect("DIR/runs/dialogsum-prompt/adapter", 2);
    assert_eq!(run["prompt"], adapter["prompt"]);
    let prompt = run["prompt"].as_array().unwrap();
    assert_eq!(prompt.len(), 20);
    let nearest: Vec<&str> = prompt.iter().map(|near| near[0]["token"].as_str().unwrap()).collect();
    let end = nearest.iter().position(|token| *token == "</s>").unwrap();
    assert_eq!(nearest[..end].concat(), "▁Summarize");
    assert_eq!(nearest[..=end], nearest[end + 1..2 * end + 2]);
    assert!(
        prompt
            .iter()
            .all(|near| near.as_array().unwrap().len() == 2 && near[0]["cosine"].as_f64() > Some(0.999))
    );
    let table = place.good("inspect DIR/runs/dialogsum-prompt --neighbours");
    assert!(
        table.lines().any(|line| line.starts_with("prompt        1  ▁") && line.contains(" 1.00  ")),
        "{table}"
    );

    let page = place.read("runs/dialogsum-prompt/report.html");
    assert!(
        page.contains("<h2>Prompt</h2>")
            && page.contains("</s>".replace('<', "&lt;").replace('>', "&gt;").as_str())
    );
    // Whose base is not there is drawn without.
    place.edit("runs/dialogsum-prompt/config.toml", BASE, "DIR/nowhere");
    place.good("report DIR/runs/dialogsum-prompt");
    assert!(!place.read("runs/dialogsum-prompt/report.html").contains("<h2>Prompt</h2>"));
}

#[test]
fn memory_and_sizes_of_any_method_are_foreseen() {
    let place = Place::new();
    let inspect = |method: &str| -> Value {
        let found = place.run_with(&format!("inspect {BASE} --json"), &["--method", method]).good();
        serde_json::from_str::<Value>(&found).unwrap()["training"][0].clone()
    };
    let sizes = |method: &str| {
        let found = inspect(method);
        let [trained, bytes] = ["trainable", "bytes_on_disk"].map(|key| found[key].as_u64().unwrap());
        (trained, bytes)
    };
    // 3 + 3 blocks of width 128, 4 heads of 32.
    assert_eq!(sizes("kind = \"lora\", rank = 2"), (9216, 4 * 9216));
    // Its file has what was taken out of the base, too.
    assert_eq!(sizes("kind = \"lora\", rank = 2, init_lora_weights = \"pissa\""), (9216, 8 * 9216));
    assert_eq!(sizes("kind = \"dora\", rank = 2").0, 9216 + 18 * 128);
    assert_eq!(sizes("kind = \"ia3\"").0, 18 * 128 + 6 * 256);
    // peft's file has a second half that is not used.
    assert_eq!(sizes("kind = \"prompt\""), (20 * 128, 8 * 20 * 128));
    assert_eq!(sizes("{ kind = \"prefix\" }").0, 3 * 2 * 20 * 128);
    assert_eq!(sizes("kind = \"bottleneck\"").0, 6 * (2 * 8 * 128 + 8 + 128));
    assert_eq!(sizes("kind = \"selective\", weights = [\"final_layer_norm\"]").0, 256);
    assert_eq!(sizes("kind = \"full\"").0, 1_460_608);
    assert_eq!(inspect("configs/methods/ia3.toml")["method"], "IA3 on k, v, wo");

    let kept = |method: &str| inspect(method)["memory"][0]["activation_bytes"].as_u64().unwrap();
    let lora = kept("kind = \"lora\"");
    // Backward ends where nothing below is trained.
    assert!(kept("kind = \"prefix\"") < lora / 2);
    assert!(kept("kind = \"selective\", last_blocks = 1") < lora);
    assert!(kept("kind = \"prefix\", attentions = [\"encoder\"]") > kept("kind = \"prefix\""));
    assert!(
        kept("kind = \"bottleneck\", after = [\"attention\", \"feed_forward\"]")
            > kept("kind = \"bottleneck\"")
    );
    // Virtual tokens are tokens.
    let prompt = |tokens: usize| kept(&format!("kind = \"prompt\", num_virtual_tokens = {tokens}"));
    assert!(prompt(512) > prompt(1) * 3 / 2);
}

#[test]
fn bench_times_any_method() {
    let place = Place::new();
    place.write("batches.jsonl", "{\"source\": [[5, 6, 7, 1], [8, 1]], \"target\": [[9, 1], [10, 11, 1]]}\n");
    let bench = |method: &str| -> Value {
        let line = format!("bench {BASE} DIR/batches.jsonl --steps 2 --warmup 0 --threads 1");
        serde_json::from_str(&place.run_with(&line, &["--method", method]).good()).unwrap()
    };
    let plain = bench("kind = \"lora\"");
    for name in configs() {
        let found = bench(&format!("configs/methods/{name}.toml"));
        assert_eq!(found["losses"].as_array().unwrap().len(), 2, "{name}");
        // What starts as nothing changes no loss.
        if !["prompt", "prefix"].contains(&name.as_str()) {
            let far = found["losses"][0].as_f64().unwrap() / plain["losses"][0].as_f64().unwrap() - 1.0;
            assert!(far.abs() < 1e-4, "{name}: {far}");
        }
    }
    assert_eq!(bench("kind = \"prompt\", num_virtual_tokens = 3")["trainable"], json!(3 * 128));
}
