//! Text to T5's tokens and back.

mod newlines;

use std::borrow::Cow;
use std::path::Path;

use sha2::{Digest, Sha256};
use tokenizers::Encoding;

pub use self::newlines::Newlines;
use self::newlines::{SENTINEL, marked};
use crate::error::{Error, Result};

const END: &str = "</s>";

/// An encoding is some hundred bytes a token: so many texts' live at a time.
pub(crate) const AT_A_TIME: usize = 512;

/// A text's tokens, the end token last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The ids, at least one and at most as many as were asked for.
    pub ids: Vec<u32>,
    /// How many tokens were cut off before the end token.
    pub cut: usize,
}

/// A tokenizer of the T5 kind, from a `tokenizer.json`.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    end: u32,
    unknown: Option<u32>,
    newlines: Newlines,
    /// What a line break is in tokens, where it is one.
    sentinel: Option<u32>,
    fingerprint: [u8; 32],
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Truncation and padding that it may configure are switched off.
    ///
    /// # Errors
    ///
    /// A file that is not there, that is no tokenizer, or whose vocabulary has no end token `</s>`.
    pub fn from_file(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::FileNotFound { path: path.into() },
            _ => Error::Read { path: path.into(), source },
        })?;
        let refuse = |reason: String| Error::Tokenizer { path: path.into(), reason };
        let fingerprint = Sha256::digest(&bytes).into();
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| refuse(error.to_string()))?;
        inner.with_truncation(None).map_err(|error| refuse(error.to_string()))?;
        inner.with_padding(None);
        let end = inner.token_to_id(END);
        let end = end.ok_or_else(|| refuse(format!("its vocabulary has no end token `{END}`")))?;
        let unknown = inner.token_to_id("<unk>");
        Ok(Self { inner, end, unknown, newlines: Newlines::Blank, sentinel: None, fingerprint })
    }

    /// This tokenizer with line breaks kept.
    ///
    /// # Errors
    ///
    /// A vocabulary without the sentinel that stands for them.
    pub fn with_newlines(self, newlines: Newlines) -> Result<Self> {
        if newlines == Newlines::Blank {
            return Ok(Self { newlines, sentinel: None, ..self });
        }
        let sentinel = self.inner.token_to_id(SENTINEL).ok_or(Error::NoSentinel { token: SENTINEL })?;
        Ok(Self { newlines, sentinel: Some(sentinel), ..self })
    }

    /// The tokens of a prompt, and the end token behind them.
    ///
    /// Whitespace at the text's end is taken off first, since `tokenizer.json` would make a token of it where
    /// SentencePiece does not. If there are more than `max_tokens` tokens, end token included, those before the end
    /// token are cut; the end token always stays, so `max_tokens` counts as 1 at least.
    ///
    /// # Errors
    ///
    /// A character that is not in the vocabulary, if the vocabulary has no token for such (T5's has).
    pub fn encode(&self, text: &str, max_tokens: usize) -> Result<Encoded> {
        Ok(self.finish(&self.raw(&self.prompt(text))?, max_tokens))
    }

    /// [`encode`](Self::encode) for a target: its line breaks may be kept where a prompt's are not.
    ///
    /// # Errors
    ///
    /// Those of `encode`.
    pub fn encode_target(&self, text: &str, max_tokens: usize) -> Result<Encoded> {
        Ok(self.finish(&self.raw(&self.target(text))?, max_tokens))
    }

    /// [`encode`](Self::encode) for many prompts, on all cores.
    ///
    /// # Errors
    ///
    /// Those of `encode`, for any of the texts.
    pub fn encode_batch(&self, texts: &[&str], max_tokens: usize) -> Result<Vec<Encoded>> {
        self.batch(texts.iter().map(|text| self.prompt(text)), max_tokens)
    }

    /// [`encode_target`](Self::encode_target) for many targets, on all cores.
    ///
    /// # Errors
    ///
    /// Those of `encode`, for any of the texts.
    pub fn encode_targets(&self, texts: &[&str], max_tokens: usize) -> Result<Vec<Encoded>> {
        self.batch(texts.iter().map(|text| self.target(text)), max_tokens)
    }

    fn batch<'a>(
        &self,
        mut texts: impl Iterator<Item = Cow<'a, str>>,
        max_tokens: usize,
    ) -> Result<Vec<Encoded>> {
        let mut encoded = Vec::with_capacity(texts.size_hint().0);
        loop {
            let texts: Vec<Cow<str>> = texts.by_ref().take(AT_A_TIME).collect();
            let Some(first) = texts.first() else { return Ok(encoded) };
            let start = first.clone();
            let encodings = self.inner.encode_batch_fast(texts, false);
            let encodings = encodings.map_err(|error| refused(&start, &error.to_string()))?;
            encoded.extend(encodings.iter().map(|encoding| self.finish(encoding, max_tokens)));
        }
    }

    fn prompt<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.newlines {
            Newlines::Both => marked(text.trim_end()),
            Newlines::Blank | Newlines::Targets => text.trim_end().into(),
        }
    }

    fn target<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.newlines {
            Newlines::Targets | Newlines::Both => marked(text.trim_end()),
            Newlines::Blank => text.trim_end().into(),
        }
    }

    /// The text of some ids. Special tokens, and ids that the vocabulary has no token for, are left out: a T5 model
    /// scores 32,128 ids where its tokenizer has 32,100. Line breaks that were kept are there again.
    ///
    /// # Errors
    ///
    /// Ids that the tokenizer file's decoder makes no text of; T5's takes any.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let text = |ids: &[u32]| {
            self.inner.decode(ids, true).map_err(|error| Error::Decode { reason: error.to_string() })
        };
        match self.sentinel {
            None => text(ids),
            Some(sentinel) => {
                let lines: Vec<String> = ids.split(|&id| id == sentinel).map(text).collect::<Result<_>>()?;
                Ok(lines.join("\n"))
            }
        }
    }

    /// What a target reads as behind its tokens, if that is something else; blanks at the ends of lines do not count where
    /// line breaks are kept.
    ///
    /// # Errors
    ///
    /// Those of [`decode`](Self::decode).
    pub fn changed(&self, target: &str, ids: &[u32]) -> Result<Option<String>> {
        let found = self.decode(ids)?;
        let same = match self.sentinel {
            None => found == target,
            Some(_) => found.lines().eq(target.lines().map(str::trim_end)),
        };
        Ok((!same).then_some(found))
    }

    /// Each id as the vocabulary writes it; an id that it does not have as its number.
    pub fn pieces(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|&id| self.inner.id_to_token(id).unwrap_or_else(|| format!("<{id}>"))).collect()
    }

    /// The number of tokens, special ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// What its tokens follow from: the SHA-256 of its file, and what line breaks become.
    pub(crate) fn fingerprint(&self) -> ([u8; 32], u8) {
        (self.fingerprint, self.newlines as u8)
    }

    /// The end token's id: 1 in T5.
    pub fn end_id(&self) -> u32 {
        self.end
    }

    /// The id that stands for what is not in the vocabulary, if there is one: 2 in T5.
    pub fn unknown_id(&self) -> Option<u32> {
        self.unknown
    }

    fn raw(&self, text: &str) -> Result<Encoding> {
        self.inner.encode_fast(text, false).map_err(|error| refused(text, &error.to_string()))
    }

    fn finish(&self, encoding: &Encoding, max_tokens: usize) -> Encoded {
        let ids = encoding.get_ids();
        let kept = ids.len().min(max_tokens.saturating_sub(1));
        let mut kept_ids = Vec::with_capacity(kept + 1);
        kept_ids.extend_from_slice(&ids[..kept]);
        kept_ids.push(self.end);
        Encoded { ids: kept_ids, cut: ids.len() - kept }
    }
}

fn refused(text: &str, reason: &str) -> Error {
    Error::Encode { start: text.chars().take(40).collect(), reason: reason.into() }
}

#[cfg(test)]
pub(crate) mod tests;
