//! evaluate, generate, export, bench and the help.

use serde_json::{Value, json};

use crate::harness::{BASE, Place, TEST_ROWS, TINY_LORA, root};

#[test]
fn every_option_is_in_the_help() {
    let place = Place::new();
    let commands = [
        ("", "train evaluate generate export inspect data bench completions man --version"),
        ("train", "<CONFIG> [KEY=VALUE] --resume --json"),
        ("evaluate", "<CONFIG> [KEY=VALUE] --adapter --base --predictions --json"),
        (
            "generate",
            "--model --adapter --adapter-of --run --tokenizer --prompt --file --template --lines --json --newlines --max-new-tokens \
             --min-new-tokens --no-repeat-ngram-size --repetition-penalty --num-beams --length-penalty --early-stopping --temperature --top-k --top-p --seed \
             --max-source-tokens --batch-size --threads --device --dtype --tf32 --kernels",
        ),
        ("export", "<OUT> --model --adapter --run"),
        ("combine", "<OUT> --adapter --weight --method --rank --density --seed"),
        (
            "inspect",
            "<PATH> [KEY=VALUE] --model --method --batch-size --source-tokens --target-tokens --threads --neighbours --json",
        ),
        ("data preview", "<CONFIG> [KEY=VALUE] --rows --part --json"),
        ("data stats", "<CONFIG> [KEY=VALUE] --json"),
        (
            "bench",
            "<MODEL> <BATCHES> --adapter --steps --warmup --rank --alpha --targets --full --method --checkpointing --lr --generate --beams --threads --device --dtype \
             --tf32 --kernels --trace",
        ),
        ("completions", "<SHELL>"),
        ("man", "[FOLDER]"),
    ];
    for (command, options) in commands {
        let help = place.good(&format!("{command} --help"));
        let named =
            |option: &str| help.split([' ', '\n', ',']).any(|word| word.trim_end_matches("...") == option);
        for option in options.split_whitespace().chain(["--quiet", "--verbose"]) {
            assert!(named(option), "{command} --help does not name {option}:\n{help}");
        }
        let known: Vec<&str> = help.split([' ', '\n', ',']).filter(|word| word.starts_with("--")).collect();
        for option in known {
            assert!(
                ["--help", "--quiet", "--verbose"].contains(&option) || options.contains(option),
                "{command}: the test does not know {option}"
            );
        }
        assert!(
            help.contains("Exit codes: 0 done; 1 failed; 2 a wrong command line or config; 130 interrupted.")
        );
    }
    assert_eq!(place.good("--version"), format!("tallow {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn evaluate_measures_a_run_its_base_and_any_adapter() {
    let place = Place::new();
    place.good("train DIR/trial.toml training.learning_rate=5e-2");
    let figures = place.json("runs/trial/evaluation.json");
    let json =
        |line: &str| -> Value { serde_json::from_str(&place.good(&format!("{line} --json"))).unwrap() };

    let own = json("evaluate DIR/trial.toml --predictions DIR/new/folder/predictions.jsonl");
    assert_eq!(own, figures["after"]);
    assert_eq!(place.read("new/folder/predictions.jsonl"), place.read("runs/trial/predictions.jsonl"));
    assert_eq!(json("evaluate DIR/trial.toml evaluation.rows=2"), figures["after_same_rows"]);
    assert_eq!(json("evaluate DIR/trial.toml evaluation.rows=2 --base"), figures["before"]);
    assert_eq!(json("evaluate DIR/trial.toml name=other --adapter DIR/runs/trial/adapter"), own);

    let table = place.good("evaluate DIR/trial.toml");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 6, "{table}");
    assert_eq!(lines[0], "F1 x 100            rows (3)");
    let rouge1 = 100.0 * own["rouge"]["rouge1"]["fmeasure"].as_f64().unwrap();
    assert_eq!(lines[1], format!("{:<12}{rouge1:>16.2}", "rouge1"));
    assert_eq!(lines[5], "best of the references, with stemmer, (rows)");
    assert_eq!(json("evaluate DIR/runs/trial/config.toml"), own);
}

#[test]
fn prompts_come_from_anywhere() {
    let place = Place::new();
    let generate = format!("generate --model {BASE} --max-new-tokens 8");
    let prompt = |text: &str| place.run_with(&generate, &["--prompt", text]).good();
    place.write("one.txt", "Where is Ann?\nAnn is here.\n");
    let whole = prompt("Where is Ann?\nAnn is here.");
    assert_eq!(whole.lines().count(), 1);
    assert_eq!(place.good(&format!("{generate} --file DIR/one.txt")), whole);
    assert_eq!(place.run_reading(&generate, "Where is Ann?\nAnn is here.\n").good(), whole);

    let each = prompt("Where is Ann?") + &prompt("Ann is here.");
    assert_eq!(place.good(&format!("{generate} --file DIR/one.txt --lines")), each);
    assert_eq!(
        place.run_reading(&format!("{generate} --lines"), "Where is Ann?\n\nAnn is here.\n").good(),
        each
    );

    let rows = place.good(&format!("{generate} --file {TEST_ROWS} --template dialogue-summary"));
    assert_eq!(rows.lines().count(), 100);
    let first = std::fs::read_to_string(root().join(TEST_ROWS)).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let dialogue = first["dialogue"].as_str().unwrap();
    let text = format!("Summarize the following conversation.\n\n{dialogue}\n\nSummary:");
    assert_eq!(rows.lines().next().unwrap(), prompt(&text).trim_end_matches('\n'));

    place.write("ROWS.JSONL", &crate::harness::lines(TEST_ROWS, 2));
    let two: Vec<&str> = rows.lines().take(2).collect();
    let upper = place.good(&format!("{generate} --file DIR/ROWS.JSONL --template dialogue-summary"));
    assert_eq!(upper.lines().collect::<Vec<_>>(), two);
    let cut = place.run(&format!("{generate} --max-source-tokens 3 --file DIR/one.txt --lines"));
    assert_eq!(cut.stderr, "2 of 2 prompts were cut to 3 tokens\n");
}

#[test]
fn a_seed_draws_the_same_text() {
    let place = Place::new();
    let draw = |seed: u32| {
        let line =
            format!("generate --model {BASE} --max-new-tokens 12 --min-new-tokens 12 --temperature 20");
        place.good(&format!("{line} --seed {seed} --prompt Hello"))
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_ne!(draw(1), place.good(&format!("generate --model {BASE} --max-new-tokens 12 --prompt Hello")));
}

#[test]
fn output_that_nobody_reads_ends_the_command_quietly() {
    let place = Place::new();
    let mut command = place.command(&format!("generate --model {BASE} --prompt Hello"));
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let outcome = place.came_to(&child.wait_with_output().unwrap());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn a_merged_model_writes_what_base_and_adapter_write() {
    let place = Place::new();
    place.good("train DIR/trial.toml training.learning_rate=5e-2 training.steps=12");
    let rows =
        format!("--file {TEST_ROWS} --template dialogue-summary --max-new-tokens 6 --max-source-tokens 512");
    let base = place.good(&format!("generate --model {BASE} {rows}"));
    let adapted = place.good(&format!("generate --model {BASE} --adapter DIR/runs/trial/adapter {rows}"));
    assert_ne!(adapted, base);
    // A run brings its template and settings along, wherever its folder lies.
    std::fs::rename(place.path("runs"), place.path("moved")).unwrap();
    assert_eq!(place.good(&format!("generate --run DIR/moved/trial --file {TEST_ROWS}")), adapted);

    assert_eq!(place.run("export --run DIR/moved/trial DIR/out/one").stderr, "wrote DIR/out/one\n");
    place.good(&format!("export --model {BASE} --adapter DIR/moved/trial/adapter DIR/two"));
    let names = |folder: &str| -> Vec<String> {
        let paths = place.snapshot(folder).into_keys();
        paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("two"), ["config.json", "model.safetensors", "tokenizer.json"]);
    let files = |folder: &str| place.snapshot(folder).into_values().collect::<Vec<_>>();
    assert_eq!(files("out/one"), files("two"));
    assert_eq!(place.good(&format!("generate --model DIR/two {rows}")), adapted);
}

#[test]
fn a_tokenizer_of_elsewhere_goes_along() {
    let place = Place::new();
    place.copy(BASE, "base");
    std::fs::rename(place.path("base/tokenizer.json"), place.path("words.json")).unwrap();
    let own = "model.path=DIR/base model.tokenizer=DIR/words.json evaluation.before_rows=0 evaluation.rows=1";
    place.good(&format!("train DIR/trial.toml {own}"));
    place.good("export --run DIR/runs/trial DIR/merged");
    place.good(&format!("train DIR/trial.toml {own} name=full method={{kind=\"full\"}}"));
    for model in ["merged", "runs/full/model"] {
        assert_eq!(place.read(&format!("{model}/tokenizer.json")), place.read("words.json"));
        place.good(&format!("generate --model DIR/{model} --max-new-tokens 2 --prompt Hello"));
    }
}

#[test]
fn bench_prints_what_the_peer_prints() {
    let place = Place::new();
    place.write(
        "batches.jsonl",
        "{\"source\": [[5, 6, 7, 1], [8, 1]], \"target\": [[9, 1], [10, 11, 1]]}\n{\"source\": [[5, 1]], \"target\": [[9, 1]]}\n",
    );
    let bench = |more: &str| -> Value {
        let line = format!("bench {BASE} DIR/batches.jsonl --steps 3 --warmup 1 --threads 1");
        serde_json::from_str(&place.good(&format!("{line} {more}"))).unwrap()
    };
    let lora = bench("");
    let mut keys: Vec<&str> = lora.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "attn",
            "compile",
            "device",
            "dtype",
            "foreseen_memory_mb",
            "losses",
            "median_real_tokens_per_s",
            "padded_tokens_per_s",
            "peak_memory_mb",
            "peer",
            "real_tokens_per_s",
            "seconds",
            "steps",
            "torch",
            "trainable"
        ]
    );
    assert_eq!(lora["losses"].as_array().unwrap().len(), 4);
    assert_eq!(lora["steps"], 3);
    // 3 layers: 3 attentions each in the encoder, 6 in the decoder; q and v, each with A and B of 8 by 128.
    assert_eq!(lora["trainable"], 9 * 2 * 2 * 8 * 128);
    let full = bench("--full");
    assert_eq!(full["losses"][0], lora["losses"][0]);
    assert_ne!(full["losses"][1], lora["losses"][1]);
    assert!(full["trainable"].as_u64() > lora["trainable"].as_u64());
    assert_eq!(bench("--rank 4 --targets wo o")["trainable"], 9 * 4 * (128 + 128) + 6 * 4 * (256 + 128));
}

#[test]
fn checkpointing_changes_no_loss() {
    let place = Place::new();
    place.write("batches.jsonl", "{\"source\": [[5, 6, 7, 1], [8, 1]], \"target\": [[9, 1], [10, 11, 1]]}\n");
    let losses = |what: &str| -> Vec<f64> {
        let line = format!("bench {BASE} DIR/batches.jsonl --steps 3 --warmup 0 --checkpointing {what}");
        let result: Value = serde_json::from_str(&place.good(&line)).unwrap();
        result["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect()
    };
    let (plain, again) = (losses("none"), losses("layer"));
    assert_eq!(plain[0], again[0]);
    // Gradients are summed in another order.
    let far = plain.iter().zip(&again).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
    assert!(far < 1e-5, "{plain:?} {again:?}");
    place.good("train DIR/trial.toml training.checkpointing=layer evaluation.before_rows=0");
    let steps = place.json_lines("runs/trial/metrics.jsonl");
    assert!(steps[0]["peak_memory"].as_u64().is_none_or(|bytes| bytes > 1 << 20));
}

#[test]
fn inspect_tells_models_adapters_configs_and_runs_apart() {
    let place = Place::new();
    let inspect = |line: &str| -> Value {
        serde_json::from_str(&place.good(&format!("inspect {line} --json"))).unwrap()
    };
    let model = inspect(BASE);
    assert_eq!(model["model"]["parameters"], 1_460_608);
    let [lora, full] = model["training"].as_array().unwrap().as_slice() else { panic!("{model}") };
    assert_eq!(lora["trainable"], 9 * 2 * 2 * 8 * 128);
    assert_eq!(full["trainable"], 1_460_608);
    // Queries and values, from 128 to 128 in each of 9 attentions.
    let example = json!({"shape": [128, 128], "rank": 8, "trained": 2048, "instead": 16384, "matrices": 18});
    assert_eq!(lora["example"], example);
    assert!(full["memory"][0]["trained_bytes"].as_u64() > lora["memory"][0]["trained_bytes"].as_u64());
    for part in [lora, full, &model["generation"]] {
        let types = [("f32", "CPU", true), ("bf16", "GPU", false)];
        for (memory, (dtype, on, checked)) in part["memory"].as_array().unwrap().iter().zip(types) {
            assert_eq!((&memory["dtype"], &memory["on"]), (&json!(dtype), &json!(on)));
            assert_eq!(memory["checked"], checked);
            let parts = memory.as_object().unwrap().iter().filter(|(key, _)| key.ends_with("_bytes"));
            assert!(parts.clone().count() == 4 && parts.clone().all(|(_, bytes)| bytes.is_u64()), "{memory}");
        }
    }
    let bytes = |line: &str| inspect(line)["training"][0]["memory"][0]["activation_bytes"].as_u64().unwrap();
    assert!(bytes(&format!("{BASE} --batch-size 64")) > bytes(&format!("{BASE} --batch-size 32")));

    let config = inspect("DIR/trial.toml method.rank=2");
    assert_eq!(config["training"].as_array().unwrap().len(), 1);
    assert_eq!(config["training"][0]["trainable"], 9 * 2 * 2 * 2 * 128);
    assert_eq!(config["training"][0]["rows"], "the heaviest of 6 batches");
    let rows = config["generation"]["rows"].as_str().unwrap();
    assert!(rows.starts_with("3 held-out rows, 16 at a time on a thread, the longest of "), "{rows}");
    assert!(rows.ends_with(" tokens, 6 new ones"), "{rows}");
    let cache = |line: &str| inspect(line)["generation"]["memory"][0]["cache_bytes"].as_u64().unwrap();
    assert!(cache("DIR/trial.toml evaluation.generation.num_beams=4") > cache("DIR/trial.toml"));
    let plain = bytes("DIR/trial.toml training.batch_size=12");
    assert!(bytes("DIR/trial.toml training.batch_size=12 training.checkpointing=layer") < plain);

    place.good("train DIR/trial.toml evaluation.before_rows=0");
    let run = inspect("DIR/runs/trial");
    assert_eq!(run["training"][0]["trainable"], 9 * 2 * 2 * 4 * 128);
    let adapter = inspect("DIR/runs/trial/adapter");
    assert_eq!(adapter["adapter"]["parameters"], 9 * 2 * 2 * 4 * 128);
    assert_eq!(adapter["adapter"]["base"], BASE);
    assert_eq!(adapter["training"][0]["method"], "LoRA of rank 4 on q, v");
    // Without its base, an adapter is what its own files say.
    let alone = inspect(TINY_LORA);
    assert!(alone["model"].is_null() && alone["training"].as_array().unwrap().is_empty());
    let table = place.good(&format!("inspect {BASE}"));
    for line in [
        "            1,460,608 parameters, 5.9 MB on disk",
        "            a 128 x 128 matrix at rank 8 trains 2,048 numbers instead of 16,384 (88% fewer)",
        "generation  8 prompts of 512 tokens, 128 new ones",
        "            * by the same formulas, not measured",
    ] {
        assert!(table.lines().any(|found| found == line), "{line}\n{table}");
    }
}

#[test]
fn generation_follows_beams() {
    let place = Place::new();
    let generate = format!("generate --model {BASE} --file {TEST_ROWS} --template dialogue-summary");
    let one = place.good(&format!("{generate} --max-new-tokens 12"));
    assert_eq!(place.good(&format!("{generate} --max-new-tokens 12 --num-beams 1 --length-penalty 3")), one);
    let four = place.good(&format!("{generate} --max-new-tokens 12 --num-beams 4 --early-stopping never"));
    assert_eq!(four.lines().count(), 100);
    assert_ne!(four, one);
}

#[test]
fn an_adapter_that_is_named_takes_the_place_of_the_runs_own() {
    let place = Place::new();
    place.good("train DIR/trial.toml");
    place.good("train DIR/trial.toml name=other seed=4");
    let export = |arguments: &str, out: &str| {
        place.good(&format!("export {arguments} DIR/{out}"));
        std::fs::read(place.path(&format!("{out}/model.safetensors"))).unwrap()
    };
    let own = export("--run DIR/runs/trial", "own");
    let other = export("--run DIR/runs/other", "other");
    assert!(own != other, "two runs train two adapters");
    assert_eq!(export("--run DIR/runs/trial --adapter DIR/runs/other/adapter", "swapped"), other);

    let generate = |arguments: &str| {
        place.good(&format!("generate {arguments} --max-new-tokens 12 --temperature 1 --file DIR/rows.jsonl"))
    };
    let swapped = generate("--run DIR/runs/trial --adapter DIR/runs/other/adapter --seed 1");
    assert_eq!(swapped, generate("--run DIR/runs/other --seed 1"));
    let missing = place.run("generate --run DIR/runs/trial --adapter DIR/none --prompt Hi");
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("--adapter DIR/none: no such folder"), "{missing:?}");
}
