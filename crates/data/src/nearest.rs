//! "Did you mean": the nearest of the names that exist.

/// The candidate most like `name`, by the share of letters to insert, delete, replace or swap; the first of
/// equals. `None` where there are no candidates.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(&str, f64)> = None;
    for candidate in candidates {
        let likeness = strsim::normalized_damerau_levenshtein(name, candidate);
        if best.is_none_or(|(_, found)| likeness > found) {
            best = Some((candidate, likeness));
        }
    }
    best.map(|(candidate, _)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_most_alike_name_wins() {
        assert_eq!(nearest("dialog", ["summary", "dialogue", "id"]), Some("dialogue"));
        assert_eq!(nearest("sumary", ["dialogue", "summary1", "summary"]), Some("summary"));
        assert_eq!(nearest("x", ["a", "b"]), Some("a"));
        assert_eq!(nearest("x", []), None);
    }
}
