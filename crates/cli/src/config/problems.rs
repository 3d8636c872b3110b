use std::fmt;

/// Everything that is wrong with a config, each with its place.
#[derive(Debug)]
pub struct Problems {
    /// The file.
    pub file: String,
    /// (line, key, what is wrong); no line for a key that the file does not have.
    pub found: Vec<(Option<usize>, String, String)>,
}

impl Problems {
    /// Refuses settings that did not come from a file, if anything is wrong with them.
    pub fn refuse(place: &str, found: Vec<(&'static str, String)>) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        let found = found.into_iter().map(|(key, what)| (None, key.to_owned(), what)).collect();
        Err(Self { file: place.to_owned(), found })
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let count = self.found.len();
        write!(f, "{}: {count} problem{}", self.file, if count == 1 { "" } else { "s" })?;
        for (line, key, what) in &self.found {
            write!(f, "\n  {}", self.file)?;
            if let Some(line) = line {
                write!(f, ":{line}")?;
            }
            match key.as_str() {
                "" => write!(f, ": {what}")?,
                key => write!(f, ": {key}: {what}")?,
            }
        }
        Ok(())
    }
}
