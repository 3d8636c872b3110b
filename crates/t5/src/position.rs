//! T5's buckets of relative distance.

use candle_core::{Device, Tensor};

use crate::Result;

/// How a stack maps distances to the rows of its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buckets {
    /// The encoder looks both ways; the decoder only back.
    pub bidirectional: bool,
    pub count: usize,
    pub max_distance: usize,
}

impl Buckets {
    /// The bucket of a distance, key minus query: as `T5Attention._relative_position_bucket`.
    pub fn of(&self, distance: i64) -> u32 {
        let (count, offset, n) = match self.bidirectional {
            true => (self.count / 2, if distance > 0 { self.count / 2 } else { 0 }, distance.unsigned_abs()),
            false => (self.count, 0, (-distance).max(0) as u64),
        };
        let (n, exact) = (n as usize, count / 2);
        if n < exact {
            return (offset + n) as u32;
        }
        // In f32, operation by operation as the reference, whose rounding decides at the borders.
        let ratio = (n as f32 / exact as f32).ln() / (self.max_distance as f64 / exact as f64).ln() as f32;
        let far = exact + (ratio * (count - exact) as f32) as usize;
        (offset + far.min(count - 1)) as u32
    }

    /// The bucket of each distance from 1 - reach to reach - 1, (2 reach - 1), u32.
    pub fn index(&self, reach: usize, device: &Device) -> Result<Tensor> {
        let reach = reach.max(1) as i64;
        let index: Vec<u32> = (1 - reach..reach).map(|distance| self.of(distance)).collect();
        Ok(Tensor::new(index, device)?)
    }
}

#[cfg(test)]
mod tests {
    use super::Buckets;

    #[test]
    fn buckets_are_the_references() {
        // transformers 5.23: T5Attention._relative_position_bucket(d, bidirectional, 32, 128).
        let both = Buckets { bidirectional: true, count: 32, max_distance: 128 };
        let found =
            [-500, -128, -127, -64, -16, -8, -7, -1, 0, 1, 7, 8, 16, 31, 64, 127, 500].map(|d| both.of(d));
        assert_eq!(found, [15, 15, 15, 14, 10, 8, 7, 1, 0, 17, 23, 24, 26, 27, 30, 31, 31]);
        let back = Buckets { bidirectional: false, count: 32, max_distance: 128 };
        let found = [-500, -128, -127, -64, -32, -17, -16, -15, -8, -1, 0, 1, 9].map(|d| back.of(d));
        assert_eq!(found, [31, 31, 31, 26, 21, 16, 16, 15, 8, 1, 0, 0, 0]);
    }
}
