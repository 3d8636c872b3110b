//! Tokenised rows on disk, found again by what they were made of.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::prompts::Example;
use crate::tokenize::{Limits, Sample, TokenStats};
use crate::tokenizer::Tokenizer;

/// A folder of token rows, each file named by the hash of the tokenizer, the limits and every text.
///
/// It is a convenience: what cannot be read is made anew, and what cannot be written is done without.
#[derive(Debug, Clone)]
pub struct TokenCache {
    folder: PathBuf,
}

/// Counts up when the tokens of the same texts, or their form on disk, change.
const VERSION: u32 = 1;

/// The files that are kept, those used last.
const MOST_FILES: usize = 16;

/// A file's first line; behind it, as little-endian u32: the sources' lengths, the targets', all their ids.
#[derive(Serialize, Deserialize)]
struct Header {
    rows: usize,
    /// Values behind the header.
    values: usize,
    stats: TokenStats,
}

impl TokenCache {
    /// A cache in `folder`, which is made when it is first written to.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// [`Tokenizer::tokenize`], or what it gave for the same texts before.
    ///
    /// # Errors
    ///
    /// Those of `tokenize`.
    pub fn tokenize(
        &self,
        tokenizer: &Tokenizer,
        examples: &[Example],
        limits: Limits,
    ) -> Result<(Vec<Sample>, TokenStats)> {
        let path = self.folder.join(format!("{}.tokens", key(tokenizer, examples, limits)));
        if let Some(found) = read(&path).filter(|(samples, _)| samples.len() == examples.len()) {
            // The files used last are kept.
            let _ = File::options().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now()));
            return Ok(found);
        }
        let (samples, stats) = tokenizer.tokenize(examples, limits)?;
        if self.write(&path, &samples, &stats).is_ok() {
            self.tidy();
        }
        Ok((samples, stats))
    }

    fn write(&self, path: &Path, samples: &[Sample], stats: &TokenStats) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let beside = path.with_extension(format!("{}.part", std::process::id()));
        let written = write(&beside, samples, stats).and_then(|()| std::fs::rename(&beside, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    }

    /// Removes the files that were not used for longest.
    fn tidy(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "tokens"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        for (_, path) in files.into_iter().skip(MOST_FILES) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What the tokens follow from.
fn key(tokenizer: &Tokenizer, examples: &[Example], limits: Limits) -> String {
    let mut hash = Sha256::new();
    hash.update(VERSION.to_le_bytes());
    hash.update(tokenizer.fingerprint());
    for size in [limits.source, limits.target, examples.len()] {
        hash.update((size as u64).to_le_bytes());
    }
    for text in examples.iter().flat_map(|example| [&example.prompt, &example.target]) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, samples: &[Sample], stats: &TokenStats) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let (rows, ids) = (samples.len(), stats.source.tokens + stats.target.tokens);
    let header = Header { rows, values: 2 * rows + ids, stats: stats.clone() };
    serde_json::to_writer(&mut file, &header)?;
    file.write_all(b"\n")?;
    let lengths = samples.iter().map(|row| row.source.len() as u32);
    let lengths = lengths.chain(samples.iter().map(|row| row.target.len() as u32));
    let sides = samples.iter().map(|row| &row.source).chain(samples.iter().map(|row| &row.target));
    for value in lengths.chain(sides.flatten().copied()) {
        file.write_all(&value.to_le_bytes())?;
    }
    file.into_inner()?.sync_data()
}

/// A file's rows; none if it is not there or not whole.
fn read(path: &Path) -> Option<(Vec<Sample>, TokenStats)> {
    let bytes = std::fs::read(path).ok()?;
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let Header { rows, values, stats } = serde_json::from_slice(&bytes[..end]).ok()?;
    let (words, rest) = bytes[end + 1..].as_chunks::<4>();
    if !rest.is_empty() || words.len() != values || values < 2 * rows {
        return None;
    }
    let values: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let (lengths, mut ids) = values.split_at(2 * rows);
    let mut take = |length: &u32| {
        let (row, rest) = ids.split_at_checked(*length as usize)?;
        ids = rest;
        Some(row.to_vec())
    };
    let sources: Vec<Vec<u32>> = lengths[..rows].iter().map(&mut take).collect::<Option<_>>()?;
    let targets: Vec<Vec<u32>> = lengths[rows..].iter().map(&mut take).collect::<Option<_>>()?;
    let rows = sources.into_iter().zip(targets);
    ids.is_empty().then(|| (rows.map(|(source, target)| Sample { source, target }).collect(), stats))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Origin;
    use crate::tokenizer::tests::tiny;

    fn example(prompt: &str, target: &str) -> Example {
        let origin = Origin::new(Path::new("rows.jsonl"), 1);
        Example {
            prompt: prompt.into(),
            target: target.into(),
            references: Vec::new(),
            origin,
            template: "inline".into(),
        }
    }

    fn examples() -> Vec<Example> {
        vec![example("the cats sat.", "the cat"), example("the dog", "{"), example("cat", "the cats sat.")]
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    const LIMITS: Limits = Limits { source: 5, target: 4 };

    #[test]
    fn rows_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TokenCache::new(folder.path().join("tokens"));
        let wanted = tiny().tokenize(&examples(), LIMITS).unwrap();
        for _ in 0..2 {
            assert_eq!(cache.tokenize(&tiny(), &examples(), LIMITS).unwrap(), wanted);
        }
        let [file] = files(&cache.folder).try_into().unwrap();
        // It is read: another row in its place is believed.
        let (mut samples, stats) = read(&file).unwrap();
        samples[2].target[0] += 1;
        cache.write(&file, &samples, &stats).unwrap();
        assert_eq!(cache.tokenize(&tiny(), &examples(), LIMITS).unwrap().0, samples);
    }

    #[test]
    fn other_texts_limits_and_tokenizers_are_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TokenCache::new(folder.path());
        let mut all = vec![examples()];
        all.push(examples()[..2].to_vec());
        // The same text, cut elsewhere.
        all.push(vec![example("the cats sat", ".the cat"), examples()[1].clone(), examples()[2].clone()]);
        for (count, examples) in all.iter().enumerate() {
            let wanted = tiny().tokenize(examples, LIMITS).unwrap();
            assert_eq!(cache.tokenize(&tiny(), examples, LIMITS).unwrap(), wanted);
            assert_eq!(files(folder.path()).len(), count + 1);
        }
        let longer = Limits { source: 6, target: 4 };
        let wanted = tiny().tokenize(&all[0], longer).unwrap();
        assert_eq!(cache.tokenize(&tiny(), &all[0], longer).unwrap(), wanted);
        assert_eq!(files(folder.path()).len(), 4);
    }

    #[test]
    fn files_that_are_not_whole_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TokenCache::new(folder.path());
        let wanted = cache.tokenize(&tiny(), &examples(), LIMITS).unwrap();
        let file = files(folder.path()).remove(0);
        let whole = std::fs::read(&file).unwrap();
        let cut = [0, 10, whole.len() - 4, whole.len() - 1].map(|length| whole[..length].to_vec());
        let longer = [&whole[..], &[0; 4]].concat();
        for bytes in cut.into_iter().chain([longer, b"{}\n".to_vec()]) {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(cache.tokenize(&tiny(), &examples(), LIMITS).unwrap(), wanted);
            assert_eq!(std::fs::read(&file).unwrap(), whole);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_done_without() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let found = TokenCache::new(file.path()).tokenize(&tiny(), &examples(), LIMITS).unwrap();
        assert_eq!(found, tiny().tokenize(&examples(), LIMITS).unwrap());
    }

    #[test]
    fn the_files_used_last_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TokenCache::new(folder.path());
        let rows = |i: usize| vec![example(&"cat ".repeat(i + 1), "cat")];
        for i in 0..MOST_FILES + 3 {
            cache.tokenize(&tiny(), &rows(i), LIMITS).unwrap();
            // The first is used every time.
            cache.tokenize(&tiny(), &rows(0), LIMITS).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let left = files(folder.path());
        assert_eq!(left.len(), MOST_FILES);
        let kept = |i: usize| {
            left.iter().any(|path| path.to_string_lossy().contains(&key(&tiny(), &rows(i), LIMITS)))
        };
        assert!(kept(0) && !kept(1) && kept(MOST_FILES + 2));
    }
}
