//! How much is said, and how.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{BASE, Place};

#[test]
fn without_a_command_the_help_is_shown() {
    let outcome = Place::new().run("");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""));
    assert!(outcome.stderr.contains("Usage: tallow [OPTIONS] <COMMAND>"), "{}", outcome.stderr);
}

#[test]
fn quiet_leaves_errors_and_the_result() {
    let place = Place::new();
    let outcome = place.run("train DIR/trial.toml --quiet");
    assert_eq!(outcome.stderr, "");
    assert!(outcome.good().starts_with("F1 x 100"));
    let outcome = place.run(&format!("-q generate --model {BASE} --prompt Hello --max-source-tokens 2"));
    assert_eq!((outcome.stderr.as_str(), outcome.stdout.lines().count()), ("", 1));
    assert_eq!(place.run("export -q --run DIR/runs/trial DIR/out").stderr, "");
    assert!(place.path("out/model.safetensors").is_file());
    place.bad(
        "train -q DIR/none.toml",
        2,
        "DIR/none.toml: no such file: give a config file, or a run's folder",
    );
}

#[test]
fn verbose_says_each_stage_and_its_time() {
    let place = Place::new();
    let stages = |line: &str| -> Vec<String> {
        let outcome = place.run(line);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let timed = outcome.stderr.lines().filter_map(|line| line.strip_prefix('[')?.split_once(" s] "));
        let mut last = 0.0;
        timed
            .map(|(seconds, what)| {
                let seconds: f64 = seconds.trim().parse().unwrap();
                assert!(seconds >= last, "{}", outcome.stderr);
                last = seconds;
                what.to_owned()
            })
            .collect()
    };
    let train = stages("train DIR/trial.toml --verbose");
    assert!(
        train[0].starts_with("read the config; cpu kernels on ") && train[0].ends_with(", 2 threads, f32")
    );
    assert_eq!(train[1], "read the tokenizer of 1054 tokens");
    assert_eq!(train[3], "loaded the model of 1460608 parameters");
    assert_eq!(train.last().unwrap(), "measured 3 rows after training");
    let generate = stages(&format!("generate -v --model {BASE} --prompt Hello"));
    assert!(generate.last().unwrap().ends_with(" of memory"), "{generate:?}");
    assert!(stages("evaluate DIR/runs/trial").is_empty());
}

#[test]
fn what_a_training_comes_to_is_json_if_asked_for() {
    let place = Place::new();
    let json = |line: &str| -> Value { serde_json::from_str(&place.good(line)).unwrap() };
    let found = json("train DIR/trial.toml --json");
    assert_eq!(
        (&found["run"], &found["trained"]),
        (&"DIR/runs/trial".into(), &"DIR/runs/trial/adapter".into())
    );
    let figures = place.json("runs/trial/evaluation.json");
    for part in ["before", "after_same_rows", "after"] {
        assert!(figures[part].is_object() && found[part] == figures[part], "{part}: {found}");
    }
    // With nothing to measure on.
    let place = Place::new();
    place.edit("trial.toml", "validation = \"DIR/validation.jsonl\"\n", "");
    place.edit("trial.toml", "test = \"data/quickstart/test.jsonl\"\n", "");
    place.edit("trial.toml", "references = [\"summary1\", \"summary2\", \"summary3\"]\n", "");
    let found: Value = serde_json::from_str(&place.good("train DIR/trial.toml --json")).unwrap();
    assert!(found["after"].is_null() && found["trained"] == "DIR/runs/trial/adapter", "{found}");
}

#[test]
fn shells_and_manuals_know_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.good(&format!("completions {shell}"));
        for word in ["generate", "num-beams", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert!(place.good("man").contains(".TH tallow 1"));
    place.good("man DIR/man");
    let pages: Vec<String> =
        place.snapshot("man").into_keys().map(|path| path.display().to_string()).collect();
    for page in ["tallow.1", "tallow-train.1", "tallow-data-preview.1", "tallow-bench.1"] {
        assert!(pages.iter().any(|path| path.ends_with(&format!("/man/{page}"))), "{page}: {pages:?}");
    }
    assert!(place.read("man/tallow-train.1").contains("resume"));
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let place = Place::new();
    let says = |line: &str, environment: &[(&str, &str)]| {
        let mut command = place.command(line);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color").envs(environment.iter().copied());
        on_terminal(command)
    };
    let (ours, claps) = ("train DIR/none.toml", "trian");
    for line in [ours, claps] {
        assert!(says(line, &[]).starts_with("\u{1b}[1m\u{1b}[31merror:"), "{line}: {:?}", says(line, &[]));
        for off in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
            let said = says(line, &[off]);
            assert!(said.starts_with("error: ") && !said.contains('\u{1b}'), "{line}, {off:?}: {said:?}");
        }
    }
    // What is not drawn as a bar is said as lines.
    let train = "train DIR/trial.toml evaluation.before_rows=0 evaluation.rows=1";
    let said = says(train, &[("TERM", "dumb")]);
    assert!(said.contains("step 6: validation loss ") && !said.contains('\u{1b}'), "{said:?}");
    let said = says(&format!("{train} name=drawn"), &[]);
    assert!(said.contains("step 6: validation loss ") && said.contains('\u{1b}'), "{said:?}");
    assert_eq!(says(&format!("{train} name=quiet -q"), &[]), "");
}

/// What a command prints to standard error that is a terminal.
fn on_terminal(mut command: Command) -> String {
    let (mut ours, mut theirs) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: both places are written, and the others may be null.
    let opened = unsafe { libc::openpty(&mut ours, &mut theirs, null, null.cast(), null.cast()) };
    assert_eq!(opened, 0);
    // SAFETY: they were opened for us.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    let mut child = command.stdout(Stdio::null()).stderr(theirs).spawn().unwrap();
    // The command holds the other end, which is closed when nobody writes to it any more.
    drop(command);
    let mut said = Vec::new();
    // Linux ends with an error.
    let _ = File::from(ours).read_to_end(&mut said);
    child.wait().unwrap();
    String::from_utf8(said).unwrap()
}
