use serde::Serialize;

/// Lengths in tokens, before they are cut.
#[derive(Serialize)]
pub struct Lengths {
    pub mean: f64,
    pub median: f64,
    pub longest: usize,
    /// Rows of so many tokens, from the first number to the second.
    pub histogram: Vec<(usize, usize, usize)>,
    pub limit: usize,
    pub rows_cut: usize,
    pub tokens_cut: usize,
    #[serde(skip)]
    all: Vec<usize>,
}

/// The most bars of a histogram.
const BARS: usize = 10;

/// The least of 1, 2, 5, 10, 20, 50, ... with which no more bars are needed.
fn bar_width(longest: usize) -> usize {
    let mut widths = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10usize.pow(power)));
    widths.find(|width| longest.div_ceil(*width) <= BARS).expect("the widths grow")
}

impl Lengths {
    pub fn new(limit: usize) -> Self {
        let (mean, median, longest) = (0.0, 0.0, 0);
        Self {
            mean,
            median,
            longest,
            histogram: Vec::new(),
            limit,
            rows_cut: 0,
            tokens_cut: 0,
            all: Vec::new(),
        }
    }

    /// Counts a row; gives what is left of it.
    pub fn count(&mut self, tokens: usize) -> usize {
        self.all.push(tokens);
        let kept = tokens.min(self.limit);
        self.rows_cut += usize::from(kept < tokens);
        self.tokens_cut += tokens - kept;
        kept
    }

    /// Makes the figures of what was counted.
    pub fn finish(&mut self) {
        self.all.sort_unstable();
        let tokens = &self.all;
        let Some(&longest) = tokens.last() else { return };
        let width = bar_width(longest);
        let bars = (0..longest.div_ceil(width)).map(|bar| (bar * width + 1, (bar + 1) * width));
        let upto = |most: usize| tokens.partition_point(|&n| n <= most);
        self.histogram = bars.map(|(first, last)| (first, last, upto(last) - upto(first - 1))).collect();
        self.longest = longest;
        self.mean = tokens.iter().sum::<usize>() as f64 / tokens.len() as f64;
        self.median = (tokens[(tokens.len() - 1) / 2] + tokens[tokens.len() / 2]) as f64 / 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(tokens: &[usize], limit: usize) -> Lengths {
        let mut lengths = Lengths::new(limit);
        for &n in tokens {
            lengths.count(n);
        }
        lengths.finish();
        lengths
    }

    #[test]
    fn figures_of_lengths() {
        let found = lengths(&[7, 1, 30, 4], 8);
        assert_eq!((found.mean, found.median, found.longest), (10.5, 5.5, 30));
        assert_eq!((found.rows_cut, found.tokens_cut), (1, 22));
        assert_eq!(lengths(&[3, 9, 5], 9).median, 5.0);
        assert_eq!(lengths(&[], 9).histogram, []);
    }

    #[test]
    fn bars_hold_every_row_once() {
        let tokens: Vec<usize> = (1..=97).collect();
        let found = lengths(&tokens, 100);
        assert_eq!(found.histogram.len(), BARS);
        assert_eq!(found.histogram[0], (1, 10, 10));
        assert_eq!(found.histogram[9], (91, 100, 7));
        assert_eq!([1, 10, 11, 20, 21, 50, 1579].map(bar_width), [1, 1, 2, 2, 5, 5, 200]);
    }
}
