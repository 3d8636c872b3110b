//! Text to T5's tokens and back.

use std::path::Path;

use sha2::{Digest, Sha256};
use tokenizers::Encoding;

use crate::error::{Error, Result};

const END: &str = "</s>";

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
        Ok(Self { inner, end, unknown, fingerprint })
    }

    /// The tokens of a text, and the end token behind them.
    ///
    /// Whitespace at the text's end is taken off first, since `tokenizer.json` would make a token of it where
    /// SentencePiece does not. If there are more than `max_tokens` tokens, end token included, those before the end
    /// token are cut; the end token always stays, so `max_tokens` counts as 1 at least.
    ///
    /// # Errors
    ///
    /// A character that is not in the vocabulary, if the vocabulary has no token for such (T5's has).
    pub fn encode(&self, text: &str, max_tokens: usize) -> Result<Encoded> {
        let text = text.trim_end();
        Ok(self.finish(&self.raw(text)?, max_tokens))
    }

    /// [`encode`](Self::encode) for many texts, on all cores.
    ///
    /// # Errors
    ///
    /// Those of `encode`, for any of the texts.
    pub fn encode_batch(&self, texts: &[&str], max_tokens: usize) -> Result<Vec<Encoded>> {
        // An encoding is some hundred bytes a token: what lives at a time is bounded.
        const AT_A_TIME: usize = 512;
        let mut encoded = Vec::with_capacity(texts.len());
        for texts in texts.chunks(AT_A_TIME) {
            let trimmed: Vec<&str> = texts.iter().map(|text| text.trim_end()).collect();
            let start = trimmed.first().copied().unwrap_or_default();
            let encodings = self.inner.encode_batch_fast(trimmed, false);
            let encodings = encodings.map_err(|error| refused(start, &error.to_string()))?;
            encoded.extend(encodings.iter().map(|encoding| self.finish(encoding, max_tokens)));
        }
        Ok(encoded)
    }

    /// The text of some ids. Special tokens, and ids that the vocabulary has no token for, are left out: a T5 model
    /// scores 32,128 ids where its tokenizer has 32,100.
    ///
    /// # Errors
    ///
    /// Ids that the tokenizer file's decoder makes no text of; T5's takes any.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, true).map_err(|error| Error::Decode { reason: error.to_string() })
    }

    /// Each id as the vocabulary writes it; an id that it does not have as its number.
    pub fn pieces(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|&id| self.inner.id_to_token(id).unwrap_or_else(|| format!("<{id}>"))).collect()
    }

    /// The number of tokens, special ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The SHA-256 of its file.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
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
