//! Names that may have been meant. Called by everything that does not know a name.

/// Mistakes that a name of so many letters may have: with more, any short name is near another.
const fn mistakes(letters: usize) -> usize {
    match letters {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    }
}

/// The nearest of `names` to `word`, if one is near: a letter more, less, another one, or two
/// that changed places.
pub fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let letters = word.chars().filter(|c| c.is_alphanumeric()).count();
    let limit = mistakes(letters);
    names
        .filter(|name| name.len().abs_diff(word.len()) <= limit)
        .map(|name| (strsim::damerau_levenshtein(name, word), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn short_names_are_near_only_with_one_mistake() {
        let names = ["cls", "core", "!pmc", "pause", "!epthook", "k"];
        for (word, found) in [
            ("bl", None),
            ("!pte", None),
            ("zork", None),
            ("g", None),
            ("cos", Some("cls")),
            ("paus", Some("pause")),
            ("cro", None),
            ("!epthok", Some("!epthook")),
            ("!etphok", Some("!epthook")),
            ("", None),
        ] {
            assert_eq!(nearest(word, names.into_iter()), found, "{word}");
        }
    }
}
