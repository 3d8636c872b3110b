//! The tokenizer of the base: a unigram model as T5 has it, but with a vocabulary for these dialogues only.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NFKC, Nmt, Replace, Sequence};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::rows::Rows;
use crate::scenes::Scenes;
use crate::tasks;

/// `<pad>`, `</s>` and `<unk>` have the ids 0, 1 and 2.
const SPECIAL: [&str; 3] = ["<pad>", "</s>", "<unk>"];
/// The sentinels stand at the end of the vocabulary, the highest number first.
const SENTINELS: [&str; 4] = ["<extra_id_3>", "<extra_id_2>", "<extra_id_1>", "<extra_id_0>"];
const SPACE: char = '▁';
/// The tasks read for the vocabulary.
const TASKS: usize = 4000;
/// What the prompts of a run may say besides the tasks' words.
const PROMPT_WORDS: &str = "Summarize the following conversation. Summary: Dialogue: Write a brief summary of this \
     dialogue: Here is a conversation: Give its main points in one or two sentences. In short, what did they talk \
     about? What happens:";

/// Makes the tokenizer from the words of the rows and tasks of a seed.
pub fn make(scenes: &Scenes, seed: u64) -> Result<Tokenizer> {
    let rows = Rows::draw(scenes, seed)?;
    let tasks = tasks::draw(scenes, seed, TASKS)?;
    let texts = rows.dialogues().chain(rows.summaries());
    let texts = texts.chain(tasks.iter().flat_map(|task| [task.prompt.as_str(), task.target.as_str()]));
    let mut counts = BTreeMap::new();
    for text in texts.chain(tasks::ORDINALS).chain([PROMPT_WORDS]) {
        for unit in units(text) {
            *counts.entry(unit).or_insert(0u32) += 1;
        }
    }
    assembled(unigram(&counts)?)
}

/// Writes the tokenizer as `tokenizer.json`.
pub fn save(tokenizer: &Tokenizer, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("tokenizer.json");
    tokenizer
        .save(&path, false)
        .map_err(|e| anyhow!(e))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Reads `tokenizer.json`.
pub fn load(folder: &Path) -> Result<Tokenizer> {
    let path = folder.join("tokenizer.json");
    Tokenizer::from_file(&path)
        .map_err(|e| anyhow!(e))
        .with_context(|| format!("cannot read {}", path.display()))
}

/// The words of a text, each with its space, and the signs behind them. A piece never holds a word together with a
/// sign, so that a word has one spelling in pieces wherever it stands, and can be copied from any place to any other.
fn units(text: &str) -> Vec<String> {
    let mut units = Vec::new();
    for word in text.split_whitespace() {
        if word.starts_with("<extra_id_") {
            continue;
        }
        let body = word.trim_end_matches(['.', ',', '?', '!', ':']);
        let signs = word[body.len()..].chars().map(String::from);
        let (stem, possessive) =
            body.strip_suffix("'s").map_or((body, None), |stem| (stem, Some("'s".to_owned())));
        units.push(format!("{SPACE}{stem}"));
        units.extend(possessive);
        units.extend(signs);
    }
    units
}

/// The model with a piece for every unit, scored by its share of all units, and one for every printable character of
/// ASCII, for whatever else a reader types. A dialogue has so few words that each can have a piece of its own: then a
/// name or a value is copied in one step, which a tiny model learns far sooner than spelling.
fn unigram(counts: &BTreeMap<String, u32>) -> Result<Unigram> {
    let total: u32 = counts.values().sum();
    // Rounded, so that the last bit of a platform's logarithm is not in the file.
    let score = |count: u32| ((f64::from(count) / f64::from(total)).ln() * 1e4).round() / 1e4;
    let mut pieces: Vec<(String, f64)> =
        counts.iter().map(|(unit, &count)| (unit.clone(), score(count))).collect();
    pieces.sort_by(|(_, first), (_, second)| second.total_cmp(first));
    // So low that a word with a piece of its own is never spelt.
    let spelt = score(1) - 5.0;
    let characters = ('!'..='~').chain([SPACE]).map(String::from);
    let characters = characters.filter(|character| !counts.contains_key(character)).map(|c| (c, spelt));
    let fixed = |token: &str| (token.to_owned(), 0.0);
    let vocabulary = SPECIAL
        .into_iter()
        .map(fixed)
        .chain(pieces)
        .chain(characters)
        .chain(SENTINELS.into_iter().map(fixed));
    Unigram::from(vocabulary.collect(), Some(2), false).map_err(|e| anyhow!(e))
}

/// Puts normalizer, pre-tokenizer, post-processor and decoder around the model, as in T5's `tokenizer.json`.
fn assembled(model: Unigram) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(model);
    let spaces = Replace::new(ReplacePattern::Regex(" {2,}".into()), " ").map_err(|e| anyhow!(e))?;
    let metaspace = Metaspace::new(SPACE, PrependScheme::Always, true);
    let ending = TemplateProcessing::builder()
        .try_single("$A </s>")
        .and_then(|builder| builder.try_pair("$A </s> $B </s>"))
        .map_err(|e| anyhow!(e))?
        .special_tokens(vec![("</s>", 1)])
        .build()?;
    tokenizer
        // Nmt makes a space of every line break, as the charsmap of T5 does.
        .with_normalizer(Some(Sequence::new(vec![Nmt.into(), NFKC.into(), spaces.into()])))
        .map_err(|e| anyhow!(e))?
        .with_pre_tokenizer(Some(metaspace.clone()))
        .with_post_processor(Some(ending))
        .with_decoder(Some(metaspace));
    let special =
        SPECIAL.into_iter().chain(SENTINELS).map(|token| AddedToken::from(token, true).normalized(false));
    tokenizer.add_special_tokens(special).map_err(|e| anyhow!(e))?;
    for (id, token) in (0u32..).zip(SPECIAL) {
        ensure!(tokenizer.token_to_id(token) == Some(id), "{token} must have the id {id}");
    }
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (Scenes, Tokenizer) {
        let scenes = Scenes::load().unwrap();
        let tokenizer = make(&scenes, crate::SEED).unwrap();
        (scenes, tokenizer)
    }

    #[test]
    fn every_text_comes_back_but_for_its_line_breaks() {
        let (scenes, tokenizer) = made();
        let rows = Rows::draw(&scenes, crate::SEED).unwrap();
        let typed = ["Zoe's quiz: 3 foxes & (maybe) 1,299 \"jumps\"~"];
        for text in rows.dialogues().chain(rows.summaries()).chain(typed) {
            let encoding = tokenizer.encode(text, true).unwrap();
            let ids = encoding.get_ids();
            assert!(!ids.contains(&2), "<unk> in {text}");
            assert_eq!(ids.last(), Some(&1));
            assert_eq!(tokenizer.decode(ids, true).unwrap(), text.replace('\n', " "));
        }
    }

    #[test]
    fn sentinels_are_one_token_and_words_have_one_spelling() {
        let (_, tokenizer) = made();
        let ids = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        assert_eq!(ids("<extra_id_0>").len(), 1);
        assert_eq!(ids("Mia came.")[0], ids("Mia: Hello.")[0]);
        assert_eq!(ids("on Friday")[1], ids("on Friday, at")[1]);
    }

    #[test]
    fn making_it_twice_gives_the_same_file() {
        let ((_, first), (_, second)) = (made(), made());
        assert_eq!(first.to_string(false).unwrap(), second.to_string(false).unwrap());
    }

    #[test]
    fn a_word_its_possessive_and_its_signs_are_units() {
        assert_eq!(
            units("Mia's bag, #Person1#: I'm <extra_id_0>."),
            ["▁Mia", "'s", "▁bag", ",", "▁#Person1#", ":", "▁I'm"]
        );
    }
}
