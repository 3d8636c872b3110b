//! Tokenised rows on disk, found again by what they were made of.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dataset::Examples;
use crate::error::{Error, Result};
use crate::prompts::Example;
use crate::samples::{Filed, Samples};
use crate::tokenize::{Limits, TokenStats};
use crate::tokenizer::Tokenizer;

/// A folder of token rows, each file named by the hash of the tokenizer, the limits and every text.
///
/// It is a convenience: what cannot be read is made anew, and where nothing can be written rows are held in memory.
#[derive(Debug, Clone)]
pub struct TokenCache {
    folder: Option<PathBuf>,
}

/// What some tokens follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    name: String,
    rows: usize,
}

/// Counts up when the tokens of the same texts, or their form on disk, change.
const VERSION: u32 = 2;

/// The files that are kept, those used last.
const MOST_FILES: usize = 16;

/// A file's last line, its length as a little-endian u32 behind it. Before it, as little-endian u32: each row's source and
/// target, and then each row's two lengths.
#[derive(Serialize, Deserialize)]
struct Footer {
    rows: usize,
    stats: TokenStats,
}

impl TokenCache {
    /// A cache in `folder`, which is made when it is first written to; without one, all is held in memory.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// What the tokens of some examples are found by; all of them are made and checked for it.
    ///
    /// # Errors
    ///
    /// Those of the examples.
    pub fn key(
        &self,
        tokenizer: &Tokenizer,
        examples: &(impl Examples + ?Sized),
        limits: Limits,
    ) -> Result<TokenKey> {
        let noted = Noted::new(tokenizer, examples, limits);
        noted.each(&mut |_| Ok(()))?;
        Ok(noted.key())
    }

    /// [`Tokenizer::tokenize`], or what it gave for the same texts before; `key` is that of the same arguments.
    ///
    /// # Errors
    ///
    /// Those of `tokenize`.
    pub fn tokenize(
        &self,
        key: &TokenKey,
        tokenizer: &Tokenizer,
        examples: &(impl Examples + ?Sized),
        limits: Limits,
    ) -> Result<(Samples, TokenStats)> {
        let Some(folder) = &self.folder else { return tokenizer.tokenize(examples, limits) };
        let path = folder.join(format!("{}.tokens", key.name));
        if let Some(found) = read(&path, key.rows) {
            // The files used last are kept.
            let _ = File::options().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now()));
            return Ok(found);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let beside = path.with_extension(format!("{}-{now}.part", std::process::id()));
        if let Ok(file) = std::fs::create_dir_all(folder).and_then(|()| TokenFile::create(&beside)) {
            let noted = Noted::new(tokenizer, examples, limits);
            // Files may have changed since the key was made. What is wrong with the rows comes again below.
            let written = file.fill(tokenizer, &noted, limits).is_ok() && noted.key() == *key;
            match written && std::fs::rename(&beside, &path).is_ok() {
                true => tidy(folder),
                false => drop(std::fs::remove_file(&beside)),
            }
        }
        match read(&path, key.rows) {
            Some(found) => Ok(found),
            None => tokenizer.tokenize(examples, limits),
        }
    }
}

/// Examples whose texts are hashed as they pass.
struct Noted<'a, E: ?Sized> {
    examples: &'a E,
    hash: RefCell<Sha256>,
    rows: Cell<usize>,
}

impl<'a, E: Examples + ?Sized> Noted<'a, E> {
    fn new(tokenizer: &Tokenizer, examples: &'a E, limits: Limits) -> Self {
        let mut hash = Sha256::new();
        let (file, newlines) = tokenizer.fingerprint();
        hash.update(VERSION.to_le_bytes());
        hash.update(file);
        hash.update([newlines]);
        for size in [limits.source, limits.target] {
            hash.update((size as u64).to_le_bytes());
        }
        Self { examples, hash: hash.into(), rows: Cell::new(0) }
    }

    /// What has passed.
    fn key(self) -> TokenKey {
        let hash = self.hash.into_inner().finalize();
        TokenKey { name: hash.iter().map(|byte| format!("{byte:02x}")).collect(), rows: self.rows.get() }
    }
}

impl<E: Examples + ?Sized> Examples for Noted<'_, E> {
    fn each(&self, take: &mut dyn FnMut(Example) -> Result<()>) -> Result<()> {
        self.examples.each(&mut |example| {
            self.rows.set(self.rows.get() + 1);
            for text in [&example.prompt, &example.target] {
                let mut hash = self.hash.borrow_mut();
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            take(example)
        })
    }
}

/// A file that is being written for so long was left by one who was stopped.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes the files that were not used for longest.
fn tidy(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let entries = entries.flatten().map(|entry| entry.path());
    let (parts, others): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.partition(|path| path.extension().is_some_and(|extension| extension == "part"));
    let used = |path: &PathBuf| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let is_left = |path: &&PathBuf| used(path).is_some_and(|at| at.elapsed().is_ok_and(|ago| ago > A_DAY));
    for path in parts.iter().filter(is_left) {
        let _ = std::fs::remove_file(path);
    }
    let mut files: Vec<(SystemTime, PathBuf)> = others
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "tokens"))
        .filter_map(|path| Some((used(&path)?, path)))
        .collect();
    files.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    for (_, path) in files.into_iter().skip(MOST_FILES) {
        let _ = std::fs::remove_file(path);
    }
}

/// A file of token rows that is being written.
struct TokenFile {
    path: PathBuf,
    file: BufWriter<File>,
    lengths: Vec<u32>,
}

impl TokenFile {
    fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create_new(path)?);
        Ok(Self { path: path.into(), file, lengths: Vec::new() })
    }

    fn fill(
        mut self,
        tokenizer: &Tokenizer,
        examples: &(impl Examples + ?Sized),
        limits: Limits,
    ) -> Result<()> {
        let path = self.path.clone();
        let failed = |source| Error::Read { path: path.clone(), source };
        let stats = tokenizer.tokenize_each(examples, limits, &mut |row| {
            self.lengths.extend([row.source.len() as u32, row.target.len() as u32]);
            words(&mut self.file, row.source.iter().chain(&row.target)).map_err(failed)
        })?;
        self.finish(stats).map_err(failed)
    }

    fn finish(mut self, stats: TokenStats) -> io::Result<()> {
        words(&mut self.file, &self.lengths)?;
        let footer = serde_json::to_vec(&Footer { rows: self.lengths.len() / 2, stats })?;
        self.file.write_all(&footer)?;
        words(&mut self.file, &[footer.len() as u32])?;
        self.file.into_inner()?.sync_data()
    }
}

fn words<'a>(file: &mut impl Write, words: impl IntoIterator<Item = &'a u32>) -> io::Result<()> {
    words.into_iter().try_for_each(|word| file.write_all(&word.to_le_bytes()))
}

/// The rows of a file; none if it is not there, not whole, or has not so many.
fn read(path: &Path, rows: usize) -> Option<(Samples, TokenStats)> {
    let mut file = File::open(path).ok()?;
    let bytes = file.metadata().ok()?.len();
    // So many bytes that end so many before the end.
    let mut part = |length: u64, behind: u64| -> Option<Vec<u8>> {
        let start = bytes.checked_sub(behind)?.checked_sub(length)?;
        let mut part = vec![0; usize::try_from(length).ok()?];
        file.seek(SeekFrom::Start(start)).ok()?;
        file.read_exact(&mut part).ok()?;
        Some(part)
    };
    let length = u64::from(u32::from_le_bytes(part(4, 0)?.try_into().ok()?));
    let footer: Footer = serde_json::from_slice(&part(length, 4)?).ok()?;
    let lengths = part(8 * footer.rows as u64, length + 4)?;
    let (lengths, _) = lengths.as_chunks::<4>();
    let lengths: Vec<u32> = lengths.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let ids: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
    if footer.rows != rows || bytes != 4 * ids + 8 * rows as u64 + length + 4 {
        return None;
    }
    let lengths = lengths.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    Some((Filed::new(path.into(), file, lengths).into(), footer.stats))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Origin;
    use crate::samples::Sample;
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

    fn cache(folder: &Path) -> TokenCache {
        TokenCache::new(Some(folder.into()))
    }

    fn key(examples: &[Example], limits: Limits) -> TokenKey {
        TokenCache::new(None).key(&tiny(), examples, limits).unwrap()
    }

    /// The rows by a cache.
    fn cached(cache: &TokenCache, examples: &[Example], limits: Limits) -> (Vec<Sample>, TokenStats) {
        let found = cache.tokenize(&key(examples, limits), &tiny(), examples, limits).unwrap();
        (found.0.read_all().unwrap(), found.1)
    }

    /// The rows without one.
    fn made(examples: &[Example], limits: Limits) -> (Vec<Sample>, TokenStats) {
        let (samples, stats) = tiny().tokenize(examples, limits).unwrap();
        (samples.read_all().unwrap(), stats)
    }

    const LIMITS: Limits = Limits { source: 5, target: 4 };

    #[test]
    fn rows_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(&folder.path().join("tokens"));
        let wanted = made(&examples(), LIMITS);
        for _ in 0..2 {
            assert_eq!(cached(&cache, &examples(), LIMITS), wanted);
        }
        let [file] = files(&folder.path().join("tokens")).try_into().unwrap();
        // It is read: another id in its place is believed, and any row can be asked for.
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[0] += 1;
        std::fs::write(&file, bytes).unwrap();
        let samples = cache.tokenize(&key(&examples(), LIMITS), &tiny(), &examples()[..], LIMITS).unwrap().0;
        let mut first = wanted.0[0].clone();
        first.source[0] += 1;
        assert_eq!(samples.read(&[2, 0]).unwrap(), [wanted.0[2].clone(), first]);
        assert_eq!(samples.all_lengths(), [(5, 3), (4, 3), (2, 4)]);
    }

    #[test]
    fn other_texts_limits_and_tokenizers_are_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let mut all = vec![examples()];
        all.push(examples()[..2].to_vec());
        // The same text, cut elsewhere.
        all.push(vec![example("the cats sat", ".the cat"), examples()[1].clone(), examples()[2].clone()]);
        for (count, examples) in all.iter().enumerate() {
            assert_eq!(cached(&cache, examples, LIMITS), made(examples, LIMITS));
            assert_eq!(files(folder.path()).len(), count + 1);
        }
        let longer = Limits { source: 6, target: 4 };
        assert_eq!(cached(&cache, &all[0], longer), made(&all[0], longer));
        assert_eq!(files(folder.path()).len(), 4);
    }

    #[test]
    fn files_that_are_not_whole_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let wanted = cached(&cache, &examples(), LIMITS);
        let file = files(folder.path()).remove(0);
        let whole = std::fs::read(&file).unwrap();
        let cut = [0, 3, 10, whole.len() - 4, whole.len() - 1].map(|length| whole[..length].to_vec());
        let longer = [&[0; 4], &whole[..]].concat();
        for bytes in cut.into_iter().chain([longer, vec![255; 40], b"{}\n".to_vec()]) {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(cached(&cache, &examples(), LIMITS), wanted);
            assert_eq!(std::fs::read(&file).unwrap(), whole);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_done_without() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for folder in [None, Some(file.path().to_owned())] {
            let found = cached(&TokenCache::new(folder), &examples(), LIMITS);
            assert_eq!(found, made(&examples(), LIMITS));
        }
    }

    #[test]
    fn what_is_wrong_with_the_rows_is_said() {
        struct Broken;
        impl Examples for Broken {
            fn each(&self, take: &mut dyn FnMut(Example) -> Result<()>) -> Result<()> {
                take(example("the cat", "cat"))?;
                Err(Error::NoRows { path: "rows.jsonl".into() })
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let says = |error: Error| assert_eq!(error.to_string(), "rows.jsonl holds no rows");
        says(cache.key(&tiny(), &Broken, LIMITS).unwrap_err());
        says(cache.tokenize(&key(&examples(), LIMITS), &tiny(), &Broken, LIMITS).unwrap_err());
        assert!(files(folder.path()).is_empty());
    }

    #[test]
    fn the_files_used_last_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let rows = |i: usize| vec![example(&"cat ".repeat(i + 1), "cat")];
        for i in 0..MOST_FILES + 3 {
            cached(&cache, &rows(i), LIMITS);
            // The first is used every time.
            cached(&cache, &rows(0), LIMITS);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let left = files(folder.path());
        assert_eq!(left.len(), MOST_FILES);
        let kept =
            |i: usize| left.iter().any(|path| path.to_string_lossy().contains(&key(&rows(i), LIMITS).name));
        assert!(kept(0) && !kept(1) && kept(MOST_FILES + 2));
    }
}
