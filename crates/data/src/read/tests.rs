use super::*;
use serde_json::json;

fn read(name: &str, content: impl AsRef<[u8]>) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    read_rows(&path)
}

/// The message, without the folder in front of the file's name.
fn message(name: &str, content: impl AsRef<[u8]>) -> String {
    let message = read(name, content).unwrap_err().to_string();
    message[message.find(name).expect("a message names the file")..].to_string()
}

fn values(rows: &[Row]) -> Vec<Value> {
    rows.iter().map(|row| Value::Object(row.fields.clone())).collect()
}

fn lines(rows: &[Row]) -> Vec<usize> {
    rows.iter().map(|row| row.origin.line).collect()
}

#[test]
fn json_lines() {
    let text = "\u{feff}{\"a\": 1, \"b\": null}\n\n  \n{\"a\": \"two\"}\r\n{\"a\": [3]}";
    for name in ["rows.jsonl", "rows.ndjson", "rows.JSONL", "rows.json"] {
        let rows = read(name, text).unwrap();
        assert_eq!(values(&rows), [json!({"a": 1, "b": null}), json!({"a": "two"}), json!({"a": [3]})]);
        assert_eq!(lines(&rows), [1, 4, 5], "{name}");
    }
}

#[test]
fn json_array() {
    let rows = read("rows.json", "\u{feff}\n [{\"a\": 1},\n  {\"a\":\n 2}\n,{\"a\": \"],[\"}\n]\n").unwrap();
    assert_eq!(values(&rows), [json!({"a": 1}), json!({"a": 2}), json!({"a": "],["})]);
    assert_eq!(lines(&rows), [2, 3, 5]);
    assert_eq!(rows[2].origin.element, Some(3));
}

#[test]
fn comma_separated() {
    let text = "\u{feff}id,text\r\n1,\"one,\n\"\"quoted\"\" \"\r\n\r\n2,5\" disk\n";
    let rows = read("rows.csv", text).unwrap();
    let expected = [json!({"id": "1", "text": "one,\n\"quoted\" "}), json!({"id": "2", "text": "5\" disk"})];
    assert_eq!(values(&rows), expected);
    assert_eq!(lines(&rows), [2, 5]);
}

#[test]
fn malformed_rows_name_their_line() {
    let cases = [
        ("r.jsonl", "{\"a\": 1}\n\n{\"a\": }\n", "r.jsonl:3: malformed row: expected value at column 7"),
        ("r.jsonl", "{\"a\": 1} {}\n", "r.jsonl:1: malformed row: trailing characters at column 10"),
        (
            "r.json",
            "[{\"a\": 1},\n{\"a\":\n oops}]",
            "r.json:3 (element 2): malformed row: expected value at column 2",
        ),
        (
            "r.json",
            "[{\"a\": 1}\n{}]",
            "r.json:2 (element 1): malformed row: expected `,` or `]` behind the element",
        ),
        (
            "r.json",
            "[{\"a\": 1},\n",
            "r.json:2 (element 2): malformed row: the file ends inside the array, `]` is missing",
        ),
        (
            "r.json",
            "[{\"a\": 1}\n",
            "r.json:2 (element 1): malformed row: the file ends inside the array, `]` is missing",
        ),
        ("r.json", "[{\"a\": 1}]\n{}", "r.json:2: malformed row: text behind the array's `]`"),
        (
            "r.csv",
            "a,b\n1,2\n3,\"4\n5,6\n",
            "r.csv:3: malformed row: the quote that a field of this row opens is never closed",
        ),
    ];
    for (name, content, expected) in cases {
        assert_eq!(message(name, content), expected);
    }
}

#[test]
fn rows_must_be_objects() {
    let says = |place: &str, found: &str| {
        format!("{place}: a row must be an object with named columns, this one is {found}")
    };
    assert_eq!(message("r.jsonl", "{}\n[1]\n"), says("r.jsonl:2", "a list"));
    assert_eq!(message("r.jsonl", "null"), says("r.jsonl:1", "null"));
    assert_eq!(message("r.jsonl", "true"), says("r.jsonl:1", "a truth value"));
    assert_eq!(message("r.json", "[{},\n\"x\"]"), says("r.json:2 (element 2)", "a string"));
    assert_eq!(message("r.json", "[ 1 ]"), says("r.json:1 (element 1)", "a number"));
}

#[test]
fn csv_rows_have_the_headers_columns() {
    assert_eq!(message("r.csv", "a,b\n1,2\n1,2,3\n"), "r.csv:3: fields in the row: 3, in the header: 2");
    assert_eq!(
        message("r.csv", "a,b\r\n\r\n\"x\ny\",2\r\n1\r\n"),
        "r.csv:5: fields in the row: 1, in the header: 2"
    );
    assert_eq!(message("r.csv", "\na,b,a\n1,2,3\n"), "r.csv:2: the header names column `a` twice");
}

#[test]
fn files_must_be_utf8() {
    let message_of = |name| message(name, b"{\"a\": 1}\n{\"a\": \"\xe9\"}\n");
    assert_eq!(message_of("r.jsonl"), "r.jsonl:2: not UTF-8 text (byte 16 of the file)");
    assert_eq!(message_of("r.csv"), "r.csv:2: not UTF-8 text (byte 16 of the file)");
}

#[test]
fn files_must_hold_rows() {
    for (name, content) in [
        ("r.jsonl", ""),
        ("r.jsonl", "\u{feff}\n \n"),
        ("r.json", " [ \n]\n"),
        ("r.json", ""),
        ("r.csv", "a,b\n"),
        ("r.csv", ""),
    ] {
        assert_eq!(message(name, content), format!("{name} holds no rows"), "{content:?}");
    }
}

#[test]
fn files_must_exist_and_be_of_a_known_kind() {
    let error = |path: &str| read_rows(Path::new(path)).unwrap_err().to_string();
    assert_eq!(error("nowhere/rows.csv"), "nowhere/rows.csv: no such file");
    assert_eq!(
        error("rows.parquet"),
        "rows.parquet: the kind of file is told by its extension: .jsonl, .ndjson, .json or .csv"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder.json");
    std::fs::create_dir(&path).unwrap();
    let message = read_rows(&path).unwrap_err().to_string();
    assert!(message.contains("folder.json: cannot be read: "), "{message}");
}
