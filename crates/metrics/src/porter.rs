//! The Porter stemmer (M. F. Porter, *An algorithm for suffix stripping*, Program 14.3, 1980) with NLTK's extensions.
//!
//! This is `nltk.stem.PorterStemmer` in its default mode, which `rouge_score` uses. Porter's own later revision,
//! "Porter2" or Snowball English, is another algorithm with other stems.
//!
//! Terms of the paper, which the steps below use: a *consonant* is any character but `a e i o u`, and but `y` after
//! a consonant; the *measure* of a stem is how many times a vowel is followed by a consonant in it. Within a list of
//! rules the first suffix that the word has decides: when its condition fails, the word leaves the step unchanged.

/// Words that the rules get wrong, with their stems (NLTK).
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Suffix and replacement, tried in this order.
type Rules = &'static [(&'static str, &'static str)];

const STEP_1A: Rules = &[("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];

const STEP_2: Rules = &[
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

const STEP_3: Rules = &[
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

const STEP_4: Rules = &[
    ("al", ""),
    ("ance", ""),
    ("ence", ""),
    ("er", ""),
    ("ic", ""),
    ("able", ""),
    ("ible", ""),
    ("ant", ""),
    ("ement", ""),
    ("ment", ""),
    ("ent", ""),
    ("ou", ""),
    ("ism", ""),
    ("ate", ""),
    ("iti", ""),
    ("ous", ""),
    ("ive", ""),
    ("ize", ""),
];

/// The stem of one word, in lower case.
///
/// Takes any string and cannot fail; what is not a letter counts as a consonant, and words of one or two characters
/// come back as they are. `rouge_score` leaves words of three characters alone too, which is a rule of its tokeniser
/// ([`rouge::tokenize`](crate::rouge::tokenize)) and not of the stemmer. Time is linear in the length of the word.
///
/// ```
/// use tallow_metrics::porter::stem;
///
/// assert_eq!(stem("Generalizations"), "gener");
/// assert_eq!(stem("enjoyed"), "enjoy");
/// ```
pub fn stem(word: &str) -> String {
    let lower = word.to_lowercase();
    if let Some((_, stem)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == lower) {
        return (*stem).to_owned();
    }
    if word.chars().count() <= 2 {
        return lower;
    }
    [step_1a, step_1b, step_1c, step_2, step_3, step_4, step_5a, step_5b]
        .into_iter()
        .fold(lower, |word, step| step(word))
}

/// Plurals: caresses → caress, ponies → poni, cats → cat; but dies → die (NLTK).
fn step_1a(word: String) -> String {
    if word.ends_with("ies") && word.chars().count() == 4 {
        return with_suffix(&word, "s", "");
    }
    first_rule(word, STEP_1A, |_| true)
}

/// Past and progressive forms: agreed → agree, plastered → plaster, hopping → hop, filing → file; died → die and
/// spied → spi (NLTK).
fn step_1b(word: String) -> String {
    if word.ends_with("ied") {
        let ending = if word.chars().count() == 4 { "ie" } else { "i" };
        return with_suffix(&word, "ied", ending);
    }
    if word.ends_with("eed") {
        return first_rule(word, &[("eed", "ee")], |stem| measure(stem) > 0);
    }
    let Some(stem) = ["ed", "ing"]
        .into_iter()
        .find_map(|suffix| word.strip_suffix(suffix).filter(|stem| has_vowel(stem)))
        .map(str::to_owned)
    else {
        return word;
    };
    if ["at", "bl", "iz"].iter().any(|ending| stem.ends_with(ending)) {
        return stem + "e";
    }
    if let Some(letter) = double_consonant(&stem) {
        return if "lsz".contains(letter) { stem } else { stem[..stem.len() - letter.len_utf8()].to_owned() };
    }
    if measure(&stem) == 1 && ends_short(&stem) { stem + "e" } else { stem }
}

/// happy → happi, but enjoy → enjoy and by → by (NLTK; the paper asks for a vowel anywhere before the `y`).
fn step_1c(word: String) -> String {
    first_rule(word, &[("y", "i")], |stem| stem.chars().count() > 1 && consonants(stem).last() == Some(true))
}

/// Double suffixes to single ones: relational → relate, hopefulness → hopeful.
fn step_2(word: String) -> String {
    // NLTK takes `alli` ahead of the list and goes on from its result, so that e.g. "…ationalli" loses both suffixes.
    if word.strip_suffix("alli").is_some_and(|stem| measure(stem) > 0) {
        return step_2(with_suffix(&word, "alli", "al"));
    }
    if word.ends_with("logi") {
        // The `l` counts as part of the stem, so that geologi → geolog although the measure of "geo" is 0.
        return first_rule(word, &[("ogi", "og")], |stem| measure(stem) > 0);
    }
    first_rule(word, STEP_2, |stem| measure(stem) > 0)
}

/// More suffixes after a stem of some length: triplicate → triplic, goodness → good.
fn step_3(word: String) -> String {
    first_rule(word, STEP_3, |stem| measure(stem) > 0)
}

/// Single suffixes after a long stem: revival → reviv, adoption → adopt.
fn step_4(word: String) -> String {
    if word.ends_with("ion") {
        return first_rule(word, &[("ion", "")], |stem| measure(stem) > 1 && stem.ends_with(['s', 't']));
    }
    first_rule(word, STEP_4, |stem| measure(stem) > 1)
}

/// The last `e`: probate → probat, cease → ceas, but rate → rate.
fn step_5a(word: String) -> String {
    first_rule(word, &[("e", "")], |stem| match measure(stem) {
        0 => false,
        1 => !ends_short(stem),
        _ => true,
    })
}

/// The last `l` of two: controll → control, but roll → roll.
fn step_5b(word: String) -> String {
    if word.ends_with("ll") {
        return first_rule(word, &[("l", "")], |stem| measure(stem) > 1);
    }
    word
}

/// Applies the first rule whose suffix the word has, if the stem before that suffix meets the condition.
fn first_rule(word: String, rules: &[(&str, &str)], condition: impl Fn(&str) -> bool) -> String {
    for (suffix, replacement) in rules {
        if let Some(stem) = word.strip_suffix(suffix) {
            return if condition(stem) { format!("{stem}{replacement}") } else { word };
        }
    }
    word
}

fn with_suffix(word: &str, suffix: &str, replacement: &str) -> String {
    format!("{}{replacement}", word.strip_suffix(suffix).unwrap_or(word))
}

/// For each character, whether it is a consonant: a `y` is one at the start and after a vowel.
fn consonants(word: &str) -> impl Iterator<Item = bool> {
    word.chars().scan(false, |previous, letter| {
        *previous = match letter {
            'a' | 'e' | 'i' | 'o' | 'u' => false,
            'y' => !*previous,
            _ => true,
        };
        Some(*previous)
    })
}

/// The paper's m: how many times a vowel is followed by a consonant.
fn measure(stem: &str) -> usize {
    let mut after_vowel = false;
    consonants(stem).filter(|&consonant| std::mem::replace(&mut after_vowel, !consonant) && consonant).count()
}

/// The paper's \*v\*.
fn has_vowel(stem: &str) -> bool {
    consonants(stem).any(|consonant| !consonant)
}

/// The paper's \*d: the letter, if the word ends in the same consonant twice.
fn double_consonant(word: &str) -> Option<char> {
    let mut letters = word.chars().rev();
    let last = letters.next()?;
    (letters.next() == Some(last) && consonants(word).last() == Some(true)).then_some(last)
}

/// The paper's \*o: consonant, vowel, consonant other than `w x y` at the end; or, of NLTK, a vowel and a consonant
/// that are the whole word.
fn ends_short(word: &str) -> bool {
    let mut length = 0;
    let mut tail = [false; 3];
    for consonant in consonants(word) {
        tail = [tail[1], tail[2], consonant];
        length += 1;
    }
    (length >= 3 && tail == [true, false, true] && !word.ends_with(['w', 'x', 'y']))
        || (length == 2 && tail[1..] == [false, true])
}
