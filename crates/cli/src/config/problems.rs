use std::fmt;

/// Everything that is wrong with settings.
#[derive(Debug)]
pub struct Problems {
    /// The config's file, or whose settings they are.
    pub of: String,
    pub found: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    pub given: Given,
    /// The setting; empty where the file is no TOML.
    pub key: String,
    pub what: String,
}

/// Where a setting comes from.
#[derive(Debug)]
pub enum Given {
    /// Nowhere: it is missing.
    None,
    /// Not by a config.
    Elsewhere,
    /// This line of the config.
    Line(usize),
    /// This argument of the command.
    Override(String),
}

impl Problem {
    /// Whether it is about a key of this section.
    pub fn is_in(&self, section: &str) -> bool {
        self.key.split('.').next() == Some(section)
    }

    /// Where the setting is given, and which it is; `of` is the config's file.
    pub fn place(&self, of: &str) -> String {
        let key = if self.key.is_empty() { String::new() } else { format!(": {}", self.key) };
        match &self.given {
            Given::None => format!("{of}{key}"),
            Given::Elsewhere => self.key.clone(),
            Given::Line(line) => format!("{of}:{line}{key}"),
            // What it sets is not named twice.
            Given::Override(text) if text.split('=').next().map(str::trim) == Some(&self.key) => {
                format!("`{text}`")
            }
            Given::Override(text) => format!("`{text}`{key}"),
        }
    }
}

/// A config was found wrong, and what is wrong has been printed.
#[derive(Debug)]
pub struct Invalid;

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the config is not ready to train")
    }
}

impl Problems {
    /// Refuses settings that did not come from a file, if anything is wrong with them.
    pub fn refuse(of: &str, found: Vec<(&'static str, String)>) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        let problem =
            |(key, what): (&str, String)| Problem { given: Given::Elsewhere, key: key.to_owned(), what };
        Err(Self { of: of.to_owned(), found: found.into_iter().map(problem).collect() })
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (of, count) = (&self.of, self.found.len());
        write!(f, "{of}: {count} problem{}", if count == 1 { "" } else { "s" })?;
        for problem in &self.found {
            write!(f, "\n  {}: {}", problem.place(of), problem.what)?;
        }
        Ok(())
    }
}
