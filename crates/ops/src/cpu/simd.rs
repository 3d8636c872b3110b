//! Loops that the compiler vectorises for the CPU it finds at run time (AVX-512, AVX2, NEON), and
//! float-accurate functions that vectorise with them.

/// Runs `body` compiled for the widest instruction set of this CPU.
///
/// What `body` calls, and `body` itself, must be `#[inline(always)]`: otherwise it runs scalar, silently.
#[inline]
pub(crate) fn run<R>(body: impl FnOnce() -> R) -> R {
    struct Body<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Body<F> {
        type Output = R;
        #[inline(always)]
        fn call(self) -> R {
            self.0()
        }
    }
    pulp::Arch::new().dispatch(Body(body))
}

/// The vector instructions that the loops of the CPU kernels take; sums depend on them in their last bits.
pub fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match (pulp::x86::V4::try_new(), pulp::x86::V3::try_new()) {
        (Some(_), _) => "AVX-512",
        (None, Some(_)) => "AVX2",
        (None, None) => "SSE2",
    }
    #[cfg(target_arch = "aarch64")]
    {
        "NEON"
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        "none"
    }
}

/// Has the line of x on its way to the first-level cache, or to the second. Nothing is read: x may lie anywhere.
#[inline(always)]
pub(crate) fn fetch<const LEVEL: usize>(x: *const f32) {
    const { assert!(LEVEL == 1 || LEVEL == 2) };
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and it takes any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        match LEVEL {
            1 => _mm_prefetch::<_MM_HINT_T0>(x.cast()),
            _ => _mm_prefetch::<_MM_HINT_T1>(x.cast()),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = x;
}

const LANES: usize = 64;

/// The sum of f(x_i, y_i), in lanes, so that it vectorises.
#[inline(always)]
pub(crate) fn sum2(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let tail: f32 = xs.remainder().iter().zip(ys.remainder()).map(|(&x, &y)| f(x, y)).sum();
    for (x, y) in xs.zip(ys) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i]);
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// The sum of f(x_i, y_i, z_i), likewise.
#[inline(always)]
pub(crate) fn sum3(x: &[f32], y: &[f32], z: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (xs, ys, zs) = (x.chunks_exact(LANES), y.chunks_exact(LANES), z.chunks_exact(LANES));
    let tail = xs.remainder().iter().zip(ys.remainder()).zip(zs.remainder());
    let tail: f32 = tail.map(|((&x, &y), &z)| f(x, y, z)).sum();
    for ((x, y), z) in xs.zip(ys).zip(zs) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i], z[i]);
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// The greatest value; negative infinity for none.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let tail = chunks.remainder().iter().fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m });
    for x in chunks {
        for i in 0..LANES {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    lanes.iter().fold(tail, |m, &x| if x > m { x } else { m })
}

/// ln(sum(e^x_i)): what log-probabilities lie below their logits. Negative infinity for none.
pub fn log_sum_exp(x: &[f32]) -> f32 {
    run(
        #[inline(always)]
        || {
            let most = max(x);
            let sum = sum2(x, x, |x, _| exp(x - most));
            if most.is_finite() { most + sum.ln() } else { most }
        },
    )
}

/// e^x to about one unit in the last place between -87.3 and 88; constant beyond. NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let t = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = t - ROUND;
    // ln 2 in two parts, so that n ln 2 is exact.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = r.mul_add(1.987_569_1e-4, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    p * f32::from_bits(t.to_bits().wrapping_add(127) << 23)
}

/// GELU in its tanh form, and its derivative: x s(z), z = 2 sqrt(2/pi) (x + 0.044715 x^3), s the logistic
/// function.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> (f32, f32) {
    const C: f32 = 1.595_769;
    const A: f32 = 0.044_715;
    let square = x * x;
    let z = C * x * square.mul_add(A, 1.0);
    let s = 1.0 / (1.0 + exp(-z));
    let slope = C * square.mul_add(3.0 * A, 1.0);
    (x * s, (x * slope).mul_add(s * (1.0 - s), s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_to_two_units_in_the_last_place() {
        for i in -870_000..=880_000 {
            let x = i as f32 * 1e-4;
            let (found, exact) = (exp(x), f64::from(x).exp());
            let error = (f64::from(found) - exact).abs() / exact;
            assert!(error < 2.4e-7, "e^{x}: {found} against {exact}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn log_sum_exp_holds_for_large_and_barred_values() {
        for n in [1, 63, 64, 1000] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin() * 50.0 + 1000.0).collect();
            let exact = x.iter().map(|&x| (f64::from(x) - 1000.0).exp()).sum::<f64>().ln() + 1000.0;
            assert!((f64::from(log_sum_exp(&x)) - exact).abs() < 2e-4);
        }
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY, 2.0]), 2.0);
        assert_eq!(log_sum_exp(&[]), f32::NEG_INFINITY);
    }

    #[test]
    fn gelu_is_the_tanh_form() {
        for i in -1000..=1000 {
            let x = f64::from(i) * 0.01;
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            let exact = 0.5 * x * (1.0 + inner.tanh());
            let slope = {
                let d = (2.0 / std::f64::consts::PI).sqrt() * (1.0 + 3.0 * 0.044715 * x * x);
                0.5 * (1.0 + inner.tanh()) + 0.5 * x * (1.0 - inner.tanh().powi(2)) * d
            };
            let (value, derivative) = gelu(x as f32);
            assert!((f64::from(value) - exact).abs() < 2e-6, "gelu({x})");
            assert!((f64::from(derivative) - slope).abs() < 4e-6, "gelu'({x})");
        }
    }

    #[test]
    fn reductions_agree_with_the_plain_loops() {
        for n in [0, 1, 63, 64, 65, 200] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let plain: f32 = x.iter().map(|x| x * x).sum();
            assert!((sum2(&x, &x, |x, y| x * y) - plain).abs() < 1e-4);
            let cubes: f32 = x.iter().map(|x| x * x * x).sum();
            assert!((sum3(&x, &x, &x, |x, y, z| x * y * z) - cubes).abs() < 1e-4);
            assert_eq!(max(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
