//! Pages of runs that are whole, hostile, cut short or broken.

use std::fmt::Write;
use std::path::Path;

use scraper::{Html, Selector};
use serde_json::{Value, json};
use tallow_report::{LayerNorm, Run, figures, page};

/// What would do harm if it were not escaped.
const HOSTILE: &str =
    "</script><script>alert(1)</script><b>\"bold\" & 'brave'<!-- \u{0}\u{7} </pre></textarea>";

struct Folder(tempfile::TempDir);

impl Folder {
    /// A run of so many steps, with all files.
    fn new(steps: usize) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("config.toml", "name = \"a <run>\"\nseed = 1\n[method]\nkind = \"lora\"\nrank = 8\n");
        let mut log = String::new();
        for step in 1..=steps {
            let (loss, memory) = (1.0 + 4.0 / step as f64, 500_000_000 + step);
            let _ = writeln!(
                log,
                "{{\"step\":{step},\"epoch\":0,\"loss\":{loss},\"grad_norm\":0.5,\"learning_rate\":1e-3,\"tokens\":100,\
                 \"seconds\":0.25,\"peak_memory\":{memory}}}"
            );
        }
        let _ = writeln!(log, "{{\"step\":{steps},\"validation_loss\":1.25,\"best\":true}}");
        folder.write("metrics.jsonl", &log);
        let facts = json!({ "version": "1", "method": HOSTILE, "trainable": 10, "parameters": 1000,
            "parts": [{ "after_step": 0, "started": "2026-11-22T02:25:11Z", "seconds": 9.5, "machine": HOSTILE }] });
        folder.write("run.json", &facts.to_string());
        let scores = |f: f64| {
            json!({ "rows": 2, "stemmer": true, "references": "best",
            "rouge": { "rouge1": { "precision": f, "recall": f, "fmeasure": f } } })
        };
        let evaluation = json!({ "before": scores(0.1), "after_same_rows": null, "after": scores(0.5) });
        folder.write("evaluation.json", &evaluation.to_string());
        let row = |name: &str, text: &str| {
            json!({ "row": name, "prompt": HOSTILE, "prediction": text,
            "references": [HOSTILE, "a brave bold cat"] })
            .to_string()
                + "\n"
        };
        folder.write("predictions_before.jsonl", &(row("x:1", "cat") + &row("x:2", "")));
        folder.write("predictions.jsonl", &(row("x:1", HOSTILE) + &row("x:2", "a brave cats")));
        std::fs::create_dir(folder.path().join("adapter")).unwrap();
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).unwrap();
    }

    fn run(&self) -> Run {
        let norm = |layer: &str, norm| LayerNorm { layer: layer.into(), norm };
        let adapter = vec![norm("encoder.block.0.layer.0.SelfAttention.q", 1.5), norm(HOSTILE, 0.5)];
        Run::read(self.path(), adapter).unwrap()
    }

    fn error(&self) -> String {
        let error = Run::read(self.path(), Vec::new()).err().expect("this should have been refused");
        error.to_string().replace(self.path().to_str().unwrap(), "RUN")
    }
}

/// The page, which must be HTML without an error.
fn parsed(runs: &[Run]) -> Html {
    let text = page(runs);
    let found = Html::parse_document(&text);
    assert_eq!(found.errors, Vec::<String>::new());
    assert!(!text.contains("NaN") && !text.contains("http"), "{text}");
    found
}

fn texts(html: &Html, selector: &str) -> Vec<String> {
    html.select(&Selector::parse(selector).unwrap()).map(|element| element.text().collect()).collect()
}

#[test]
fn a_page_has_every_section() {
    let html = parsed(&[Folder::new(40).run()]);
    assert_eq!(texts(&html, "h1"), ["a <run>"]);
    assert_eq!(texts(&html, "h2"), ["ROUGE", "Training", "Outputs", "Adapter", "Config"]);
    assert_eq!(texts(&html, "figure h3"), ["Loss", "Learning rate", "Gradient norm", "Speed", "Memory"]);
    assert_eq!(texts(&html, ".scores td"), ["10.00", "50.00", "+40.00", ""]);
    assert_eq!(texts(&html, ".eyebrow"), ["Trained and measured"]);
}

#[test]
fn what_a_run_holds_does_no_harm() {
    let html = parsed(&[Folder::new(3).run()]);
    // The page's own two, and no element of the run's.
    assert_eq!(html.select(&Selector::parse("script").unwrap()).count(), 2);
    assert_eq!(texts(&html, "b, textarea"), Vec::<String>::new());
    let shown = HOSTILE.replace(['\u{0}', '\u{7}'], "\u{fffd}");
    assert_eq!(texts(&html, ".prompt .text"), [shown.as_str(), &shown]);
    assert!(texts(&html, ".facts dd").iter().any(|text| text.starts_with(&shown)));
    let figures: Value = serde_json::from_str(&texts(&html, "script#figures")[0]).unwrap();
    assert_eq!(figures["runs"][0]["facts"]["version"], "1");
    assert_eq!(figures["runs"][0]["samples"][0]["after"]["text"], HOSTILE);
}

#[test]
fn words_that_count_are_marked() {
    let html = parsed(&[Folder::new(3).run()]);
    // The stem of cats is there. The row with the higher score comes first.
    assert_eq!(texts(&html, ".sample h3"), ["x:1", "x:2"]);
    assert_eq!(texts(&html, ".sample:last-child mark"), ["a", "brave", "cats"]);
    assert_eq!(texts(&html, ".sample:last-child .nearest"), ["a brave bold cat"]);
}

#[test]
fn what_is_missing_leaves_its_section_out() {
    let folder = Folder::new(1);
    for file in ["evaluation.json", "predictions.jsonl", "predictions_before.jsonl", "run.json"] {
        folder.remove(file);
    }
    std::fs::remove_dir(folder.path().join("adapter")).unwrap();
    let line =
        r#"{"step":1,"epoch":0,"loss":2.0,"grad_norm":0.5,"learning_rate":0.0,"tokens":100,"seconds":0.0}"#;
    // The second line is being written.
    folder.write("metrics.jsonl", &format!("{line}\n{{\"step\":2,\"epo"));
    let html = parsed(&[Run::read(folder.path(), Vec::new()).unwrap()]);
    assert_eq!(texts(&html, "h2"), ["Training", "Config"]);
    assert_eq!(texts(&html, "figure h3"), ["Loss", "Learning rate", "Gradient norm", "Speed"]);
    assert_eq!(texts(&html, ".eyebrow"), ["Stopped after step 1"]);
}

#[test]
fn a_long_run_is_thinned() {
    let folder = Folder::new(100_000);
    let run = [folder.run()];
    let html = parsed(&run);
    assert_eq!(texts(&html, ".chart .x")[..2], ["0", "20,000"]);
    assert!(page(&run).len() < 400_000, "{}", page(&run).len());
    let found = figures(&run);
    assert_eq!(found["runs"][0]["steps"], 100_000);
    assert_eq!(found["runs"][0]["tokens"], 10_000_000);
    let curve = found["runs"][0]["curves"]["loss"].as_array().unwrap();
    assert!(curve.len() <= 600);
    assert_eq!((&curve[0], &curve[curve.len() - 1][0]), (&json!([1, 5.0]), &json!(100_000)));
}

#[test]
fn several_runs_stand_side_by_side() {
    let (one, other) = (Folder::new(30), Folder::new(60));
    other.write("config.toml", "name = \"a <run>\"\nseed = 2\n[method]\nkind = \"lora\"\nrank = 8\n");
    other.remove("evaluation.json");
    let mut runs = vec![one.run(), other.run()];
    Run::tell_apart(&mut runs);
    let html = parsed(&runs);
    let paths = [one.path().to_str().unwrap(), other.path().to_str().unwrap()];
    assert_eq!(texts(&html, ".figures thead th")[1..], paths);
    assert_eq!(texts(&html, ".keys tbody tr"), ["seed12"]);
    assert_eq!(texts(&html, "figure h3")[..2], ["Loss", "Validation loss"]);
    assert_eq!(texts(&html, "figure:first-child .legend li"), paths);
    let rouge: Vec<String> =
        texts(&html, ".figures tbody tr").into_iter().filter(|row| row.starts_with("rouge1")).collect();
    assert_eq!(rouge, ["rouge150.00–"]);
    assert_eq!(figures(&runs)["differences"], json!([{ "key": "seed", "values": ["1", "2"] }]));
}

#[test]
fn scores_that_do_not_compare_have_no_best() {
    let (one, other) = (Folder::new(3), Folder::new(3));
    let evaluation = std::fs::read_to_string(one.path().join("evaluation.json")).unwrap();
    other.write("evaluation.json", &evaluation.replace("0.5", "0.75"));
    let best = || texts(&parsed(&[one.run(), other.run()]), ".figures .best");
    assert_eq!(best(), ["75.00"]);
    other.write("evaluation.json", &evaluation.replace("0.5", "0.75").replace("\"rows\":2", "\"rows\":3"));
    assert_eq!(best(), Vec::<String>::new());
}

#[test]
fn a_broken_file_is_named() {
    let folder = Folder::new(2);
    let cases = [
        (
            "metrics.jsonl",
            "{\"step\":1}\n",
            "RUN/metrics.jsonl:1: neither a step nor a validation: {\"step\":1}",
        ),
        ("metrics.jsonl", "\n", "RUN/metrics.jsonl:1: EOF while parsing a value at line 2 column 0"),
        ("metrics.jsonl", "", "RUN: no metrics.jsonl: the run has made no step yet"),
        ("predictions.jsonl", "{}\n", "RUN/predictions.jsonl:1: missing field `row` at line 1 column 2"),
        ("evaluation.json", "{\"after\":\n1}", "RUN/evaluation.json:2: "),
        ("run.json", "[", "RUN/run.json:1: "),
        ("config.toml", "name = \n", "RUN/config.toml:1: "),
    ];
    for (file, text, error) in cases {
        let before = std::fs::read_to_string(folder.path().join(file)).unwrap();
        folder.write(file, text);
        let found = folder.error();
        assert!(found.starts_with(error), "{found}");
        folder.write(file, &before);
    }
    folder.remove("config.toml");
    assert_eq!(folder.error(), "RUN: no config.toml: it is not a run's folder");
}
