//! What a run leaves to look at: report.html, and events for TensorBoard.

use std::path::PathBuf;

use scraper::{Html, Selector};
use serde_json::Value;

use crate::harness::{Place, TEST_ROWS, lines};

fn page(place: &Place, name: &str) -> Html {
    let text = place.read(name);
    let html = Html::parse_document(&text);
    assert_eq!(html.errors, Vec::<String>::new(), "{text}");
    for from_elsewhere in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!text.contains(from_elsewhere), "{from_elsewhere}");
    }
    html
}

fn texts(html: &Html, selector: &str) -> Vec<String> {
    html.select(&Selector::parse(selector).unwrap()).map(|element| element.text().collect()).collect()
}

fn events(place: &Place, run: &str) -> Vec<PathBuf> {
    let files = place.snapshot(&format!("runs/{run}")).into_keys();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files.filter(|path| name(path).starts_with("events.out.tfevents.")).collect()
}

/// The bodies of a file's records, whose checksums must hold: CRC-32C, bit by bit.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let masked = |bytes: &[u8]| {
        let bit = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        let crc = !bytes.iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), bit));
        crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
    };
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(bytes[8..12], masked(&bytes[..8]));
        let body = &bytes[12..12 + length];
        assert_eq!(bytes[12 + length..16 + length], masked(body));
        found.push(body.to_vec());
        bytes = &bytes[16 + length..];
    }
    found
}

fn count(records: &[Vec<u8>], tag: &str) -> usize {
    records.iter().filter(|record| record.windows(tag.len()).any(|part| part == tag.as_bytes())).count()
}

#[test]
fn a_run_leaves_a_page() {
    let place = Place::new();
    // Dialogues that would do harm.
    let rows = lines(TEST_ROWS, 3).replace("\"dialogue\":\"", "\"dialogue\":\"</script><b>");
    assert!(rows.contains("</script>"));
    place.write("test.jsonl", &rows);
    place.good("train DIR/trial.toml task.0.test=DIR/test.jsonl");
    let html = page(&place, "runs/trial/report.html");
    assert_eq!(texts(&html, "h1"), ["trial"]);
    assert_eq!(texts(&html, "h2"), ["ROUGE", "Training", "Outputs", "Adapter", "Config"]);
    assert_eq!(texts(&html, ".sample").len(), 2);
    assert_eq!(texts(&html, ".heat caption"), ["encoder", "decoder"]);
    assert!(texts(&html, ".prompt .text").iter().all(|prompt| prompt.contains("</script><b>")));
    let figures: Value = serde_json::from_str(&texts(&html, "script#figures")[0]).unwrap();
    let run = &figures["runs"][0];
    assert_eq!((&run["steps"], &run["state"]), (&6.into(), &"measured".into()));
    assert_eq!(run["evaluation"], place.json("runs/trial/evaluation.json"));
    assert!(run["facts"]["parts"][0]["seconds"].as_f64().unwrap() > 0.0);

    // The same page and figures again.
    let before = place.read("runs/trial/report.html");
    std::fs::remove_file(place.path("runs/trial/report.html")).unwrap();
    place.good("report DIR/runs/trial");
    assert_eq!(place.read("runs/trial/report.html"), before);
    let json = place.real(&place.good("report DIR/runs/trial --json"));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json, figures);
}

#[test]
fn several_runs_go_on_one_page() {
    let place = Place::new();
    place.good("train DIR/trial.toml");
    place.good("train DIR/trial.toml name=other method.rank=2 tensorboard=false");
    place.good("report DIR/runs/trial DIR/runs/other --output DIR/both.html");
    let html = page(&place, "both.html");
    assert_eq!(texts(&html, ".figures thead th"), ["", "trial", "other"]);
    assert_eq!(texts(&html, ".keys tbody tr"), ["method.rank42", "tensorboardtruefalse"]);
    place.bad(
        "report DIR/runs/trial DIR/runs/other",
        1,
        "several runs are drawn on one page: say where it goes by --output FILE",
    );
    place.bad(
        "report DIR/runs",
        1,
        "DIR/runs: cannot draw the run: DIR/runs: no config.toml: it is not a run's folder",
    );
    place.write("runs/other/evaluation.json", "{");
    place.bad(
        "report DIR/runs/trial DIR/runs/other --json",
        1,
        "DIR/runs/other: cannot draw the run: DIR/runs/other/evaluation.json:1: EOF while parsing an object at line 1 \
         column 1",
    );
}

#[test]
fn a_run_leaves_events_that_check() {
    let place = Place::new();
    place.good("train DIR/trial.toml");
    let files = events(&place, "trial");
    assert_eq!(files.len(), 1);
    let found = records(&std::fs::read(&files[0]).unwrap());
    // The version, the start, ROUGE before, 6 steps, a validation, ROUGE after over both numbers of rows.
    assert_eq!(found.len(), 12);
    for (tag, times) in [
        ("train/loss", 6),
        ("train/learning_rate", 6),
        ("train/grad_norm", 6),
        ("train/tokens_per_second", 6),
        ("validation/loss", 1),
        ("before/rougeLsum", 1),
        ("after/rouge1", 1),
        ("after_same_rows/rouge1", 1),
    ] {
        assert_eq!(count(&found, tag), times, "{tag}");
    }
    // A run that is done has no more to tell.
    place.good("train DIR/trial.toml --resume");
    assert_eq!(events(&place, "trial"), files);
    place.good("train DIR/trial.toml name=without tensorboard=false");
    assert_eq!(events(&place, "without").len(), 0);
}
