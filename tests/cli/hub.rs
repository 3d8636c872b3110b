//! Names on the Hub, answered by a server on this machine.

#[path = "../../crates/hub/tests/hub/server.rs"]
#[expect(dead_code, reason = "what goes wrong on the way is tested where the files are fetched")]
mod server;

use server::Server;

use crate::harness::{BASE, Outcome, Place, TEST_ROWS, lines, root};

/// A server with the tests' model and rows, and a cache below the test's folder.
struct Hub {
    server: Server,
    place: Place,
}

impl Hub {
    fn new() -> Self {
        let (server, place) = (Server::start(), Place::new());
        for entry in std::fs::read_dir(root().join(BASE)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            server.add("models/google/tiny", file, std::fs::read(&path).unwrap());
        }
        server.add("datasets/a/talks", "data/train-0.jsonl", lines("data/quickstart/train.jsonl", 5));
        let all = lines("data/quickstart/train.jsonl", 12);
        let rest: String = all.lines().skip(5).map(|line| format!("{line}\n")).collect();
        server.add("datasets/a/talks", "data/train-1.jsonl", rest);
        server.add("datasets/a/talks", "validation.jsonl", lines("data/quickstart/validation.jsonl", 4));
        server.add("datasets/a/talks", "test.jsonl", std::fs::read(root().join(TEST_ROWS)).unwrap());
        Self { server, place }
    }

    /// Runs with the server as the Hub.
    fn run(&self, line: &str) -> Outcome {
        let mut command = self.place.command(line);
        command.env("HF_ENDPOINT", self.server.endpoint()).env("HF_HUB_OFFLINE", "0");
        self.place.outcome(self.cached(&mut command))
    }

    /// Runs without it.
    fn offline(&self, line: &str) -> Outcome {
        self.place.outcome(self.cached(&mut self.place.command(line)))
    }

    fn cached(&self, command: &mut std::process::Command) -> std::process::Command {
        let mut own = std::process::Command::new(command.get_program());
        own.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
        for (key, value) in command.get_envs() {
            own.env(key, value.unwrap());
        }
        own.env("HF_HOME", self.place.path("hf"));
        own
    }
}

const NAMES: &str = "model.path=hf://google/tiny task.0.train=hf://datasets/a/talks/data/train-*.jsonl \
                     task.0.validation=hf://datasets/a/talks@main/validation.jsonl \
                     task.0.test=hf://datasets/a/talks/test.jsonl";

#[test]
fn a_run_by_names_is_the_run_on_the_files() {
    let hub = Hub::new();
    let place = &hub.place;
    let outcome = hub.run(&format!("train DIR/trial.toml name=named {NAMES}"));
    assert!(outcome.stderr.contains("fetching model.safetensors of google/tiny, "), "{}", outcome.stderr);
    outcome.good();
    place.good("train DIR/trial.toml");
    let losses = |name: &str| -> Vec<serde_json::Value> {
        let lines = place.json_lines(&format!("runs/{name}/metrics.jsonl"));
        lines.iter().filter_map(|line| line.get("loss").cloned()).collect()
    };
    assert_eq!(losses("named").len(), 6);
    assert_eq!(losses("named"), losses("trial"));
    let weights =
        |name: &str| std::fs::read(place.path(&format!("runs/{name}/adapter/adapter_model.safetensors")));
    assert_eq!(weights("named").unwrap(), weights("trial").unwrap());

    // The run keeps the name, and the adapter has it as Python writes it.
    assert!(place.read("runs/named/config.toml").contains("path = \"hf://google/tiny\""));
    let config = place.json("runs/named/adapter/adapter_config.json");
    assert_eq!(config["base_model_name_or_path"], "google/tiny");
    assert!(config["revision"].is_null());

    // Everything is in the cache, and the adapter is followed to its base.
    let local = place.good(&format!(
        "generate --model {BASE} --adapter DIR/runs/trial/adapter --max-new-tokens 4 --prompt Hello"
    ));
    for way in ["--adapter DIR/runs/named/adapter", "--run DIR/runs/named"] {
        let line = format!("generate {way} --max-new-tokens 4 --prompt Hello");
        assert_eq!(hub.offline(&line).good(), local, "{way}");
    }
    let shown = hub.offline("inspect DIR/runs/named/adapter").good();
    assert!(shown.contains("model       hf://google/tiny\n"), "{shown}");
    hub.offline("export --adapter DIR/runs/named/adapter DIR/merged").good();
    assert!(place.read("merged/config.json").contains("d_model"));
    hub.offline("evaluate DIR/runs/named").good();
    let more = "train DIR/runs/named/config.toml --resume";
    assert!(hub.offline(more).stderr.contains("is trained already"));
}

#[test]
fn an_adapter_keeps_the_revision_of_its_base() {
    let hub = Hub::new();
    hub.run(
        "train DIR/trial.toml model.path=hf://google/tiny@v1.0 evaluation.before_rows=0 evaluation.rows=1",
    )
    .good();
    let config = hub.place.json("runs/trial/adapter/adapter_config.json");
    assert_eq!(
        (config["base_model_name_or_path"].as_str(), config["revision"].as_str()),
        (Some("google/tiny"), Some("v1.0"))
    );
    assert!(
        hub.place
            .read("runs/trial/adapter/README.md")
            .contains("from_pretrained(\"google/tiny\", revision=\"v1.0\")")
    );
    let shown = hub.offline("inspect DIR/runs/trial/adapter").good();
    assert!(shown.contains("model       hf://google/tiny@v1.0\n"), "{shown}");
}

#[test]
fn an_adapter_of_the_hub_is_put_on_its_base() {
    let hub = Hub::new();
    hub.place.good("train DIR/trial.toml evaluation.before_rows=0 evaluation.rows=1");
    let config = hub.place.read("runs/trial/adapter/adapter_config.json").replace(BASE, "google/tiny");
    hub.server.add("models/me/mine", "adapter_config.json", config);
    let weights = std::fs::read(hub.place.path("runs/trial/adapter/adapter_model.safetensors")).unwrap();
    hub.server.add("models/me/mine", "adapter_model.safetensors", weights);
    let text = hub.run("generate --adapter hf://me/mine --max-new-tokens 4 --prompt Hello").good();
    assert_eq!(text, hub.place.good("generate --run DIR/runs/trial --max-new-tokens 4 --prompt Hello"));
    let shown = hub.run("inspect hf://me/mine").good();
    assert!(shown.contains("adapter     hf://me/mine\n"), "{shown}");
    assert!(hub.run("inspect hf://google/tiny").good().starts_with("model       hf://google/tiny\n"));
}

#[test]
fn a_path_that_is_not_there_is_no_request() {
    let hub = Hub::new();
    hub.run("generate --model google/tiny --prompt Hi").bad(
        2,
        "--model google/tiny: no such folder; a model is one with config.json, model.safetensors and tokenizer.json; did you mean \
         hf://google/tiny?",
    );
    hub.run("inspect google/tiny")
        .bad(2, "google/tiny: no such file or folder; did you mean hf://google/tiny?");
    hub.run("generate --adapter google/tiny --prompt Hi").bad(
        2,
        "--adapter google/tiny: no such folder; an adapter is one with adapter_config.json and adapter_model.safetensors; did \
         you mean hf://google/tiny?",
    );
    assert!(hub.server.requests().is_empty());
}

#[test]
fn what_cannot_be_had_is_said_once() {
    let hub = Hub::new();
    hub.offline("inspect hf://google/tiny").bad(
        1,
        "hf://google/tiny: this revision is not in the cache in DIR/hf/hub, and HF_HUB_OFFLINE is set: unset it to fetch \
         what is missing",
    );
    hub.run("train DIR/trial.toml model.path=hf://tiny/ task.0.train=hf://datasets/a").bad(
        2,
        "DIR/trial.toml: 2 problems\n  \
         `model.path=hf://tiny/`: hf://tiny/: give owner and name, as in hf://google/flan-t5-small\n  \
         `task.0.train=hf://datasets/a`: hf://datasets/a: give owner, name and file, as in \
         hf://datasets/knkarthick/dialogsum/train.csv",
    );
    // An adapter whose base cannot be had is still shown.
    hub.place.good("train DIR/trial.toml evaluation.before_rows=0 evaluation.rows=1");
    hub.place.edit("runs/trial/adapter/adapter_config.json", BASE, "google/huge");
    let outcome = hub.offline("inspect DIR/runs/trial/adapter");
    assert!(
        outcome.stderr.contains("hf://google/huge: this revision is not in the cache"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.good().contains("its base (google/huge) is not here: give it by --model DIR"));
}

#[test]
fn a_vocabulary_of_ones_own_has_to_be_converted() {
    let hub = Hub::new();
    hub.server.state().repositories.get_mut("models/google/tiny").unwrap().remove("tokenizer.json");
    hub.server.add("models/google/tiny", "spiece.model", "not T5's");
    let outcome = hub.run("generate --model hf://google/tiny --prompt Hi");
    let error = outcome.error();
    assert!(
        error.contains(
            "there is a spiece.model, which is not T5's, and no tokenizer.json: write one in Python"
        ),
        "{error}"
    );
}
