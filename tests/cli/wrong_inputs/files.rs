use std::io::Write;

use insta::assert_snapshot;

use super::wrong;
use crate::harness::Place;

#[test]
fn files_of_rows_that_cannot_be_read() {
    let place = Place::new();
    let train = |file: &str, bytes: &[u8]| {
        std::fs::write(place.path(file), bytes).unwrap();
        wrong(&place, &format!("train DIR/trial.toml task.0.train=DIR/{file}"))
    };
    assert_snapshot!(train("empty.jsonl", b"\n"), @"1: error: DIR/empty.jsonl holds no rows");
    assert_snapshot!(train("latin.jsonl", b"{\"dialogue\": \"A: Hi.\"}\n{\"dialogue\": \"A: caf\xe9\"}\n"), @"1: error: DIR/latin.jsonl:2: not UTF-8 text (byte 43 of the file)");
    assert_snapshot!(train("cut.jsonl", b"{\"dialogue\": \"A\", \"summary\": \"B\"}\n\n{\"dialogue\": \"A\",\n"), @"1: error: DIR/cut.jsonl:3: malformed row: EOF while parsing a value at column 17");
    assert_snapshot!(train("list.jsonl", b"[1, 2]\n"), @"1: error: DIR/list.jsonl:1: a row must be an object with named columns, this one is a list");
    assert_snapshot!(train("open.json", b"[{\"dialogue\": \"A\", \"summary\": \"B\"},\n{\"dialogue\": \"A\"}"), @"1: error: DIR/open.json:2 (element 2): malformed row: the file ends inside the array, `]` is missing");
    assert_snapshot!(train("short.csv", b"dialogue,summary\nA: Hi.,Hi.\nA: Bye.\n"), @"1: error: DIR/short.csv:3: fields in the row: 1, in the header: 2");
    assert_snapshot!(train("quote.csv", b"dialogue,summary\nA: Hi.,Hi.\nA: \"Bye.,Bye.\n\"B,b\n"), @"1: error: DIR/quote.csv:4: malformed row: the quote that a field of this row opens is never closed");
    assert_snapshot!(train("twice.csv", b"summary,summary\nA: Hi.,Hi.\n"), @"1: error: DIR/twice.csv:1: the header names column `summary` twice");
    assert_snapshot!(train("none.parquet", b"dialogue,summary\nA: Hi.,Hi.\n"), @"1: error: DIR/none.parquet: cannot be read: Parquet error: Invalid Parquet file. Corrupt footer");
    assert_snapshot!(train("none.jsonl.gz", b"{\"dialogue\": \"A\", \"summary\": \"B\"}\n"), @"1: error: DIR/none.jsonl.gz: cannot be read: invalid gzip header");
    assert_snapshot!(train("rows.xlsx", b"PK"), @"
    2: error: DIR/trial.toml: 1 problem
      `task.0.train=DIR/rows.xlsx`: DIR/rows.xlsx: the kind of file is told by its extension: .jsonl, .ndjson, .json, .csv, .tsv or .parquet, all but the last also with .gz or .zst behind it
    ");
}

#[test]
fn archives_that_are_cut_short() {
    let place = Place::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(place.read("rows.jsonl").as_bytes()).unwrap();
    let whole = gzip.finish().unwrap();
    std::fs::write(place.path("cut.jsonl.gz"), &whole[..whole.len() / 2]).unwrap();
    assert_snapshot!(wrong(&place, "data stats DIR/trial.toml task.0.train=DIR/cut.jsonl.gz"), @"1: error: DIR/cut.jsonl.gz: cannot be read: incomplete deflate stream");
}

#[test]
fn batches_that_cannot_be() {
    let place = Place::new();
    let bench = |line: &str| {
        place.write("bad.jsonl", &format!("{{\"source\": [[5, 1]], \"target\": [[9, 1]]}}\n\n{line}\n"));
        wrong(&place, "bench data/quickstart/base DIR/bad.jsonl")
    };
    assert_snapshot!(bench("{"), @"1: error: DIR/bad.jsonl:3: not a batch of source and target: EOF while parsing an object at line 1 column 1");
    assert_snapshot!(bench("{\"source\": [[5, 1]], \"targets\": [[9, 1]]}"), @"1: error: DIR/bad.jsonl:3: not a batch of source and target: unknown field `targets`, expected `source` or `target` at line 1 column 30");
    assert_snapshot!(bench("{\"source\": [[5, 1], [6]], \"target\": [[9, 1]]}"), @"1: error: DIR/bad.jsonl:3: 2 sources and 1 targets; a batch has as many of each, from 1");
    assert_snapshot!(bench("{\"source\": [[]], \"target\": [[9, 1]]}"), @"1: error: DIR/bad.jsonl:3: a row without tokens");
    assert_snapshot!(bench("{\"source\": [[5, 1]], \"target\": [[9000, 1]]}"), @"1: error: DIR/bad.jsonl:3: token id 9000 is past the model's vocabulary of 1088: is this the model's own tokenizer?");
    place.write("bad.jsonl", "");
    assert_snapshot!(wrong(&place, "bench data/quickstart/base DIR/bad.jsonl"), @"1: error: DIR/bad.jsonl: holds no batches");
}
