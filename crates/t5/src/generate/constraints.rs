use super::GenerationOptions;

/// Changes one row's logits (V) by what was generated before, in the order of transformers' processors.
/// The start token counts as generated, as it does there.
pub(super) fn apply(
    options: &GenerationOptions,
    logits: &mut [f32],
    start: u32,
    generated: &[u32],
    end: u32,
) {
    let history: Vec<u32> = std::iter::once(start).chain(generated.iter().copied()).collect();
    if options.repetition_penalty != 1.0 {
        let mut seen = history.clone();
        seen.sort_unstable();
        seen.dedup();
        for token in seen {
            let logit = &mut logits[token as usize];
            let penalty = options.repetition_penalty;
            *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
        }
    }
    if options.no_repeat_ngram_size > 0 {
        let n = options.no_repeat_ngram_size;
        let last = &history[history.len().saturating_sub(n - 1)..];
        if last.len() == n - 1 {
            for window in history.windows(n).filter(|window| window.starts_with(last)) {
                logits[window[n - 1] as usize] = f32::NEG_INFINITY;
            }
        }
    }
    if generated.len() < options.min_new_tokens {
        logits[end as usize] = f32::NEG_INFINITY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(options: GenerationOptions, generated: &[u32]) -> Vec<f32> {
        let mut logits = vec![1.0, 2.0, -3.0, 4.0];
        apply(&options, &mut logits, 0, generated, 1);
        logits
    }

    #[test]
    fn the_end_is_held_back() {
        let options = GenerationOptions { min_new_tokens: 2, ..Default::default() };
        assert_eq!(applied(options.clone(), &[3])[1], f32::NEG_INFINITY);
        assert_eq!(applied(options, &[3, 3])[1], 2.0);
    }

    #[test]
    fn a_repeated_ngram_is_barred() {
        let options = GenerationOptions { no_repeat_ngram_size: 2, ..Default::default() };
        // 0 3 2 3: after 3 came 2.
        assert_eq!(applied(options.clone(), &[3, 2, 3]), [1.0, 2.0, f32::NEG_INFINITY, 4.0]);
        assert_eq!(applied(options, &[]), [1.0, 2.0, -3.0, 4.0]);
        let single = GenerationOptions { no_repeat_ngram_size: 1, ..Default::default() };
        assert_eq!(applied(single, &[3]), [f32::NEG_INFINITY, 2.0, -3.0, f32::NEG_INFINITY]);
    }

    #[test]
    fn repetition_is_punished_either_side_of_zero() {
        let options = GenerationOptions { repetition_penalty: 2.0, ..Default::default() };
        assert_eq!(applied(options, &[2, 2]), [0.5, 2.0, -6.0, 4.0]);
    }
}
