//! The template sets that come along, on the sample rows that come along.

use std::path::{Path, PathBuf};

use tallow_data::{Error, Limits, Part, Prompts, Row, Targets, TemplateSet, Tokenizer, read_rows};

/// Each set that has sample rows, with their file.
const SAMPLES: [(&str, &str); 10] = [
    ("entities", "entities.jsonl"),
    ("entities-of-type", "entities.jsonl"),
    ("qa-choices", "qa-choices.jsonl"),
    ("qa-choices-lettered", "qa-choices.jsonl"),
    ("qa-closed-book", "qa-closed-book.jsonl"),
    ("qa-context", "qa-context.jsonl"),
    ("review-rating", "reviews.jsonl"),
    ("review-sentence", "reviews.jsonl"),
    ("sentiment", "sentiment.jsonl"),
    ("translation", "translation.csv"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rows(file: &str) -> Vec<Row> {
    read_rows(&root().join("data/samples").join(file)).unwrap()
}

#[test]
fn every_template_is_filled_by_every_sample_row_that_it_is_for() {
    for (name, file) in SAMPLES {
        let rows = rows(file);
        assert!((20..=40).contains(&rows.len()), "{file}");
        let set = TemplateSet::named(name).unwrap();
        let mut used = std::collections::HashSet::new();
        for (index, row) in rows.iter().enumerate() {
            // With so many seeds a row gets every template that is for it.
            for seed in 0..100 {
                let template = set.template_for(row, index, seed).unwrap();
                if !used.insert((index, template.name().to_owned())) {
                    continue;
                }
                for part in [Part::Prompt, Part::Target] {
                    let text = template.render(part, row).unwrap();
                    assert!(!text.is_empty(), "{}: {} of {}", row.origin, part.name(), template.name());
                    assert!(!text.contains("{{") && !text.contains("{%"), "{text}");
                }
            }
        }
        let templates: std::collections::HashSet<_> = used.iter().map(|(_, name)| name).collect();
        assert_eq!(templates.len(), set.templates().count(), "{name}");
    }
}

#[test]
fn the_target_of_a_task_is_among_its_options() {
    for (name, file) in SAMPLES {
        let set = TemplateSet::named(name).unwrap().without_inversions();
        for row in &rows(file) {
            for template in set.templates() {
                let Some(options) = template.options(row).unwrap() else { continue };
                let target = template.render(Part::Target, row).unwrap();
                let count = options.iter().filter(|option| **option == target).count();
                assert_eq!(count, 1, "{}: {}: {target} of {options:?}", row.origin, template.name());
            }
        }
    }
}

#[test]
fn inversions_are_the_last() {
    for name in TemplateSet::names() {
        let all = TemplateSet::named(name).unwrap();
        let kept = TemplateSet::named(name).unwrap().without_inversions();
        let names: Vec<&str> = all.templates().map(|template| template.name()).collect();
        let tasks: Vec<&str> = kept.templates().map(|template| template.name()).collect();
        assert_eq!(tasks, names[..tasks.len()], "{name}");
        for inversion in &names[tasks.len()..] {
            assert!(inversion.contains("/inverted-"), "{inversion}");
        }
    }
}

#[test]
fn entities_that_rows_name_are_in_their_texts() {
    for row in rows("entities.jsonl") {
        let text = row.text("text").unwrap().into_owned();
        for entity in row.get("entities").unwrap().as_array().unwrap() {
            let name = entity["text"].as_str().unwrap();
            assert!(text.contains(name), "{}: {name}", row.origin);
            assert!(["person", "place", "organization"].contains(&entity["type"].as_str().unwrap()));
        }
    }
}

#[test]
fn rows_without_an_answer_are_unanswerable_and_rows_without_the_column_wrong() {
    let set = || TemplateSet::named("qa-context").unwrap().only(&["labels".to_owned()]).unwrap();
    let mut row = rows("qa-context.jsonl").into_iter().find(|row| !row.has_content("answer")).unwrap();
    let example = Prompts::new(set(), Targets::Template, 0).example(&row, 0).unwrap();
    assert_eq!(example.target, "unanswerable");
    row.fields.remove("answer");
    let error = Prompts::new(set(), Targets::Template, 0).examples([Ok(row)]).unwrap_err();
    assert!(
        matches!(&error, Error::MissingColumns(missing) if missing.columns[0].column == "answer"),
        "{error}"
    );
}

/// The table in docs/templates.md has a line for each set, with its numbers of templates and inversions.
#[test]
fn the_page_lists_every_set() {
    let page = std::fs::read_to_string(root().join("docs/templates.md")).unwrap();
    let lines: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let listed: Vec<&str> = lines.iter().map(|cells| cells[1].trim_matches('`')).collect();
    assert_eq!(listed, TemplateSet::names().collect::<Vec<_>>());
    for cells in lines {
        let name = cells[1].trim_matches('`');
        let set = TemplateSet::named(name).unwrap();
        for template in set.templates() {
            for part in [Part::Prompt, Part::Target] {
                for column in template.columns(part) {
                    assert!(cells[2].contains(&format!("`{column}`")), "{name}: {column}");
                }
            }
        }
        let all = set.templates().count();
        let inversions = all - set.without_inversions().templates().count();
        assert_eq!(
            (cells[3], cells[5]),
            (all.to_string().as_str(), inversions.to_string().as_str()),
            "{name}"
        );
    }
}

#[test]
fn the_set_on_the_page_is_one() {
    let page = std::fs::read_to_string(root().join("docs/templates.md")).unwrap();
    let text = page.split("```toml\n").nth(2).unwrap().split("```").next().unwrap();
    let set = TemplateSet::from_toml("page", text).unwrap();
    assert_eq!((set.templates().count(), set.without_inversions().templates().count()), (3, 2));
}

/// T5's own vocabulary, where it is at hand: every target comes back from its tokens as it was.
#[test]
fn targets_survive_t5s_vocabulary() {
    let path = root().join("../shared/data/tokenizer/tokenizer.json");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    let limits = Limits { source: 512, target: 128 };
    for (name, file) in SAMPLES {
        for seed in 0..10 {
            let prompts = Prompts::new(TemplateSet::named(name).unwrap(), Targets::Template, seed);
            let examples = prompts.examples(rows(file).into_iter().map(Ok)).unwrap();
            let (_, stats) = tokenizer.tokenize(&examples, limits).unwrap();
            assert_eq!((stats.targets_changed, stats.target.rows_cut), (0, 0), "{name}: {stats}");
        }
    }
}
