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
        for Problem { given, key, what } in &self.found {
            match given {
                Given::Elsewhere => {
                    write!(f, "\n  {key}: {what}")?;
                    continue;
                }
                Given::None => write!(f, "\n  {of}")?,
                Given::Line(line) => write!(f, "\n  {of}:{line}")?,
                Given::Override(text) => {
                    write!(f, "\n  `{text}`")?;
                    // What it sets is not named twice.
                    if text.split('=').next().map(str::trim) == Some(key) {
                        write!(f, ": {what}")?;
                        continue;
                    }
                }
            }
            match key.as_str() {
                "" => write!(f, ": {what}")?,
                key => write!(f, ": {key}: {what}")?,
            }
        }
        Ok(())
    }
}
