use super::*;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A unigram tokenizer of T5's shape: pieces for a few words and letters, of which the likeliest cover wins.
pub(crate) fn tiny() -> Tokenizer {
    Tokenizer::from_file(&written(&tiny_json(&["</s>"])).1).unwrap()
}

fn tiny_json(specials: &[&str]) -> Value {
    let mut vocabulary = vec![json!(["<pad>", 0.0]), json!([specials[0], 0.0]), json!(["<unk>", 0.0])];
    let pieces = [
        ("▁", -2.0),
        ("▁the", -3.0),
        ("▁cat", -4.0),
        ("s", -3.5),
        ("▁sat", -4.5),
        ("a", -5.0),
        ("t", -5.0),
        (".", -3.0),
        ("<extra_id_0>", 0.0),
    ];
    vocabulary.extend(pieces.map(|(piece, score)| json!([piece, score])));
    let added = [(0, "<pad>"), (1, specials[0]), (2, "<unk>"), (11, "<extra_id_0>")];
    let added = added.into_iter().map(|(id, content)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    });
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "post_processor": null,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary},
    })
}

fn written(json: &Value) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, json.to_string()).unwrap();
    (folder, path)
}

#[test]
fn the_end_token_is_last_and_stays() {
    let tokenizer = tiny();
    let encode = |text, max| {
        let Encoded { ids, cut } = tokenizer.encode(text, max).unwrap();
        (ids, cut)
    };
    // ▁the ▁cat s ▁sat . </s>
    assert_eq!(encode("the cats sat.", 100), (vec![4, 5, 6, 7, 10, 1], 0));
    assert_eq!(encode("the cats sat. \n", 6), (vec![4, 5, 6, 7, 10, 1], 0));
    assert_eq!(encode("the cats sat.", 5), (vec![4, 5, 6, 7, 1], 1));
    assert_eq!(encode("the cats sat.", 2), (vec![4, 1], 4));
    assert_eq!(encode("the cats sat.", 1), (vec![1], 5));
    assert_eq!(encode("the cats sat.", 0), (vec![1], 5));
    assert_eq!(encode(" ", 9), (vec![1], 0));
    assert_eq!(encode("the dog", 9), (vec![4, 3, 2, 1], 0));
}

#[test]
fn a_batch_is_its_texts() {
    let tokenizer = tiny();
    let texts: Vec<&str> = ["the cat", "", "cats sat. ", "tat"].into_iter().cycle().take(1100).collect();
    let one_by_one: Vec<_> = texts.iter().map(|text| tokenizer.encode(text, 3).unwrap()).collect();
    assert_eq!(tokenizer.encode_batch(&texts, 3).unwrap(), one_by_one);
}

#[test]
fn decoding_skips_what_is_no_text() {
    let tokenizer = tiny();
    assert_eq!(tokenizer.decode(&[0, 4, 5, 6, 99, 7, u32::MAX, 10, 1, 1]).unwrap(), "the cats sat.");
    assert_eq!(tokenizer.decode(&[]).unwrap(), "");
    assert_eq!(tokenizer.decode(&[77]).unwrap(), "");
}

#[test]
fn line_breaks_are_kept_where_that_is_asked_for() {
    let lines = "the cat \r\n\n the sat\n";
    let ids = |newlines: Newlines| {
        let tokenizer = tiny().with_newlines(newlines).unwrap();
        let (prompt, target) =
            (tokenizer.encode(lines, 99).unwrap(), tokenizer.encode_target(lines, 99).unwrap());
        assert_eq!(tokenizer.encode_batch(&[lines, "cat"], 99).unwrap()[0], prompt);
        assert_eq!(tokenizer.encode_targets(&["cat", lines], 99).unwrap()[1], target);
        (prompt.ids, target.ids, tokenizer.decode(&[4, 5, 11, 11, 4, 7, 1]).unwrap())
    };
    // ▁the ▁cat, two breaks, ▁the ▁sat </s>
    let kept = vec![4, 5, 11, 11, 4, 7, 1];
    let text = "the cat\n\nthe sat".to_owned();
    let (prompt, target, decoded) = ids(Newlines::Blank);
    assert!(!prompt.contains(&11) && prompt == target && decoded == "the cat the sat");
    assert_eq!(ids(Newlines::Targets), (prompt, kept.clone(), text.clone()));
    assert_eq!(ids(Newlines::Both), (kept.clone(), kept, text));
}

#[test]
fn special_ids_are_looked_up() {
    let tokenizer = tiny();
    assert_eq!((tokenizer.end_id(), tokenizer.unknown_id(), tokenizer.vocabulary_size()), (1, Some(2), 12));
}

#[test]
fn a_vocabulary_without_a_sentinel_keeps_no_line_breaks() {
    let mut json = tiny_json(&["</s>"]);
    json["added_tokens"].as_array_mut().unwrap().pop();
    json["model"]["vocab"].as_array_mut().unwrap().pop();
    let (_folder, path) = written(&json);
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    let message = tokenizer.clone().with_newlines(Newlines::Targets).unwrap_err().to_string();
    assert!(
        message.starts_with("line breaks cannot be kept: the vocabulary has no `<extra_id_0>`"),
        "{message}"
    );
    assert!(tokenizer.with_newlines(Newlines::Blank).is_ok());
}

#[test]
fn files_that_are_no_tokenizers() {
    let error = |path: &Path| Tokenizer::from_file(path).unwrap_err().to_string();
    assert_eq!(error(Path::new("nowhere/tokenizer.json")), "nowhere/tokenizer.json: no such file");
    let (_folder, path) = written(&json!({"version": "1.0"}));
    assert!(error(&path).contains("tokenizer.json: not a usable tokenizer: "), "{}", error(&path));
    let (_folder, path) = written(&tiny_json(&["<stop>"]));
    let message = error(&path);
    assert!(message.ends_with("not a usable tokenizer: its vocabulary has no end token `</s>`"), "{message}");
}

#[test]
fn without_an_unknown_token_strange_characters_are_refused() {
    let mut json = tiny_json(&["</s>"]);
    json["model"]["unk_id"] = Value::Null;
    let (_folder, path) = written(&json);
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    let one = tokenizer.encode("the cat x", 9).unwrap_err().to_string();
    assert!(one.starts_with("text starting with \"the cat x\" cannot be tokenised: "), "{one}");
    let many = tokenizer.encode_batch(&["the cat x"], 9).unwrap_err().to_string();
    assert_eq!(many, one);
}

/// The figures of the published T5 tokenizer, which is not part of this repository.
#[test]
fn t5_tokens_are_the_published_ones() {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let golden = shared.join("goldens/tokenizer/tokenizer.jsonl");
    let file = shared.join("data/tokenizer/tokenizer.json");
    if !golden.exists() || !file.exists() {
        println!("skipped: {} or {} is not there", golden.display(), file.display());
        return;
    }
    let tokenizer = Tokenizer::from_file(&file).unwrap();
    assert_eq!((tokenizer.end_id(), tokenizer.vocabulary_size()), (1, 32_100));
    let rows = crate::read_rows(&golden).unwrap();
    assert_eq!(rows.len(), 291);
    for row in rows {
        let text = row.text("text").unwrap();
        let expected: Vec<u32> = serde_json::from_value(row.get("ids_hub_fast").unwrap().clone()).unwrap();
        let encoded = tokenizer.finish(&tokenizer.raw(&text).unwrap(), usize::MAX);
        assert_eq!(encoded.ids, expected, "{}: {text:?}", row.origin);
        assert_eq!(
            tokenizer.decode(&expected).unwrap(),
            row.text("decode_hub_skip").unwrap(),
            "{}",
            row.origin
        );
    }
}
