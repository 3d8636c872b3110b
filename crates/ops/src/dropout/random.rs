/// The source of a step's dropout masks: a seed, and the step. Nothing is stored and nothing advances, so
/// backward and a resumed run see the same masks, on every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Randomness {
    key: u64,
}

impl Randomness {
    /// The masks of one tape: `stream` tells the parts of one step (shards, micro-batches) apart.
    pub fn new(seed: u64, step: u64, stream: u64) -> Self {
        let key = mix64(mix64(mix64(seed).wrapping_add(step)).wrapping_add(stream));
        Self { key }
    }

    /// Numbers in [0, 1) for the `site`th tensor: initial values.
    pub fn uniform(self, site: u32, count: usize) -> impl Iterator<Item = f32> {
        let key = mix64(self.key.wrapping_add(u64::from(site)));
        // The 24 bits that an f32 has.
        (0..count as u64).map(move |i| (mix64(key ^ i) >> 40) as f32 / 16_777_216.0)
    }

    /// Normal numbers of mean 0 and deviation 1 for the `site`th tensor: initial values. Box and Muller 1958.
    pub fn normal(self, site: u32, count: usize) -> impl Iterator<Item = f32> {
        let key = mix64(self.key.wrapping_add(u64::from(site)));
        // 53 bits, in (0, 1].
        let even = move |i: u64| ((mix64(key ^ i) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (0..count as u64).map(move |i| {
            let (length, angle) = ((-2.0 * even(2 * i).ln()).sqrt(), std::f64::consts::TAU * even(2 * i + 1));
            (length * angle.cos()) as f32
        })
    }

    /// The mask of the `site`th place of the forward pass that drops with probability `p`.
    pub fn mask(self, site: u32, p: f64) -> Mask {
        let key = mix64(self.key.wrapping_add(u64::from(site)));
        Mask {
            keys: [key as u32, (key >> 32) as u32],
            // Kept if the hash is at least p 2^32.
            threshold: (p.clamp(0.0, 1.0) * 2f64.powi(32)).min(f64::from(u32::MAX)) as u32,
            scale: if p < 1.0 { (1.0 / (1.0 - p)) as f32 } else { 0.0 },
        }
    }
}

/// splitmix64's output function.
fn mix64(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Which elements of one tensor are kept: a function of the element's index alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    keys: [u32; 2],
    threshold: u32,
    scale: f32,
}

impl Mask {
    /// 1 / (1 - p) if element `index` is kept, else 0.
    ///
    /// A keyed 32-bit hash: xor-shifts and multiplications only, so that it vectorises.
    #[inline(always)]
    pub fn factor(&self, index: u32) -> f32 {
        let x = (index ^ self.keys[0]).wrapping_mul(0x7FEB_352D);
        let x = ((x ^ (x >> 15)) ^ self.keys[1]).wrapping_mul(0x846C_A68B);
        let x = (x ^ (x >> 16)).wrapping_mul(0x9E37_79B1);
        let x = x ^ (x >> 15);
        if x >= self.threshold { self.scale } else { 0.0 }
    }

    /// Calls `f(i, drop(x_i))` for each i; the index of the first element is `first`. The compiler vectorises it, and does
    /// not where an open range of u32 does the counting.
    #[inline(always)]
    pub(crate) fn each(&self, first: u32, x: &[f32], mut f: impl FnMut(usize, f32)) {
        for (i, x) in x.iter().enumerate() {
            f(i, x * self.factor(first.wrapping_add(i as u32)));
        }
    }

    /// The keys, the threshold and the scale's bits, as the CUDA kernels read them; none keeps everything.
    #[cfg(feature = "cuda")]
    pub(crate) fn words(mask: Option<Self>) -> [u32; 4] {
        mask.map_or([0, 0, 0, 1f32.to_bits()], |mask| {
            [mask.keys[0], mask.keys[1], mask.threshold, mask.scale.to_bits()]
        })
    }

    /// The mask of row `row` of a matrix too large for one index: rows have masks of their own.
    #[inline(always)]
    pub fn row(&self, row: u32) -> Mask {
        let x = (row ^ self.keys[1]).wrapping_mul(0xC2B2_AE35);
        let x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
        Mask { keys: [self.keys[0] ^ x ^ (x >> 13), self.keys[1].wrapping_add(x)], ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_share_that_it_should_and_scales_to_the_mean() {
        for p in [0.05, 0.1, 0.5, 0.9] {
            for site in 0..4 {
                let mask = Randomness::new(7, 3, 0).mask(site, p);
                let n = 200_000;
                let kept = (0..n).filter(|&i| mask.factor(i) > 0.0).count() as f64 / f64::from(n);
                // Five standard deviations of a binomial share.
                assert!(
                    (kept - (1.0 - p)).abs() < 5.0 * (p * (1.0 - p) / f64::from(n)).sqrt(),
                    "{p}: {kept}"
                );
                assert_eq!(f64::from(mask.row(5).scale), f64::from((1.0 / (1.0 - p)) as f32));
            }
        }
    }

    #[test]
    fn neighbours_rows_and_sites_are_independent() {
        let randomness = Randomness::new(1, 0, 0);
        let n = 100_000u32;
        let a = randomness.mask(0, 0.5);
        let agreement = |f: &dyn Fn(u32) -> bool| (0..n).filter(|&i| f(i)).count() as f64 / f64::from(n);
        let kept = |mask: Mask, i: u32| mask.factor(i) > 0.0;
        let others: [(&str, &dyn Fn(u32) -> bool); 5] = [
            ("next", &|i| kept(a, i) == kept(a, i + 1)),
            ("stride", &|i| kept(a, i) == kept(a, i + 512)),
            ("site", &|i| kept(a, i) == kept(randomness.mask(1, 0.5), i)),
            ("step", &|i| kept(a, i) == kept(Randomness::new(1, 1, 0).mask(0, 0.5), i)),
            ("row", &|i| kept(a.row(0), i) == kept(a.row(1), i)),
        ];
        for (name, agrees) in others {
            let share = agreement(agrees);
            assert!((share - 0.5).abs() < 0.01, "{name}: {share}");
        }
    }

    #[test]
    fn uniform_numbers_fill_the_unit_interval() {
        let uniform = |seed, site| Randomness::new(seed, 0, 0).uniform(site, 100_000).collect::<Vec<f32>>();
        let x = uniform(1, 0);
        assert!(x.iter().all(|x| (0.0..1.0).contains(x)));
        for tenth in 0..10 {
            let low = tenth as f32 * 0.1;
            let share = x.iter().filter(|&&x| x >= low && x < low + 0.1).count() as f64 / 1e5;
            assert!((share - 0.1).abs() < 0.005, "{share} from {low}");
        }
        for other in [uniform(2, 0), uniform(1, 1), x[1..].to_vec()] {
            let product = |(a, b): (&f32, &f32)| f64::from((a - 0.5) * (b - 0.5));
            let correlation = 12.0 * x.iter().zip(&other).map(product).sum::<f64>() / 1e5;
            assert!(correlation.abs() < 0.02, "{correlation}");
        }
    }

    #[test]
    fn ends_of_the_range_drop_nothing_and_everything() {
        let randomness = Randomness::new(1, 0, 0);
        assert!((0..1000).all(|i| randomness.mask(0, 0.0).factor(i) == 1.0));
        assert!((0..1000).all(|i| randomness.mask(0, 1.0).factor(i) == 0.0));
    }
}
