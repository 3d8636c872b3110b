//! evaluate, generate, export, bench and the help.

use serde_json::Value;

use crate::harness::{BASE, Place, TEST_ROWS, TINY_LORA, root};

#[test]
fn every_option_is_in_the_help() {
    let place = Place::new();
    let commands = [
        ("", "train evaluate generate export inspect data bench --version"),
        ("train", "<CONFIG> [KEY=VALUE] --resume"),
        ("evaluate", "<CONFIG> [KEY=VALUE] --adapter --base --predictions --json"),
        (
            "generate",
            "--model --adapter --run --tokenizer --prompt --file --template --lines --max-new-tokens \
             --min-new-tokens --no-repeat-ngram-size --repetition-penalty --num-beams --length-penalty --early-stopping --temperature --top-k --top-p --seed \
             --max-source-tokens --batch-size --threads --device --dtype --tf32 --kernels",
        ),
        ("export", "<OUT> --model --adapter --run"),
        (
            "inspect",
            "<PATH> [KEY=VALUE] --model --batch-size --source-tokens --target-tokens --threads --json",
        ),
        ("data preview", "<CONFIG> [KEY=VALUE] --rows --part --json"),
        ("data stats", "<CONFIG> [KEY=VALUE] --json"),
        (
            "bench",
            "<MODEL> <BATCHES> --adapter --steps --warmup --rank --alpha --targets --full --checkpointing --lr --generate --beams --threads --device --dtype \
             --tf32 --kernels --trace",
        ),
    ];
    for (command, options) in commands {
        let help = place.good(&format!("{command} --help"));
        let named =
            |option: &str| help.split([' ', '\n', ',']).any(|word| word.trim_end_matches("...") == option);
        for option in options.split_whitespace() {
            assert!(named(option), "{command} --help does not name {option}:\n{help}");
        }
        let known: Vec<&str> = help.split([' ', '\n', ',']).filter(|word| word.starts_with("--")).collect();
        for option in known {
            assert!(
                option == "--help" || options.contains(option),
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
    place.bad(
        "evaluate DIR/trial.toml",
        1,
        "DIR/runs/trial/adapter is not there: train first, or give --adapter DIR or --base",
    );
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
    // Rows drawn by another seed may be among those it was trained on.
    place.bad(
        "evaluate DIR/trial.toml seed=4 task.0.max_source_tokens=100 training.steps=9",
        1,
        "the run was trained with other settings, see DIR/runs/trial/config.toml: seed, task; measure it as it was \
         trained (evaluate DIR/runs/trial/config.toml), or give its adapter by --adapter DIR",
    );
    assert_eq!(json("evaluate DIR/runs/trial/config.toml"), own);
    place.bad(
        "evaluate DIR/trial.toml --adapter DIR/nowhere",
        1,
        "cannot load the adapter in DIR/nowhere: DIR/nowhere/adapter_config.json: No such file or directory (os error 2)",
    );
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

    place.bad(
        &format!("{generate} --file {TEST_ROWS}"),
        1,
        &format!("{TEST_ROWS} holds rows: name the template that makes prompts of them, --template NAME"),
    );
    place.write("ROWS.JSONL", &crate::harness::lines(TEST_ROWS, 2));
    let two: Vec<&str> = rows.lines().take(2).collect();
    let upper = place.good(&format!("{generate} --file DIR/ROWS.JSONL --template dialogue-summary"));
    assert_eq!(upper.lines().collect::<Vec<_>>(), two);
    place.bad(
        &format!("{generate} --file DIR/ROWS.JSONL --lines"),
        1,
        "DIR/ROWS.JSONL holds rows: leave out --lines, which is for text",
    );
    place.bad(
        &format!("{generate} --file DIR/one.txt --template dialogue-summary"),
        1,
        "DIR/one.txt: the kind of file is told by its extension: .jsonl, .ndjson, .json, .csv, .tsv or .parquet, all but the last also with .gz or .zst behind it",
    );
    place.run_reading(&generate, " \n").bad(1, "the prompt is empty");
    place.bad(
        &format!("{generate} --file DIR/none.txt"),
        1,
        "DIR/none.txt: No such file or directory (os error 2)",
    );
    place.bad(
        &format!("{generate} --temperature 0 --top-p 2 --prompt Hi"),
        2,
        "generation settings: 2 problems
  generation settings: sampling.temperature: must be a positive number
  generation settings: sampling.top_p: must lie in (0, 1]",
    );
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

    let before = place.snapshot("two");
    place.bad("export --run DIR/moved/trial DIR/two", 1, "DIR/two exists: name another folder, or remove it");
    assert_eq!(place.snapshot("two"), before);
    place.bad(
        "export --run DIR/runs/trial DIR/three",
        1,
        "DIR/runs/trial holds no run: there is no DIR/runs/trial/config.toml",
    );
    assert!(!place.path("three").exists());
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

    let bad = |line: &str, error: &str| {
        place.write("bad.jsonl", &format!("{{\"source\": [[5, 1]], \"target\": [[9, 1]]}}\n\n{line}\n"));
        place.bad(&format!("bench {BASE} DIR/bad.jsonl"), 1, &format!("DIR/bad.jsonl{error}"));
    };
    bad("{", ":3: not a batch of source and target: EOF while parsing an object at line 1 column 1");
    bad(
        "{\"source\": [[5, 1]], \"targets\": [[9, 1]]}",
        ":3: not a batch of source and target: unknown field `targets`, expected `source` or `target` at line 1 column 30",
    );
    bad(
        "{\"source\": [[5, 1], [6]], \"target\": [[9, 1]]}",
        ":3: 2 sources and 1 targets; a batch has as many of each, from 1",
    );
    bad("{\"source\": [[]], \"target\": [[9, 1]]}", ":3: a row without tokens");
    bad(
        "{\"source\": [[5, 1]], \"target\": [[9000, 1]]}",
        ":3: token id 9000 is past the model's vocabulary of 1088: is this the model's own tokenizer?",
    );
    place.write("bad.jsonl", "");
    place.bad(&format!("bench {BASE} DIR/bad.jsonl"), 1, "DIR/bad.jsonl: holds no batches");
    place.bad(
        &format!("bench {BASE} DIR/batches.jsonl --rank 0"),
        2,
        "the fresh adapter: 1 problem\n  the fresh adapter: rank: must be at least 1",
    );
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
    assert!(full["trained_bytes"].as_u64() > lora["trained_bytes"].as_u64());
    let bytes = |line: &str| inspect(line)["training"][0]["activation_bytes"].as_u64().unwrap();
    assert!(bytes(&format!("{BASE} --batch-size 64")) > bytes(&format!("{BASE} --batch-size 32")));

    let config = inspect("DIR/trial.toml method.rank=2");
    assert_eq!(config["training"].as_array().unwrap().len(), 1);
    assert_eq!(config["training"][0]["trainable"], 9 * 2 * 2 * 2 * 128);
    assert_eq!(config["training"][0]["rows"], "the heaviest of 6 batches");
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
    assert!(table.contains("1,460,608 parameters") && table.contains("about "), "{table}");

    place.bad("inspect DIR/none", 1, "DIR/none: no such file or folder");
    let what = "neither a model (config.json), an adapter (adapter_config.json) nor a run (config.toml)";
    place.bad("inspect DIR/runs", 1, &format!("DIR/runs: {what}"));
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
    place.bad(
        &format!("{generate} --num-beams 4 --temperature 1 --length-penalty nan"),
        2,
        "generation settings: 2 problems
  generation settings: length_penalty: must be a number; 0 leaves the length out
  generation settings: num_beams: sampling is given too: keep one of them",
    );
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
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("/none"), "{missing:?}");
}
