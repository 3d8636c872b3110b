//! The innermost product: a few rows by a few vectors of columns, summed in registers.

use pulp::Simd;

use super::ROWS;
use crate::cpu::product::Product;
use crate::cpu::simd::fetch;

/// y, or what is added to it, for `rows` rows and `width` columns of one panel; b's vectors of one inner index lie
/// `step` values behind those of the one before.
///
/// # Safety
/// The operands must have this size, b whole vectors, and y must be valid for reads and writes of it.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const C: usize>(
    simd: S,
    product: Product,
    [rows, depth, width]: [usize; 3],
    step: usize,
) {
    const { assert!(C <= 4) };
    // SAFETY: the caller's.
    unsafe {
        match width.div_ceil(S::F32_LANES) {
            1 => of_rows::<S, 1>(simd, product, [rows, depth, width], step),
            2 => of_rows::<S, 2>(simd, product, [rows, depth, width], step),
            3 if C > 2 => of_rows::<S, 3>(simd, product, [rows, depth, width], step),
            _ if C > 2 => of_rows::<S, 4>(simd, product, [rows, depth, width], step),
            _ => unreachable!("a panel has at most {C} vectors"),
        }
    }
}

/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn of_rows<S: Simd, const C: usize>(simd: S, product: Product, size: [usize; 3], step: usize) {
    const { assert!(ROWS == 6) };
    // SAFETY: the caller's.
    unsafe {
        match size[0] {
            1 => sums::<S, 1, C>(simd, product, size, step),
            2 => sums::<S, 2, C>(simd, product, size, step),
            3 => sums::<S, 3, C>(simd, product, size, step),
            4 => sums::<S, 4, C>(simd, product, size, step),
            5 => sums::<S, 5, C>(simd, product, size, step),
            _ => sums::<S, 6, C>(simd, product, size, step),
        }
    }
}

/// # Safety
/// As for [`tile`].
#[expect(clippy::needless_range_loop, reason = "by iterators, the sums leave their registers")]
#[inline(always)]
unsafe fn sums<S: Simd, const R: usize, const C: usize>(
    simd: S,
    Product { y, stride, a, b, scale, accumulate }: Product,
    [_, depth, width]: [usize; 3],
    step: usize,
) {
    for r in 0..R {
        for c in 0..C {
            fetch::<1>(y.wrapping_add(r * stride + c * S::F32_LANES));
        }
    }
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    // SAFETY: the caller's.
    unsafe {
        let (mut x, mut panel) = (a.data, b.data);
        for _ in 0..depth {
            let vectors: [S::f32s; C] = std::array::from_fn(
                #[inline(always)]
                |c| panel.add(c * S::F32_LANES).cast::<S::f32s>().read_unaligned(),
            );
            for r in 0..R {
                let x = simd.splat_f32s(*x.add(r * a.lane));
                for c in 0..C {
                    sums[r][c] = simd.mul_add_e_f32s(x, vectors[c], sums[r][c]);
                }
            }
            x = x.wrapping_add(a.inner);
            panel = panel.wrapping_add(step);
        }
        let scale = simd.splat_f32s(scale);
        // Only the last vector can be in part; the others are told apart here, so that their sums stay in registers.
        let whole = if width == C * S::F32_LANES { C } else { C - 1 };
        for r in 0..R {
            for c in 0..C {
                if c + 1 < C || whole == C {
                    let place = y.add(r * stride + c * S::F32_LANES).cast::<S::f32s>();
                    place.write_unaligned(match accumulate {
                        true => simd.mul_add_e_f32s(scale, sums[r][c], place.read_unaligned()),
                        false => simd.mul_f32s(scale, sums[r][c]),
                    });
                }
            }
        }
        if whole < C {
            let first = whole * S::F32_LANES;
            for r in 0..R {
                let rest = std::slice::from_raw_parts_mut(y.add(r * stride + first), width - first);
                let sum = match accumulate {
                    true => simd.mul_add_e_f32s(scale, sums[r][C - 1], simd.partial_load_f32s(rest)),
                    false => simd.mul_f32s(scale, sums[r][C - 1]),
                };
                simd.partial_store_f32s(rest, sum);
            }
        }
    }
}
