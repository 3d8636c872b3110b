use std::collections::BTreeMap;
use std::io::Write;

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
    for name in ["rows.txt", "rows", "rows.gz", "rows.parquet.gz", "rows.csv.gz.gz"] {
        let kinds = ".jsonl, .ndjson, .json, .csv, .tsv or .parquet, all but the last also with .gz or .zst behind it";
        assert_eq!(error(name), format!("{name}: the kind of file is told by its extension: {kinds}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder.json");
    std::fs::create_dir(&path).unwrap();
    let message = read_rows(&path).unwrap_err().to_string();
    assert!(message.contains("folder.json: cannot be read: "), "{message}");
}

#[test]
fn tab_separated() {
    let rows = read("rows.tsv", "id\ttext\n1\ta, b\n\n2\t\"tab\tand\nline\"\n3\tlast").unwrap();
    let expected = [
        json!({"id": "1", "text": "a, b"}),
        json!({"id": "2", "text": "tab\tand\nline"}),
        json!({"id": "3", "text": "last"}),
    ];
    assert_eq!(values(&rows), expected);
    assert_eq!(lines(&rows), [2, 4, 6]);
}

#[test]
fn lines_are_counted_over_more_than_the_parser_reads_at_a_time() {
    let mut text = String::from("id,text\r\n");
    let mut wanted = Vec::new();
    let mut line = 2;
    for i in 0..5000 {
        let blank = "\r\n".repeat(i % 3);
        text += &format!("{blank}{i},\"a {i}\r\nb\"\r\n");
        wanted.push(line + i % 3);
        line += i % 3 + 2;
    }
    let rows = read("rows.csv", &text).unwrap();
    assert_eq!(lines(&rows), wanted);
    assert_eq!(rows[4999].fields["text"], "a 4999\r\nb");
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_files_are_what_is_in_them() {
    let text = "\u{feff}{\"a\": 1}\n\n{\"a\": \"ü\"}\n";
    // As `cat one.gz two.gz` makes it.
    let twice = [gzip(text), gzip("{\"a\": 3}\n")].concat();
    let rows = read("rows.jsonl.gz", twice).unwrap();
    assert_eq!(values(&rows), [json!({"a": 1}), json!({"a": "ü"}), json!({"a": 3})]);
    assert_eq!(lines(&rows), [1, 3, 4]);
    let rows = read("rows.json.ZST", zstd::encode_all(&b"[{\"a\": 1}]"[..], 1).unwrap()).unwrap();
    assert_eq!(values(&rows), [json!({"a": 1})]);
    assert_eq!(values(&read("rows.csv.gz", gzip("a,b\n1,2\n")).unwrap()), [json!({"a": "1", "b": "2"})]);

    let mut cut = gzip(&"{\"a\": 1}\n".repeat(1000));
    cut.truncate(cut.len() / 2);
    let cut = message("rows.jsonl.gz", cut);
    assert!(cut.starts_with("rows.jsonl.gz: cannot be read: "), "{cut}");
    assert!(message("rows.jsonl.gz", text).starts_with("rows.jsonl.gz: cannot be read: "));
    assert!(message("rows.jsonl.zst", text).starts_with("rows.jsonl.zst: cannot be read: "));
}

/// Two groups of rows with texts, one of them null, a number and a list.
fn parquet() -> Vec<u8> {
    use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use ::parquet::file::writer::SerializedFileWriter;
    let schema = "message rows {
        optional binary text (utf8); required int64 number;
        optional group tags (list) { repeated group list { optional binary element (utf8); } }
    }";
    let schema = ::parquet::schema::parser::parse_message_type(schema).unwrap();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema.into(), Default::default()).unwrap();
    for group in 0..2 {
        let mut group_writer = writer.next_row_group().unwrap();
        let text = |text: &str| ByteArray::from(text);
        let mut column = group_writer.next_column().unwrap().unwrap();
        let texts = [text(&format!("text {group}"))];
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = group_writer.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[7, group], None, None).unwrap();
        column.close().unwrap();
        let mut column = group_writer.next_column().unwrap().unwrap();
        let tags = [text("a"), text("b"), text("c")];
        column.typed::<ByteArrayType>().write_batch(&tags, Some(&[3, 3, 3]), Some(&[0, 1, 0])).unwrap();
        column.close().unwrap();
        group_writer.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn columns_of_parquet() {
    let rows = read("rows.parquet", parquet()).unwrap();
    let row = |group: i64, first: bool| match first {
        true => json!({"text": format!("text {group}"), "number": 7, "tags": ["a", "b"]}),
        false => json!({"text": null, "number": group, "tags": ["c"]}),
    };
    assert_eq!(values(&rows), [row(0, true), row(0, false), row(1, true), row(1, false)]);
    assert!(rows[2].origin.to_string().ends_with("rows.parquet: row 3"));
    assert!(message("rows.parquet", "no").starts_with("rows.parquet: cannot be read: "));
    let mut cut = parquet();
    cut.truncate(100);
    assert!(message("rows.parquet", cut).starts_with("rows.parquet: cannot be read: "));
}

/// A row whose only column is of this kind and has this value.
fn one<T: ::parquet::data_type::DataType>(kind: &str, value: T::T) -> Vec<u8> {
    let schema =
        ::parquet::schema::parser::parse_message_type(&format!("message rows {{ required {kind}; }}"));
    let mut bytes = Vec::new();
    let mut writer = ::parquet::file::writer::SerializedFileWriter::new(
        &mut bytes,
        schema.unwrap().into(),
        Default::default(),
    )
    .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(&[value], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn values_of_parquet() {
    use ::parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArrayType, Int64Type};
    let bytes = |value: &[u8]| one::<ByteArrayType>("binary text", ByteArray::from(value.to_vec()));
    let values = |bytes| values(&read("rows.parquet", bytes).unwrap());
    assert_eq!(values(bytes("ä text".as_bytes())), [json!({"text": "ä text"})]);
    let says = message("rows.parquet", bytes(b"\xff"));
    assert_eq!(says, "rows.parquet: row 1: malformed row: column `text` holds bytes that are not UTF-8 text");
    let time = |value| one::<Int64Type>("int64 at (timestamp_millis)", value);
    assert_eq!(values(time(0)), [json!({"at": "1970-01-01 00:00:00.000 +00:00"})]);
    let says = message("rows.parquet", time(i64::MAX));
    assert_eq!(says, "rows.parquet: row 1: malformed row: column `at` holds a time that is out of range");
    let interval = ByteArray::from(vec![0; 12]).into();
    let says = message(
        "rows.parquet",
        one::<FixedLenByteArrayType>("fixed_len_byte_array(12) i (interval)", interval),
    );
    assert_eq!(says, "rows.parquet: cannot be read: column `i` holds intervals, which are not read");
}

#[test]
fn a_pattern_is_its_files_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("part-2.jsonl", "{\"a\": 3}"),
        ("part-1.jsonl", "{\"a\": 1}\n{\"a\": 2}"),
        ("part-[x].csv", "a\n4"),
        ("other.txt", ""),
        ("._part-1.jsonl", "no rows"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    std::fs::create_dir(folder.path().join("part-3.jsonl")).unwrap();
    let rows = |pattern: &str| -> Result<Vec<Row>> {
        Source::new(&folder.path().join(pattern), &BTreeMap::new())?.rows().collect()
    };
    assert_eq!(rows("*part-?.jsonl").unwrap().len(), 3);
    assert!(rows("._*.jsonl").unwrap_err().to_string().contains("._part-1.jsonl:1: malformed"));
    assert_eq!(values(&rows("part-*.jsonl").unwrap()), [json!({"a": 1}), json!({"a": 2}), json!({"a": 3})]);
    // A file of this name is no pattern.
    assert_eq!(values(&rows("part-[x].csv").unwrap()), [json!({"a": "4"})]);
    let says = |pattern: &str| rows(pattern).unwrap_err().to_string();
    assert!(says("none-*.csv").ends_with("none-*.csv: no file has such a name"), "{}", says("none-*.csv"));
    assert!(says("part-***.csv").contains("part-***.csv: "), "{}", says("part-***.csv"));
    assert!(says("*.txt").contains("other.txt: the kind of file"));
    assert!(says("none.csv").ends_with("none.csv: no such file"));
}

#[test]
fn columns_come_under_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.jsonl");
    std::fs::write(&file, "{\"a\": 1, \"b\": 2, \"c\": 3}\n{\"a\": 4}\n").unwrap();
    let rows = |columns: &[(&str, &str)]| -> Vec<Value> {
        let columns = columns.iter().map(|(new, old)| (new.to_string(), old.to_string())).collect();
        let rows: Vec<Row> = Source::new(&file, &columns).unwrap().rows().map(Result::unwrap).collect();
        values(&rows)
    };
    assert_eq!(rows(&[("x", "a")]), [json!({"b": 2, "c": 3, "x": 1}), json!({"x": 4})]);
    assert_eq!(rows(&[("a", "b"), ("b", "a")]), [json!({"c": 3, "a": 2, "b": 1}), json!({"b": 4})]);
    assert_eq!(rows(&[("b", "a")]), [json!({"b": 1, "c": 3}), json!({"b": 4})]);
}

#[test]
fn nothing_follows_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("1.jsonl", "{\"a\": 1}\n{\n{\"a\": 2}\n"),
        ("2.json", "[{\"a\": 1}, 2, {\"a\": 3}]"),
        ("3.csv", "a,b\n1,2\n1\n1,2\n"),
        ("4.jsonl", "{\"a\": 1}"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let rows = |pattern: &str| -> Vec<bool> {
        let source = Source::new(&folder.path().join(pattern), &BTreeMap::new()).unwrap();
        source.rows().map(|row| row.is_ok()).collect()
    };
    for name in ["1.jsonl", "2.json", "3.csv"] {
        let rows = Rows::open(&folder.path().join(name)).unwrap();
        assert_eq!(rows.map(|row| row.is_ok()).collect::<Vec<_>>(), [true, false], "{name}");
    }
    for pattern in ["1.jsonl", "2.json", "3.csv", "*"] {
        assert_eq!(rows(pattern), [true, false], "{pattern}");
    }
}
