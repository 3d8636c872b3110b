use std::collections::BTreeMap;

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

/// Layers that `all-linear` leaves out: the head, and what is no linear layer.
const NOT_LINEAR: [&str; 2] = ["lm_head", "embed_tokens"];

impl TargetModules {
    /// Layers by the last parts of their names.
    pub fn suffixes<const N: usize>(names: [&str; N]) -> Self {
        Self::Suffixes(names.map(str::to_owned).to_vec())
    }

    /// Whether each of `names` is targeted, in order; none need be.
    ///
    /// # Errors
    /// If the pattern is not a regular expression.
    pub fn matching<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<bool>> {
        let matcher = self.matcher()?;
        Ok(names.into_iter().map(matcher).collect())
    }

    /// Whether each of `names` is targeted, in order.
    ///
    /// # Errors
    /// If the pattern is not a regular expression, or none is targeted.
    pub fn select<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<bool>> {
        let names: Vec<&str> = names.into_iter().collect();
        let selected = self.matching(names.iter().copied())?;
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
        Err(Error::NoTarget { key: "target_modules", targets, known: known.join(", ") })
    }

    fn matcher(&self) -> Result<Matcher<'_>> {
        Ok(match self {
            Self::Suffixes(suffixes) => Box::new(|name| {
                suffixes.iter().any(|suffix| match name.strip_suffix(suffix.as_str()) {
                    Some(rest) => rest.is_empty() || rest.ends_with('.'),
                    None => false,
                })
            }),
            Self::Pattern(pattern) if pattern == "all-linear" => {
                Box::new(|name| !NOT_LINEAR.iter().any(|other| name.ends_with(other)))
            }
            // The whole name, as Python's re.fullmatch.
            Self::Pattern(pattern) => {
                let whole = regex(&format!("^(?:{pattern})$"), pattern)?;
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

fn regex(text: &str, pattern: &str) -> Result<Regex> {
    Regex::new(text)
        .map_err(|source| Error::Pattern { pattern: pattern.to_owned(), source: Box::new(source) })
}

/// Values for layers by patterns, as peft's `rank_pattern`: a pattern is a regular expression for the last parts of a name.
pub(crate) trait Patterns<V> {
    /// A layer's value, if a pattern matches it: that of the first.
    fn of(&self, layer: &str) -> Result<Option<&V>>;

    /// What is wrong with the patterns.
    fn wrong(&self) -> Option<String>;
}

impl<V> Patterns<V> for BTreeMap<String, V> {
    fn of(&self, layer: &str) -> Result<Option<&V>> {
        for (pattern, value) in self {
            if regex(&format!(r"^(?:.*\.)?(?:{pattern})$"), pattern)?.is_match(layer) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn wrong(&self) -> Option<String> {
        self.keys().find_map(|pattern| regex(pattern, pattern).err()).map(|error| error.to_string())
    }
}

/// The number behind `pattern` in a layer's name, as peft finds it for `layers_to_transform`; without a pattern, the last
/// number that stands between dots.
pub(crate) fn number_in(layer: &str, pattern: &str) -> Option<usize> {
    let parts: Vec<&str> = layer.split('.').collect();
    let numbers = parts.windows(2).enumerate().filter(|(i, pair)| {
        // The last part of a name is the layer, not its number.
        i + 2 < parts.len() && (pattern.is_empty() || pair[0] == pattern)
    });
    numbers.filter_map(|(_, pair)| pair[1].parse().ok()).next_back()
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
        assert_eq!(error, r#"target_modules ["qq"] match no layer of the model; its layers end in o, q, wo"#);
    }

    #[test]
    fn patterns_of_values_match_the_last_parts() {
        let map: BTreeMap<String, usize> =
            [("q".to_owned(), 2), (r"block\.0\..*\.wo".to_owned(), 3)].into_iter().collect();
        let found: Vec<Option<usize>> = NAMES.iter().map(|name| map.of(name).unwrap().copied()).collect();
        assert_eq!(found, [Some(2), Some(3), Some(2), None]);
        assert_eq!(
            BTreeMap::from([("(".to_owned(), 1)]).wrong().map(|what| what.contains("`(`")),
            Some(true)
        );
    }

    #[test]
    fn numbers_of_blocks_are_found() {
        let name = "encoder.block.11.layer.1.DenseReluDense.wo";
        assert_eq!((number_in(name, "block"), number_in(name, "")), (Some(11), Some(1)));
        assert_eq!((number_in("lm_head", "block"), number_in("encoder.block.3", "block")), (None, None));
    }

    #[test]
    fn a_pattern_matches_the_whole_name() {
        let pattern = |text: &str| TargetModules::Pattern(text.into());
        assert_eq!(select(pattern(r".*decoder.*\.(q|o)")).unwrap(), [false, false, true, true]);
        assert_eq!(select(pattern("all-linear")).unwrap(), [true; 4]);
        assert!(select(pattern("decoder")).unwrap_err().to_string().contains("`decoder` match no layer"));
        assert!(select(pattern("(")).unwrap_err().to_string().contains("is not a regular expression"));
    }
}
