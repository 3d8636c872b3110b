use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which linear layers are adapted, as peft's `target_modules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a list of layer names, or a regular expression")]
pub enum TargetModules {
    /// Layers whose name is one of these, or ends in a dot and one of these.
    Suffixes(Vec<String>),
    /// Layers whose whole name matches a regular expression; `all-linear` is every one but the head.
    Pattern(String),
}

/// Whether a layer of this name is targeted.
type Matcher<'a> = Box<dyn Fn(&str) -> bool + 'a>;

impl Default for TargetModules {
    /// The queries and values of every attention.
    fn default() -> Self {
        Self::Suffixes(vec!["q".into(), "v".into()])
    }
}

impl std::fmt::Display for TargetModules {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Suffixes(names) => f.write_str(&names.join(", ")),
            Self::Pattern(pattern) => f.write_str(pattern),
        }
    }
}

impl TargetModules {
    /// Whether each of `names` is targeted, in order.
    ///
    /// # Errors
    /// If the pattern is not a regular expression, or none is targeted.
    pub fn select<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<bool>> {
        let names: Vec<&str> = names.into_iter().collect();
        let matcher = self.matcher()?;
        let selected: Vec<bool> = names.iter().map(|name| matcher(name)).collect();
        if selected.contains(&true) {
            return Ok(selected);
        }
        let mut known: Vec<&str> = names.iter().filter_map(|name| name.rsplit('.').next()).collect();
        known.sort_unstable();
        known.dedup();
        let targets = match self {
            Self::Suffixes(suffixes) => format!("{suffixes:?}"),
            Self::Pattern(pattern) => format!("`{pattern}`"),
        };
        Err(Error::NoTarget { targets, known: known.join(", ") })
    }

    fn matcher(&self) -> Result<Matcher<'_>> {
        Ok(match self {
            Self::Suffixes(suffixes) => Box::new(|name| {
                suffixes.iter().any(|suffix| match name.strip_suffix(suffix.as_str()) {
                    Some(rest) => rest.is_empty() || rest.ends_with('.'),
                    None => false,
                })
            }),
            Self::Pattern(pattern) if pattern == "all-linear" => Box::new(|_| true),
            Self::Pattern(pattern) => {
                // The whole name, as Python's re.fullmatch.
                let whole = Regex::new(&format!("^(?:{pattern})$")).map_err(|source| Error::Pattern {
                    pattern: pattern.clone(),
                    source: Box::new(source),
                })?;
                Box::new(move |name| whole.is_match(name))
            }
        })
    }

    /// What is wrong with the value on its own, if anything.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Suffixes(suffixes) if suffixes.is_empty() => {
                Some("is empty: name at least one layer".into())
            }
            Self::Suffixes(suffixes) if suffixes.iter().any(String::is_empty) => {
                Some("has an empty name".into())
            }
            _ => self.matcher().err().map(|error| error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = [
        "encoder.block.0.layer.0.SelfAttention.q",
        "encoder.block.0.layer.1.DenseReluDense.wo",
        "decoder.block.0.layer.1.EncDecAttention.q",
        "decoder.block.0.layer.1.EncDecAttention.o",
    ];

    fn select(targets: TargetModules) -> Result<Vec<bool>> {
        targets.select(NAMES)
    }

    #[test]
    fn a_suffix_is_whole_parts_of_a_name() {
        let suffixes = |list: &[&str]| TargetModules::Suffixes(list.iter().map(|&s| s.into()).collect());
        assert_eq!(select(suffixes(&["q"])).unwrap(), [true, false, true, false]);
        assert_eq!(select(suffixes(&["o"])).unwrap(), [false, false, false, true]);
        assert_eq!(select(suffixes(&["EncDecAttention.q", "wi"])).unwrap(), [false, false, true, false]);
        assert_eq!(select(suffixes(&[NAMES[1]])).unwrap(), [false, true, false, false]);
        let error = select(suffixes(&["qq"])).unwrap_err().to_string();
        assert_eq!(
            error,
            r#"target_modules ["qq"] match no linear layer of the model; its layers end in o, q, wo"#
        );
    }

    #[test]
    fn a_pattern_matches_the_whole_name() {
        let pattern = |text: &str| TargetModules::Pattern(text.into());
        assert_eq!(select(pattern(r".*decoder.*\.(q|o)")).unwrap(), [false, false, true, true]);
        assert_eq!(select(pattern("all-linear")).unwrap(), [true; 4]);
        assert!(
            select(pattern("decoder")).unwrap_err().to_string().contains("`decoder` match no linear layer")
        );
        assert!(select(pattern("(")).unwrap_err().to_string().contains("is not a regular expression"));
    }
}
