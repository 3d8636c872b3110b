//! ROUGE where the rules of the measures meet their edges.

use std::num::NonZeroUsize;

use tallow_metrics::rouge::tokenize;
use tallow_metrics::{Error, References, Rouge, RougeCorpus, RougeType, Score};

const ZERO: Score = Score { precision: 0.0, recall: 0.0, fmeasure: 0.0 };
const ONE: Score = Score { precision: 1.0, recall: 1.0, fmeasure: 1.0 };

fn rouge(types: &[&str]) -> Rouge {
    Rouge { types: types.iter().map(|name| name.parse().unwrap()).collect(), stemmer: false }
}

fn score(name: &str, target: &str, prediction: &str) -> Score {
    rouge(&[name]).score(target, prediction)[0]
}

#[test]
fn nothing_to_compare_scores_zero() {
    let rouge = rouge(&["rouge1", "rouge2", "rougeL", "rougeLsum"]);
    for (target, prediction) in
        [("", ""), ("", "a b"), ("a b", ""), ("\n\n", "a"), ("…", "?!"), ("日本語", "日本語")]
    {
        assert_eq!(rouge.score(target, prediction), [ZERO; 4], "{target:?}, {prediction:?}");
    }
}

#[test]
fn an_n_longer_than_the_text_scores_zero() {
    assert_eq!(score("rouge3", "a b c", "a b c"), ONE);
    assert_eq!(score("rouge4", "a b c", "a b c"), ZERO);
    assert_eq!(score("rouge4", "a b c", "a b c d e"), ZERO);
    assert_eq!(score(&format!("rouge{}", usize::MAX), "a b c", "a b c"), ZERO);
    assert_eq!(score("rouge12", "a b c d e f g h i j k l", "a b c d e f g h i j k l"), ONE);
}

#[test]
fn ngrams_are_clipped_on_either_side() {
    let quarter = Score { precision: 0.25, recall: 1.0, fmeasure: 0.4 };
    assert_eq!(score("rouge1", "so", "so so so so"), quarter);
    assert_eq!(score("rouge1", "so so so so", "so").recall, 0.25);
    assert_eq!(score("rouge2", "so so so", "so so so so so").precision, 0.5);
}

#[test]
fn l_runs_over_lines_and_lsum_within_them() {
    // In other order, the lines share all of their words; as one text, only those of the longer line.
    let (target, prediction) = ("the rain stopped\nwe went out", "we went out\nthe rain has stopped");
    assert_eq!(score("rougeL", target, prediction).recall, 3.0 / 6.0);
    assert_eq!(score("rougeLsum", target, prediction).recall, 1.0);
    // Only `\n` ends a line, and lines without tokens change nothing.
    let one_line = |text: &str| text.replace('\n', "\r\u{2028}");
    assert_eq!(score("rougeLsum", &one_line(target), &one_line(prediction)).recall, 3.0 / 6.0);
    assert_eq!(score("rougeLsum", "\n the rain stopped\n\n--\nwe went out\n", prediction).recall, 1.0);
}

#[test]
fn lsum_credits_a_predicted_word_once() {
    assert_eq!(score("rougeLsum", "we left\nwe slept", "we").recall, 1.0 / 4.0);
    assert_eq!(score("rougeLsum", "we left\nwe slept", "we\nwe").recall, 2.0 / 4.0);
}

#[test]
fn tokens_of_unicode_text() {
    // The two characters outside ASCII whose lower case has an ASCII letter: the Kelvin sign and the dotted capital I.
    assert_eq!(tokenize("300\u{212a} \u{130}n", false), ["300k", "i", "n"]);
    assert_eq!(tokenize("naïve_snake e\u{301}te Ａ１ ٣ 𝐱 ½", false), ["na", "ve", "snake", "e", "te"]);
    assert_eq!(tokenize("a\u{1c}b\u{85}c\u{a0}d\0e", false), ["a", "b", "c", "d", "e"]);
    assert_eq!(tokenize("\u{fffd}\u{200b}", true), [""; 0]);
}

#[test]
fn short_words_are_not_stemmed() {
    assert_eq!(tokenize("bus buses his skies 1990s", true), ["bus", "buse", "his", "sky", "1990"]);
    let stemmed = Rouge { stemmer: true, ..rouge(&["rouge2"]) };
    assert_eq!(stemmed.score("she jumped happily", "she jumps happily"), [ONE]);
}

#[test]
fn the_best_reference_is_chosen_for_each_type() {
    let types = rouge(&["rouge1", "rouge2"]);
    let targets = ["d c b a", "a b x y"];
    let best = types.score_multi(&targets, "a b c d", References::Best).unwrap();
    assert_eq!(best, [ONE, types.score(targets[1], "a b c d")[1]]);
    let mean = types.score_multi(&targets, "a b c d", References::Mean).unwrap();
    assert_eq!((mean[0].fmeasure, mean[1].fmeasure), (0.75, (1.0 / 3.0) / 2.0));
}

#[test]
fn of_equally_good_references_the_first_is_taken() {
    let types = rouge(&["rouge1"]);
    // Against a prediction of two words: precision 1/2, recall 1, and the other way round.
    let (short, long) = ("a", "a b c d");
    let expected = |target| types.score(target, "a b")[0];
    assert_eq!(expected(short).fmeasure, expected(long).fmeasure);
    assert_ne!(expected(short), expected(long));
    for targets in [[short, long], [long, short]] {
        let best = types.score_multi(&targets, "a b", References::Best).unwrap();
        assert_eq!(best, [expected(targets[0])]);
    }
}

#[test]
fn the_mean_of_f1_is_not_the_f1_of_means() {
    let mean = rouge(&["rouge1"]).score_multi(&["a", "a b c d"], "a b", References::Mean).unwrap()[0];
    assert_eq!((mean.precision, mean.recall, mean.fmeasure), (0.75, 0.75, 2.0 / 3.0));
}

#[test]
fn no_reference_is_an_error() {
    let none: [&str; 0] = [];
    let types = rouge(&["rouge1"]);
    for references in [References::Best, References::Mean] {
        assert_eq!(types.score_multi(&none, "a", references), Err(Error::NoReferences));
    }
    let mut corpus = RougeCorpus::new(types, References::Best);
    assert_eq!(corpus.add(&none, "a"), Err(Error::NoReferences));
    assert_eq!((corpus.rows(), corpus.mean()), (0, None));
}

#[test]
fn a_corpus_is_the_mean_of_its_rows() {
    let mut corpus = RougeCorpus::new(rouge(&["rougeL", "rouge1"]), References::Best);
    assert_eq!(corpus.add(&["a b"], "a b").unwrap(), [ONE, ONE]);
    corpus.add(&["a b"], "b a").unwrap();
    corpus.add(&["c", "a"], "b").unwrap();
    corpus.add(&[String::from("c")], "").unwrap();
    let half = Score { precision: 0.5, recall: 0.5, fmeasure: 0.5 };
    let expected = Score { precision: 0.375, recall: 0.375, fmeasure: 0.375 };
    assert_eq!(corpus.mean().unwrap(), [(RougeType::L, expected), (RougeType::ROUGE_1, half)]);
    assert_eq!(corpus.rows(), 4);
}

#[test]
fn names_round_trip_and_bad_ones_are_told() {
    for name in ["rouge1", "rouge2", "rouge10", "rougeL", "rougeLsum"] {
        let rouge_type: RougeType = name.parse().unwrap();
        assert_eq!(rouge_type.to_string(), name);
        assert_eq!(serde_json::to_value(rouge_type).unwrap(), name);
        assert_eq!(serde_json::from_value::<RougeType>(name.into()).unwrap(), rouge_type);
    }
    assert_eq!("rouge7".parse(), Ok(RougeType::N(NonZeroUsize::new(7).unwrap())));
    for name in ["", "rouge", "rouge0", "rouge01", "rouge+1", "rouge1 ", "rouge²", "rougel", "Rouge1", "bleu"]
    {
        let message = name.parse::<RougeType>().unwrap_err().to_string();
        assert!(message.contains(&format!("`{name}`")) && message.contains("rougeLsum"), "{message}");
        assert!(serde_json::from_value::<RougeType>(name.into()).unwrap_err().to_string().contains(&message));
    }
    for references in [References::Best, References::Mean] {
        assert_eq!(serde_json::to_value(references).unwrap(), references.to_string());
    }
    assert!(serde_json::from_value::<References>("max".into()).is_err());
}
