use anyhow::{Result, bail};
use serde::Serialize;
use tallow_data::{Encoded, Example, Tokenizer};

use crate::args::{Part, PreviewArguments};
use crate::config::load;
use crate::data::{task_tokenizer, test, training, validation};
use crate::progress;

/// A row as the model gets it.
#[derive(Serialize)]
struct Preview<'a> {
    row: String,
    template: &'a str,
    prompt: Side<'a>,
    target: Side<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    references: &'a [String],
}

/// A text and its tokens.
#[derive(Serialize)]
struct Side<'a> {
    text: &'a str,
    /// As the vocabulary writes them, cut where training cuts.
    tokens: Vec<String>,
    /// Tokens that are cut.
    cut: usize,
}

pub fn run(arguments: &PreviewArguments) -> Result<()> {
    let config = load(&arguments.config.config, &arguments.config.overrides)?;
    let tokenizer = task_tokenizer(&config)?;
    let rows = match arguments.part {
        Part::Training => Some(training(&config)?),
        Part::Validation => validation(&config)?,
        Part::Test => test(&config)?,
    };
    let task = config.task();
    let Some(rows) = rows else { bail!("the task `{}` has no {} rows", task.name, arguments.part.name()) };
    for (i, example) in rows.first(arguments.rows)?.iter().enumerate() {
        let preview = Preview {
            row: example.origin.to_string(),
            template: &example.template,
            prompt: side(
                &tokenizer,
                &example.prompt,
                tokenizer.encode(&example.prompt, task.max_source_tokens)?,
            ),
            target: side(
                &tokenizer,
                &example.target,
                tokenizer.encode_target(&example.target, task.max_target_tokens)?,
            ),
            references: if is_reference(example) { &[] } else { &example.references },
        };
        match arguments.json {
            true => progress::print(&serde_json::to_string(&preview)?)?,
            false => progress::print(&format!("{}{}", if i > 0 { "\n" } else { "" }, text(&preview)))?,
        }
    }
    Ok(())
}

/// Whether the target is the only reference.
fn is_reference(example: &Example) -> bool {
    example.references == [example.target.as_str()]
}

fn side<'a>(tokenizer: &Tokenizer, text: &'a str, encoded: Encoded) -> Side<'a> {
    Side { text, tokens: tokenizer.pieces(&encoded.ids), cut: encoded.cut }
}

fn text(preview: &Preview) -> String {
    let mut lines = vec![format!("{}  (template {})", preview.row, preview.template)];
    for (name, side) in [("prompt", &preview.prompt), ("target", &preview.target)] {
        let cut = match side.cut {
            0 => String::new(),
            cut => format!(", {cut} more are cut"),
        };
        lines.push(format!("{name}, {} tokens{cut}", side.tokens.len()));
        lines.extend(side.text.lines().map(|line| format!("  | {line}")));
        lines.push(format!("  = {}", side.tokens.join(" ")));
    }
    for reference in preview.references {
        lines.push("reference".into());
        lines.extend(reference.lines().map(|line| format!("  | {line}")));
    }
    lines.join("\n")
}
