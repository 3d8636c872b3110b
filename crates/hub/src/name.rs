use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::{Error, Result};

const PREFIX: &str = "hf://";

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A model, or an adapter.
    Model,
    /// Rows.
    Dataset,
}

/// A repository of the Hub, or a file in one: `hf://google/flan-t5-small`, `hf://google/flan-t5-small@REVISION`,
/// `hf://datasets/knkarthick/dialogsum@main/train.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// What the repository holds.
    pub kind: Kind,
    /// Its owner and its name; some old models have no owner.
    pub id: String,
    /// A branch, a tag or a commit.
    pub revision: Option<String>,
    /// A file in it, or a pattern of files.
    pub file: Option<String>,
}

/// Whether a path names something on the Hub.
pub fn is_name(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with(PREFIX))
}

impl Name {
    /// The model that a text names as Python does, without `hf://`: `google/flan-t5-small`; none, if the text cannot be
    /// such a name.
    pub fn model(id: &str) -> Option<Self> {
        let parts: Vec<&str> = id.split('/').collect();
        let fits = parts.len() <= 2 && parts.iter().all(|part| is_part(part)) && kind_of(parts[0]).is_none();
        fits.then(|| Self { kind: Kind::Model, id: id.to_owned(), revision: None, file: None })
    }

    /// The model that a path may have been meant to name: `owner/name`, where neither is a folder.
    pub fn meant(path: &Path) -> Option<Self> {
        let text = path.to_str()?;
        let (owner, _) = text.split_once('/')?;
        if path.exists() || Path::new(owner).exists() { None } else { Self::model(text) }
    }

    /// The revision, or the branch that stands for none.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The repository alone.
    pub fn repository(&self) -> Self {
        Self { file: None, ..self.clone() }
    }

    /// As hf-hub has it.
    pub(crate) fn repo(&self) -> hf_hub::Repo {
        let kind = match self.kind {
            Kind::Model => hf_hub::RepoType::Model,
            Kind::Dataset => hf_hub::RepoType::Dataset,
        };
        hf_hub::Repo::with_revision(self.id.clone(), kind, self.revision().to_owned())
    }
}

/// What Python takes for the part of a name.
fn is_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let edge = |c: char| matches!(c, '.' | '-');
    (1..=96).contains(&part.len())
        && part.chars().all(plain)
        && !part.starts_with(edge)
        && !part.ends_with(edge)
        && !part.contains("..")
        && !part.contains("--")
}

/// The first part of a name that says what the repository holds; an empty one for what is not read here.
fn kind_of(part: &str) -> Option<Option<Kind>> {
    match part {
        "models" => Some(Some(Kind::Model)),
        "datasets" => Some(Some(Kind::Dataset)),
        "spaces" | "kernels" | "buckets" => Some(None),
        _ => None,
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = |what: &str| Error::Name { name: text.to_owned(), what: what.to_owned() };
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| fail("does not start with hf://"))?;
        let (kind, rest) = match rest.split_once('/').map(|(first, rest)| (kind_of(first), rest)) {
            Some((Some(Some(kind)), rest)) => (kind, rest),
            Some((Some(None), _)) => return Err(fail("models and data sets can be read")),
            _ => (Kind::Model, rest),
        };
        // The `@` of a revision stands behind the id: files may have one, too.
        let end = rest.match_indices('/').nth(1).map_or(rest.len(), |(at, _)| at);
        let (id, revision, file) = match rest[..end].find('@') {
            Some(at) => {
                let (revision, file) = revision(&rest[at + 1..]);
                (&rest[..at], Some(revision), file)
            }
            None => (&rest[..end], None, rest.get(end + 1..)),
        };
        let parts: Vec<&str> = id.split('/').collect();
        let owned = parts.len() == 2 || kind == Kind::Model && parts.len() == 1 && file.is_none();
        if !owned || !parts.iter().all(|part| is_part(part)) || kind_of(parts[0]).is_some() {
            return Err(fail(match kind {
                Kind::Model => "give owner and name, as in hf://google/flan-t5-small",
                Kind::Dataset => {
                    "give owner, name and file, as in hf://datasets/knkarthick/dialogsum/train.csv"
                }
            }));
        }
        if revision
            .as_ref()
            .is_some_and(|revision| !is_path(revision) || revision.contains(['?', '#', '%', ' ']))
        {
            return Err(fail("what follows the @ is no revision: give a branch, a tag or a commit"));
        }
        if file.is_some_and(|file| !is_path(file)) {
            return Err(fail("what follows the repository is no file in it"));
        }
        Ok(Self { kind, id: id.to_owned(), revision, file: file.map(str::to_owned) })
    }
}

/// A revision and the file behind it. Those that the Hub makes itself have slashes; others have %2F for them.
fn revision(text: &str) -> (String, Option<&str>) {
    let slashes = match () {
        () if text.starts_with("refs/pr/") || text.starts_with("refs/convert/") => 2,
        () => 0,
    };
    let end = text.match_indices('/').nth(slashes).map_or(text.len(), |(at, _)| at);
    (text[..end].replace("%2F", "/").replace("%2f", "/"), text.get(end + 1..))
}

/// Whether a path stays within its folder and has no empty part: what a server or a config names becomes part of a path.
pub(crate) fn is_path(text: &str) -> bool {
    let strange = |c: char| c.is_control() || matches!(c, '\\' | ':');
    !text.contains(strange) && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(PREFIX)?;
        if self.kind == Kind::Dataset {
            f.write_str("datasets/")?;
        }
        f.write_str(&self.id)?;
        if let Some(revision) = &self.revision {
            let own = revision.starts_with("refs/pr/") || revision.starts_with("refs/convert/");
            let revision = if own { revision.clone() } else { revision.replace('/', "%2F") };
            write!(f, "@{revision}")?;
        }
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Kind, String, Option<String>, Option<String>) {
        let Name { kind, id, revision, file } = text.parse().unwrap();
        (kind, id, revision, file)
    }

    #[test]
    fn names_are_those_of_python() {
        let some = |text: &str| Some(text.to_owned());
        for (text, kind, id, revision, file) in [
            ("hf://google/flan-t5-small", Kind::Model, "google/flan-t5-small", None, None),
            ("hf://t5-small", Kind::Model, "t5-small", None, None),
            ("hf://t5-small@v1", Kind::Model, "t5-small", some("v1"), None),
            ("hf://a/b@v1.0", Kind::Model, "a/b", some("v1.0"), None),
            ("hf://a/b/sub/tokenizer.json", Kind::Model, "a/b", None, some("sub/tokenizer.json")),
            ("hf://datasets/a/b@main/train.csv", Kind::Dataset, "a/b", some("main"), some("train.csv")),
            (
                "hf://datasets/a/b/data/train-*.parquet",
                Kind::Dataset,
                "a/b",
                None,
                some("data/train-*.parquet"),
            ),
            ("hf://datasets/a/b/it@home.csv", Kind::Dataset, "a/b", None, some("it@home.csv")),
            (
                "hf://datasets/a/b@refs/convert/parquet/default/0.parquet",
                Kind::Dataset,
                "a/b",
                some("refs/convert/parquet"),
                some("default/0.parquet"),
            ),
            ("hf://a/b@feature%2Fx/f.json", Kind::Model, "a/b", some("feature/x"), some("f.json")),
        ] {
            assert_eq!(parts(text), (kind, id.to_owned(), revision, file), "{text}");
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        assert_eq!("hf://models/a/b".parse::<Name>().unwrap().to_string(), "hf://a/b");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (text, what) in [
            ("hf://", "owner and name"),
            ("hf://datasets/squad", "owner, name and file"),
            ("hf://spaces/a/b", "models and data sets"),
            ("hf://a b/c", "owner and name"),
            ("hf://../c", "owner and name"),
            ("hf://a/b@", "no revision"),
            ("hf://a/b@..%2F..%2Fx", "no revision"),
            ("hf://a/b/", "no file"),
            ("hf://a/b/../../c", "no file"),
            ("hf://a/b//c", "no file"),
        ] {
            let error = text.parse::<Name>().unwrap_err().to_string();
            assert!(error.starts_with(text) && error.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn only_what_cannot_be_a_path_may_have_been_meant() {
        let meant = |text: &str| Name::meant(Path::new(text)).map(|name| name.to_string());
        assert_eq!(meant("google/flan-t5-small").as_deref(), Some("hf://google/flan-t5-small"));
        for text in ["flan-t5-small", "src/nothing", "models/flan-t5-small", "./a/b", "/a/b", "a/b/c", "a/.b"]
        {
            assert_eq!(meant(text), None, "{text}");
        }
    }
}
