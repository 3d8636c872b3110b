//! The tokenizer of the base: a unigram model as T5 has it, but with a vocabulary for these dialogues only.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
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
/// The size the trainer prunes to; it drops what no unit needs, so it may end below. Enough for a piece for nearly
/// every word: then a name or a value is copied in one step, which a tiny model learns far sooner than spelling.
const MOST_PIECES: usize = 1088;
/// Steps of expectation and maximization between prunings. With fewer, the most frequent short words ("I", "a") are
/// still split into a space and a letter.
const SUB_ITERATIONS: u32 = 8;
/// What the prompts of a run may say besides the tasks' words.
const PROMPT_WORDS: &str = "Summarize the following conversation. Summary: Dialogue: Write a brief summary of this \
     dialogue: Here is a conversation: Give its main points in one or two sentences. In short, what did they talk \
     about? What happens:";

/// Trains the tokenizer on the words of the rows and tasks of a seed.
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

/// Trains the model on the units.
fn unigram(counts: &BTreeMap<String, u32>) -> Result<Unigram> {
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        .vocab_size((MOST_PIECES - SPECIAL.len() - SENTINELS.len()) as u32)
        .n_sub_iterations(SUB_ITERATIONS)
        .build()?;
    // In one thread, for the trainer adds up in as many parts as there are threads, and rounds accordingly. Not by
    // its `feed`, which would give it the sentences in the order of a hash map.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut model = Unigram::default();
    pool.install(|| trainer.do_train(sentences(counts), &mut model)).map_err(|e| anyhow!(e))?;

    // Rounded, so that the last bit of a platform's logarithm is not in the file, and sorted anew, for the trainer
    // leaves characters of the same score in the order of a hash map.
    let rounded = |score: f64| (score * 1e4).round() / 1e4;
    let mut pieces: Vec<(String, f64)> =
        model.iter().map(|(piece, score)| (piece.clone(), rounded(*score))).collect();
    pieces.sort_by(|(a, first), (b, second)| second.total_cmp(first).then_with(|| a.cmp(b)));
    let fixed = |token: &str| (token.to_owned(), 0.0);
    let vocabulary =
        SPECIAL.into_iter().map(fixed).chain(pieces).chain(SENTINELS.into_iter().map(fixed)).collect();
    Unigram::from(vocabulary, Some(2), false).map_err(|e| anyhow!(e))
}

/// What the trainer reads: sentences with their counts.
///
/// - Every unit. None holds a word and the space or sign behind it, so no piece does.
/// - Every unit once more with a space behind it, counted as nothing. The trainer starts from the strings that go on
///   in more than one way, and a word given once goes on in one: without this "▁Friday" would not be among them. As
///   the space always ends the sentence, no string with it goes on in two ways.
/// - Every printable character of ASCII on its own, so that each has a piece, for whatever else a reader types.
fn sentences(counts: &BTreeMap<String, u32>) -> Vec<(String, u32)> {
    let units = counts.iter().map(|(unit, &count)| (unit.clone(), count));
    let continued = counts.keys().map(|unit| (format!("{unit}{SPACE}"), 0));
    let characters = ('!'..='~').chain([SPACE]).map(|character| (character.to_string(), 1));
    units.chain(continued).chain(characters).collect()
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
    use std::collections::BTreeSet;

    fn made() -> (Scenes, Tokenizer) {
        let scenes = Scenes::load().unwrap();
        let tokenizer = make(&scenes, crate::SEED).unwrap();
        (scenes, tokenizer)
    }

    fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        tokenizer.encode(text, false).unwrap().get_tokens().to_vec()
    }

    #[test]
    fn every_text_comes_back_but_for_its_line_breaks() {
        let (scenes, tokenizer) = made();
        let rows = Rows::draw(&scenes, crate::SEED).unwrap();
        let ascii = String::from_iter('!'..='~');
        let spread = ascii.chars().rev().map(String::from).collect::<Vec<_>>().join(" ");
        let typed = ["Zoe's quiz: 3 foxes & (maybe) 1,299 \"jumps\"~", &ascii, &spread];
        for text in rows.dialogues().chain(rows.summaries()).chain(typed) {
            let encoding = tokenizer.encode(text, true).unwrap();
            let ids = encoding.get_ids();
            assert!(!ids.contains(&2), "<unk> in {text}");
            assert_eq!(ids.last(), Some(&1));
            assert_eq!(tokenizer.decode(ids, true).unwrap(), text.replace('\n', " "));
        }
    }

    #[test]
    fn sentinels_are_one_token() {
        let (_, tokenizer) = made();
        for sentinel in SENTINELS {
            assert_eq!(pieces(&tokenizer, sentinel).len(), 1);
        }
    }

    #[test]
    fn a_word_has_the_same_pieces_whatever_stands_behind_it() {
        let (scenes, tokenizer) = made();
        let rows = Rows::draw(&scenes, crate::SEED).unwrap();
        let words: BTreeSet<&str> =
            rows.dialogues().chain(rows.summaries()).flat_map(str::split_whitespace).collect();
        for word in words {
            let units = units(word);
            let mut expected = pieces(&tokenizer, &units[0]);
            // What stands behind a word is one piece each.
            expected.extend_from_slice(&units[1..]);
            assert_eq!(pieces(&tokenizer, word), expected, "{word}");
        }
    }

    #[test]
    fn most_words_are_one_piece_and_no_piece_goes_over_a_space() {
        let (scenes, tokenizer) = made();
        let rows = Rows::draw(&scenes, crate::SEED).unwrap();
        let texts = rows.dialogues().chain(rows.summaries());
        let words: BTreeSet<String> = texts.flat_map(units).filter(|unit| unit.starts_with(SPACE)).collect();
        let whole = words.iter().filter(|word| pieces(&tokenizer, word).len() == 1).count();
        assert!(whole * 10 >= words.len() * 9, "{whole} of {}", words.len());
        for word in ["Mia", "#Person2#", "Friday", "o'clock", "library", "I", "a"] {
            assert_eq!(pieces(&tokenizer, word).len(), 1, "{word}");
        }
        for piece in tokenizer.get_vocab(false).into_keys() {
            assert!(!piece.chars().skip(1).any(|character| character == SPACE), "{piece}");
        }
        assert!(tokenizer.get_vocab_size(true) <= MOST_PIECES);
    }

    #[test]
    fn making_it_twice_gives_the_same_file() {
        let ((_, first), (_, second)) = (made(), made());
        assert_eq!(first.to_string(false).unwrap(), second.to_string(false).unwrap());
    }

    #[test]
    fn the_file_in_the_repository_is_that_of_the_default_seed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/quickstart/base");
        let text = std::fs::read_to_string(folder.join("tokenizer.json")).unwrap();
        assert_eq!(text, made().1.to_string(false).unwrap());
    }

    #[test]
    fn a_word_its_possessive_and_its_signs_are_units() {
        assert_eq!(
            units("Mia's bag, #Person1#: I'm <extra_id_0>."),
            ["▁Mia", "'s", "▁bag", ",", "▁#Person1#", ":", "▁I'm"]
        );
    }
}
