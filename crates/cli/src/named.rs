//! Adapters that the command line gives, by a name or without one.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::given::{self, Misuse};
use crate::hub;

/// `DIR`, or `NAME=DIR`.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedAdapter {
    pub name: Option<String>,
    pub folder: PathBuf,
}

impl FromStr for NamedAdapter {
    type Err = String;

    /// A name has no `/` in it, so a folder with `=` in its own is given as `./a=b`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, folder) = match text.split_once('=') {
            Some((name, folder)) if !name.contains(['/', '\\']) => (Some(name.to_owned()), folder),
            _ => (None, text),
        };
        match (&name, folder) {
            (Some(name), _) if name.trim().is_empty() => Err("there is no name before `=`".to_owned()),
            (Some(name), _) if name.contains(char::is_control) => {
                Err("the name before `=` has a tab or a line break in it".to_owned())
            }
            (_, "") => Err("there is no folder".to_owned()),
            _ => Ok(Self { name, folder: folder.into() }),
        }
    }
}

/// Adapters as they are to answer.
pub enum Adapters<'a> {
    None,
    One(&'a Path),
    /// By their names, which differ.
    Named(Vec<(&'a str, &'a Path)>),
}

impl<'a> Adapters<'a> {
    /// Adapters of `--adapter`, whose folders are there.
    pub fn of(given: &'a [NamedAdapter]) -> Result<Self> {
        for adapter in given {
            given::adapter("--adapter", Some(&adapter.folder))?;
        }
        if let [NamedAdapter { name: None, folder }] = given {
            return Ok(Self::One(folder));
        }
        let mut named: Vec<(&str, &Path)> = Vec::new();
        for NamedAdapter { name, folder } in given {
            let Some(name) = name else {
                let folder = folder.display();
                bail!(Misuse(format!(
                    "--adapter {folder}: of several each needs a name, --adapter NAME={folder}"
                )));
            };
            if named.iter().any(|(other, _)| other == name) {
                bail!(Misuse(format!("--adapter {name}: two have this name")));
            }
            named.push((name, folder));
        }
        Ok(if named.is_empty() { Self::None } else { Self::Named(named) })
    }

    /// The folders.
    pub fn folders(&self) -> Vec<&'a Path> {
        match self {
            Self::None => Vec::new(),
            Self::One(folder) => vec![folder],
            Self::Named(named) => named.iter().map(|(_, folder)| *folder).collect(),
        }
    }

    /// The base that all of them name.
    pub fn base(&self) -> Result<crate::config::ModelOptions> {
        let folders = self.folders();
        let Some(first) = folders.first() else {
            bail!("give --model DIR, --adapter DIR or --run DIR");
        };
        let base = hub::base_by_adapter(first)?;
        for folder in &folders[1..] {
            let other = hub::base_by_adapter(folder)?;
            if other.path != base.path {
                bail!(Misuse(format!(
                    "{} names the base {}, and {} names {}: if these are one model, give it by --model DIR",
                    first.display(),
                    base.path.display(),
                    folder.display(),
                    other.path.display()
                )));
            }
        }
        Ok(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(Option<String>, String), String> {
        let NamedAdapter { name, folder } = text.parse()?;
        Ok((name, folder.to_string_lossy().into_owned()))
    }

    #[test]
    fn a_name_stands_before_the_first_equals_sign() {
        let named = |name: &str, folder: &str| Ok((Some(name.to_owned()), folder.to_owned()));
        assert_eq!(parsed("runs/a/adapter"), Ok((None, "runs/a/adapter".to_owned())));
        assert_eq!(parsed("./a=b"), Ok((None, "./a=b".to_owned())));
        assert_eq!(parsed("sums=runs/a"), named("sums", "runs/a"));
        assert_eq!(parsed("sums=a=b"), named("sums", "a=b"));
        assert_eq!(parsed("=a"), Err("there is no name before `=`".to_owned()));
        assert_eq!(parsed("a="), Err("there is no folder".to_owned()));
    }
}
