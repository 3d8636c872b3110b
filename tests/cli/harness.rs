//! Runs the binary in the workspace's root, on files in a folder of its own.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use candle_core::{Device, Tensor};
use tempfile::TempDir;

/// The model of the tests, and its rows.
pub const BASE: &str = "data/quickstart/base";
pub const TEST_ROWS: &str = "data/quickstart/test.jsonl";

/// A model of 384 tokens without a tokenizer, and an adapter of it.
pub const TINY: &str = "tests/golden/tiny-gated/model";
pub const TINY_LORA: &str = "tests/golden/tiny-gated/adapters/lora";

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The binary, with arguments.
pub fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallow"));
    command.args(arguments).current_dir(root()).env("RUST_BACKTRACE", "0");
    // No test asks the Hub.
    command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", std::env::temp_dir().join("tallow-tests-hub"));
    command.env("TALLOW_CACHE", std::env::temp_dir().join("tallow-tests")).stdin(Stdio::null());
    command
}

/// A folder for one test's files; `DIR` stands for it in arguments, files and what the binary says.
pub struct Place(TempDir);

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// A folder with a config of a run of a second, `DIR/trial.toml`: 6 steps on 12 rows, measured on 3.
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("rows.jsonl", &lines("data/quickstart/train.jsonl", 12));
        place.write("validation.jsonl", &lines("data/quickstart/validation.jsonl", 4));
        place.write(
            "trial.toml",
            &format!(
                r#"name = "trial"
output = "DIR/runs"
seed = 3
threads = 2

[model]
path = "{BASE}"

[method]
kind = "lora"
rank = 4
alpha = 8
dropout = 0.1
target_modules = ["q", "v"]

[training]
steps = 6
batch_size = 4

[evaluation]
before_rows = 2
rows = 3

[evaluation.generation]
max_new_tokens = 6

[[task]]
name = "dialogue-summary"
train = "DIR/rows.jsonl"
validation = "DIR/validation.jsonl"
test = "{TEST_ROWS}"
references = ["summary1", "summary2", "summary3"]
template = "dialogue-summary"
"#
            ),
        );
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A text with this folder's path for `DIR`.
    pub fn real(&self, text: &str) -> String {
        text.replace("DIR", self.0.path().to_str().unwrap())
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, self.real(text)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    pub fn json_lines(&self, name: &str) -> Vec<serde_json::Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Copies a folder of files, to change them.
    pub fn copy(&self, from: &str, to: &str) {
        std::fs::create_dir_all(self.path(to)).unwrap();
        for entry in std::fs::read_dir(root().join(from)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), self.path(to).join(entry.file_name())).unwrap();
        }
    }

    /// Changes a text in a file, which it must hold.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let (text, from, to) = (self.read(name), self.real(from), self.real(to));
        assert!(text.contains(&from), "{name} has no {from}");
        std::fs::write(self.path(name), text.replace(&from, &to)).unwrap();
    }

    /// Every file below a folder, with its bytes.
    pub fn snapshot(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path(name)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
                }
            }
        }
        found
    }

    /// The binary with arguments, split at blanks.
    pub fn command(&self, line: &str) -> Command {
        self.command_with(line, &[])
    }

    /// The same, with more arguments that may hold blanks.
    pub fn command_with(&self, line: &str, more: &[&str]) -> Command {
        let arguments: Vec<String> =
            line.split_whitespace().chain(more.iter().copied()).map(|text| self.real(text)).collect();
        command(arguments.iter().map(String::as_str))
    }

    pub fn run(&self, line: &str) -> Outcome {
        self.outcome(self.command(line))
    }

    pub fn run_with(&self, line: &str, more: &[&str]) -> Outcome {
        self.outcome(self.command_with(line, more))
    }

    /// Runs with a text as standard input.
    pub fn run_reading(&self, line: &str, input: &str) -> Outcome {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        self.came_to(&child.wait_with_output().unwrap())
    }

    pub fn outcome(&self, mut command: Command) -> Outcome {
        self.came_to(&command.output().unwrap())
    }

    pub fn came_to(&self, output: &std::process::Output) -> Outcome {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            text.replace(self.0.path().to_str().unwrap(), "DIR")
        };
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(!stderr.contains("panicked"), "{stderr}");
        Outcome { code: output.status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Runs what must succeed; gives its standard output.
    pub fn good(&self, line: &str) -> String {
        self.run(line).good()
    }

    /// Runs what must fail: with this exit code, and these last words.
    #[track_caller]
    pub fn bad(&self, line: &str, code: i32, error: &str) {
        self.run(line).bad(code, error);
    }
}

impl Outcome {
    #[track_caller]
    pub fn good(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }

    /// What it says from `error: ` on.
    pub fn error(&self) -> &str {
        let start = self.stderr.find("error: ").unwrap_or_else(|| panic!("no error: {self:?}"));
        self.stderr[start..].trim_end()
    }

    #[track_caller]
    pub fn bad(&self, code: i32, error: &str) {
        assert_eq!(self.error(), format!("error: {error}"));
        assert_eq!(self.code, code);
        assert_eq!(self.stdout, "");
    }
}

/// The first lines of a file of the workspace.
pub fn lines(file: &str, count: usize) -> String {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    text.lines().take(count).map(|line| format!("{line}\n")).collect()
}

/// Changes the tensors of a file.
pub fn change(place: &Place, name: &str, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let path = place.path(name);
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, &path).unwrap();
}
