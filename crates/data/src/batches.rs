//! Which rows make up which batch.

use crate::error::{Error, Result};
use crate::random::Random;

/// How much goes into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// This many rows.
    Rows(usize),
    /// As many rows as have at most this many tokens together, source and target. A single row with more tokens is a
    /// batch of its own.
    Tokens(usize),
}

/// How rows are put into batches.
///
/// Batches have no padding, so rows of unequal length cost nothing in a batch. Bucketing by length evens out the
/// work *per step* (with [`BatchSize::Rows`]) or the number of rows per step (with [`BatchSize::Tokens`]) within a
/// batch, at the price of batches that are less alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOptions {
    /// How much goes into a batch.
    pub size: BatchSize,
    /// Rows of this many batches at a time are sorted by length before they are cut into batches; 0: none are.
    pub bucket_batches: usize,
    /// Whether each epoch has an order of its own. Without it, every epoch goes through the rows as they come.
    pub shuffle: bool,
}

impl BatchOptions {
    /// For training: shuffled, not bucketed, every row used.
    pub fn training(size: BatchSize) -> Self {
        Self { size, bucket_batches: 0, shuffle: true }
    }

    /// For evaluation: in file order, every row used.
    pub fn evaluation(size: BatchSize) -> Self {
        Self { size, bucket_batches: 0, shuffle: false }
    }
}

/// The batches of a data set, epoch after epoch.
///
/// An epoch's batches are a function of lengths, options, seed and the epoch's number alone, so a run that is
/// stopped after any step goes on as if it had not been.
#[derive(Debug, Clone)]
pub struct Batches {
    /// Tokens of each row, source and target together.
    lengths: Vec<usize>,
    options: BatchOptions,
    seed: u64,
}

impl Batches {
    /// Batches of rows with these `(source, target)` lengths in tokens.
    ///
    /// # Errors
    ///
    /// No rows, or a size of 0: neither gives a batch.
    pub fn new(lengths: Vec<(usize, usize)>, options: BatchOptions, seed: u64) -> Result<Self> {
        let refuse = |reason| Err(Error::NoBatches { reason });
        match options.size {
            _ if lengths.is_empty() => return refuse("there are no rows"),
            BatchSize::Rows(0) | BatchSize::Tokens(0) => return refuse("the batch size is 0"),
            _ => {}
        }
        let lengths = lengths.into_iter().map(|(source, target)| source + target).collect();
        Ok(Self { lengths, options, seed })
    }

    /// The batches of an epoch (from 0), each a list of row numbers. Every row occurs exactly once.
    pub fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        let mut random = Random::new(self.seed, epoch as u64);
        if self.options.shuffle {
            random.shuffle(&mut order);
        }
        let mut batches = Vec::new();
        if self.options.bucket_batches == 0 {
            self.cut(&order, &mut batches);
        } else {
            for bucket in order.chunks_mut(self.bucket_rows()) {
                bucket.sort_by_key(|&row| self.lengths[row]);
                self.cut(bucket, &mut batches);
            }
        }
        if self.options.shuffle && self.options.bucket_batches > 0 {
            random.shuffle(&mut batches);
        }
        batches
    }

    /// The number of batches in the first `epochs` epochs: the steps of a run.
    pub fn steps(&self, epochs: usize) -> usize {
        match self.fixed_steps() {
            Some(steps) => steps * epochs,
            None => (0..epochs).map(|epoch| self.epoch(epoch).len()).sum(),
        }
    }

    /// The batches from a step (from 0, counted over all epochs) on, without end.
    pub fn from_step(&self, step: usize) -> Steps<'_> {
        let (mut epoch, mut skip) = match self.fixed_steps() {
            Some(steps) => (step / steps, step % steps),
            None => (0, step),
        };
        let mut batches = self.epoch(epoch);
        while skip >= batches.len() {
            skip -= batches.len();
            epoch += 1;
            batches = self.epoch(epoch);
        }
        let mut current = batches.into_iter();
        current.by_ref().take(skip).for_each(drop);
        Steps { batches: self, epoch, current }
    }

    /// The batches of an epoch where that number is the same for all of them.
    fn fixed_steps(&self) -> Option<usize> {
        match self.options.size {
            BatchSize::Rows(rows) => Some(self.lengths.len().div_ceil(rows)),
            BatchSize::Tokens(_) => None,
        }
    }

    /// The rows that `bucket_batches` batches take, on average.
    fn bucket_rows(&self) -> usize {
        let rows_a_batch = match self.options.size {
            BatchSize::Rows(rows) => rows,
            BatchSize::Tokens(tokens) => {
                let total = self.lengths.iter().sum::<usize>().max(1);
                (tokens.saturating_mul(self.lengths.len()) / total).max(1)
            }
        };
        rows_a_batch.saturating_mul(self.options.bucket_batches)
    }

    fn cut(&self, order: &[usize], batches: &mut Vec<Vec<usize>>) {
        let budget = match self.options.size {
            BatchSize::Rows(rows) => return batches.extend(order.chunks(rows).map(<[usize]>::to_vec)),
            BatchSize::Tokens(tokens) => tokens,
        };
        let mut batch = Vec::new();
        let mut tokens = 0;
        for &row in order {
            if !batch.is_empty() && tokens + self.lengths[row] > budget {
                batches.push(std::mem::take(&mut batch));
                tokens = 0;
            }
            batch.push(row);
            tokens += self.lengths[row];
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
    }
}

/// The endless batches of [`Batches::from_step`]: `(epoch, row numbers)`.
#[derive(Debug, Clone)]
pub struct Steps<'a> {
    batches: &'a Batches,
    epoch: usize,
    current: std::vec::IntoIter<Vec<usize>>,
}

impl Iterator for Steps<'_> {
    type Item = (usize, Vec<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.current.next() {
                return Some((self.epoch, batch));
            }
            self.epoch += 1;
            self.current = self.batches.epoch(self.epoch).into_iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn lengths(totals: &[usize]) -> Vec<(usize, usize)> {
        totals.iter().map(|&total| (total, 0)).collect()
    }

    fn batches(totals: &[usize], options: BatchOptions) -> Batches {
        Batches::new(lengths(totals), options, 1).unwrap()
    }

    #[test]
    fn evaluation_keeps_file_order() {
        let all = batches(&[5, 1, 3, 2, 4], BatchOptions::evaluation(BatchSize::Rows(2)));
        assert_eq!(all.epoch(0), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(all.epoch(3), all.epoch(0));
        let sorted = BatchOptions { bucket_batches: 10, ..BatchOptions::evaluation(BatchSize::Rows(2)) };
        assert_eq!(batches(&[5, 1, 3, 2, 4], sorted).epoch(0), [vec![1, 3], vec![2, 4], vec![0]]);
    }

    #[test]
    fn a_token_budget_is_kept_but_for_rows_beyond_it() {
        let all = batches(&[4, 6, 1, 12, 3, 3, 5], BatchOptions::evaluation(BatchSize::Tokens(10)));
        assert_eq!(all.epoch(0), [vec![0, 1], vec![2], vec![3], vec![4, 5], vec![6]]);
    }

    #[test]
    fn bucketing_evens_out_lengths_within_a_batch() {
        let totals: Vec<usize> = (0..1000).map(|row| row * 7919 % 500).collect();
        let spread = |bucket_batches| {
            let options = BatchOptions { bucket_batches, ..BatchOptions::training(BatchSize::Rows(8)) };
            let epoch = batches(&totals, options).epoch(0);
            let range = |batch: &Vec<usize>| {
                let of = |row: &usize| totals[*row];
                batch.iter().map(of).max().unwrap() - batch.iter().map(of).min().unwrap()
            };
            epoch.iter().map(range).sum::<usize>() / epoch.len()
        };
        assert!(spread(0) > 300 && spread(50) < 20, "{} {}", spread(0), spread(50));
    }

    #[test]
    fn a_seed_means_one_order_for_ever() {
        let options = BatchOptions { bucket_batches: 2, ..BatchOptions::training(BatchSize::Rows(3)) };
        let all = Batches::new(lengths(&[9, 3, 7, 1, 8, 2, 6]), options, 42).unwrap();
        assert_eq!(all.epoch(1), [vec![3, 5, 1], vec![6, 2, 0], vec![4]]);
        assert_ne!(all.epoch(0), all.epoch(1));
    }

    #[test]
    fn options_that_give_no_batches() {
        let message =
            |totals: &[usize], options| Batches::new(lengths(totals), options, 0).unwrap_err().to_string();
        assert_eq!(message(&[], BatchOptions::training(BatchSize::Rows(1))), "no batches: there are no rows");
        for size in [BatchSize::Rows(0), BatchSize::Tokens(0)] {
            assert_eq!(message(&[1], BatchOptions::training(size)), "no batches: the batch size is 0");
        }
    }

    fn any_batches() -> impl Strategy<Value = Batches> {
        let size =
            prop_oneof![(1_usize..20).prop_map(BatchSize::Rows), (1_usize..300).prop_map(BatchSize::Tokens)];
        let options = (size, 0_usize..5, any::<bool>());
        (vec((0_usize..60, 0_usize..60), 1..120), options, any::<u64>()).prop_map(
            |(lengths, (size, bucket_batches, shuffle), seed)| {
                let options = BatchOptions { size, bucket_batches, shuffle };
                Batches::new(lengths, options, seed).unwrap()
            },
        )
    }

    proptest! {
        #[test]
        fn every_row_once_an_epoch(batches in any_batches(), epoch in 0_usize..5) {
            let epoch = batches.epoch(epoch);
            prop_assert!(epoch.iter().all(|batch| !batch.is_empty()));
            let mut rows = epoch.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..batches.lengths.len()).collect::<Vec<_>>());
        }

        #[test]
        fn sizes_are_kept(batches in any_batches()) {
            for batch in batches.epoch(0) {
                let tokens: usize = batch.iter().map(|&row| batches.lengths[row]).sum();
                let fits = match batches.options.size {
                    BatchSize::Rows(rows) => batch.len() <= rows,
                    BatchSize::Tokens(budget) => tokens <= budget || batch.len() == 1,
                };
                prop_assert!(fits, "{} rows, {} tokens", batch.len(), tokens);
            }
        }

        #[test]
        fn any_step_can_be_the_first(batches in any_batches(), epochs in 1_usize..4, cut in 0.0..1.0) {
            let steps = batches.steps(epochs);
            let whole: Vec<_> = batches.from_step(0).take(steps + 3).collect();
            let epoch_by_epoch = (0..epochs).flat_map(|e| batches.epoch(e).into_iter().map(move |b| (e, b)));
            prop_assert_eq!(&whole[..steps], epoch_by_epoch.collect::<Vec<_>>());
            prop_assert!(whole[steps..].iter().all(|(epoch, _)| *epoch >= epochs));
            let start = (steps as f64 * cut) as usize;
            let rest: Vec<_> = batches.from_step(start).take(steps + 3 - start).collect();
            prop_assert_eq!(&whole[start..], rest);
        }
    }
}
