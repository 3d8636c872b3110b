//! Floats in three parts, laid out as the tile units read them.

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_set4_epi32,
    _mm512_shuffle_i32x4, _mm512_store_si512, _mm512_storeu_si512, _mm512_sub_ps, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::tile::{SIDE, TILE};
use crate::cpu::product::Operand;

/// Values of the inner size to a tile: 16 pairs of bf16.
pub(super) const STEP: usize = 32;
/// The parts of a float: bf16 has 8 of its 24 bits.
const PARTS: usize = 3;
/// Lines to a step of a panel: two tiles of the first parts, two of the second, two of the third.
pub(super) const PANEL_STEP: usize = PARTS * 2 * TILE;

/// A row of a tile: 16 pairs of bf16.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Line([u32; 16]);

/// What a line of a tile holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A lane at 16 pairs of inner indices: the left operand's.
    Lanes,
    /// A pair of inner indices at 16 lanes: the right operand's.
    Depth,
}

pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Packs lanes by depth into panels of [`SIDE`] lanes, each of steps of [`STEP`] inner indices; what is missing of the
/// last ones is zero.
///
/// # Safety
/// The operand must have this size, and AVX-512 must be there.
pub(super) unsafe fn pack(
    x: Operand,
    lanes: usize,
    depth: usize,
    scale: f32,
    format: Format,
    out: &mut [Line],
) {
    let (panels, steps) = (lanes.div_ceil(SIDE), depth.div_ceil(STEP));
    let mut blocks = [Block([0.0; SIDE * STEP]); 2];
    let mut step = |panel: usize, step: usize| {
        let size = [SIDE.min(lanes - panel * SIDE), STEP.min(depth - step * STEP)];
        let out = &mut out[(panel * steps + step) * PANEL_STEP..][..PANEL_STEP];
        // SAFETY: the caller's.
        unsafe { pack_step(x.at(panel * SIDE, step * STEP), size, scale, format, &mut blocks, out) };
    };
    // Along the memory.
    match x.inner {
        1 => (0..panels).for_each(|panel| (0..steps).for_each(|index| step(panel, index))),
        _ => (0..steps).for_each(|index| (0..panels).for_each(|panel| step(panel, index))),
    }
}

/// One step of one panel.
///
/// # Safety
/// As for [`pack`]; `out` holds a step.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pack_step(
    x: Operand,
    size: [usize; 2],
    scale: f32,
    format: Format,
    blocks: &mut [Block; 2],
    out: &mut [Line],
) {
    assert!(x.inner == 1 || x.lane == 1, "an operand that follows one of its axes");
    let native = if x.inner == 1 { Format::Lanes } else { Format::Depth };
    let [padded, turned] = blocks;
    // SAFETY: the caller's; the blocks are whole steps.
    unsafe {
        let x = if size == [SIDE, STEP] { x } else { padded.copied(x, size) };
        split(if native == format { x } else { turned.transposed(x) }, scale, out);
    }
}

/// The values of a step.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block([f32; SIDE * STEP]);

impl Block {
    /// A block of this format.
    fn operand(&mut self, format: Format) -> Operand {
        let data = self.0.as_ptr();
        match format {
            Format::Lanes => Operand { data, lane: STEP, inner: 1 },
            Format::Depth => Operand { data, lane: 1, inner: SIDE },
        }
    }

    /// The operand with zeros behind its (lanes, depth).
    ///
    /// # Safety
    /// The operand must have this size.
    unsafe fn copied(&mut self, x: Operand, [lanes, depth]: [usize; 2]) -> Operand {
        let (format, rows, columns, stride) = match x.inner {
            1 => (Format::Lanes, lanes, depth, x.lane),
            _ => (Format::Depth, depth, lanes, x.inner),
        };
        self.0.fill(0.0);
        for (row, out) in self.0.chunks_exact_mut(SIDE).take(rows).enumerate() {
            // SAFETY: a row of the operand.
            out[..columns]
                .copy_from_slice(unsafe { std::slice::from_raw_parts(x.data.add(row * stride), columns) });
        }
        self.operand(format)
    }

    /// A whole step in the other format.
    ///
    /// # Safety
    /// As for [`Block::copied`].
    #[target_feature(enable = "avx512f")]
    unsafe fn transposed(&mut self, x: Operand) -> Operand {
        let (format, stride) = if x.inner == 1 { (Format::Depth, x.lane) } else { (Format::Lanes, x.inner) };
        for (i, j) in [(0, 0), (0, TILE), (TILE, 0), (TILE, TILE)] {
            let (from, to) = (x.data.wrapping_add(i * stride + j), &mut self.0[j * SIDE + i..]);
            // SAFETY: the caller's; a quarter of the block.
            unsafe { transpose(from, stride, to.as_mut_ptr(), SIDE) };
        }
        self.operand(format)
    }
}

/// The parts of a whole step in the format in which it lies.
///
/// # Safety
/// As for [`pack_step`].
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn split(x: Operand, scale: f32, out: &mut [Line]) {
    // A pair is of inner indices i and i + 16: any order will do that both operands share, and this one pairs vectors
    // without a shuffle, whether they lie along the inner size or along the lanes.
    let (row, second, tile) = match x.inner {
        1 => (x.lane, TILE, TILE * x.lane),
        _ => (x.inner, TILE * x.inner, TILE),
    };
    assert_eq!(out.len(), PANEL_STEP);
    let out = out.as_mut_ptr();
    let scale = (scale != 1.0).then(|| _mm512_set1_ps(scale));
    let half = _mm512_set1_epi32(1 << 15);
    let upper = _mm512_set1_epi32(!0xffff);
    let down = _mm512_set4_epi32(0x0f0e_0f0e, 0x0b0a_0b0a, 0x0706_0706, 0x0302_0302);
    for t in 0..2 {
        for r in 0..TILE {
            let at = x.data.wrapping_add(t * tile + r * row);
            // SAFETY: two vectors of the step.
            let mut rest = unsafe { [_mm512_loadu_ps(at), _mm512_loadu_ps(at.wrapping_add(second))] };
            if let Some(scale) = scale {
                rest = [_mm512_mul_ps(rest[0], scale), _mm512_mul_ps(rest[1], scale)];
            }
            for part in 0..PARTS {
                let mut bits = [_mm512_castps_si512(rest[0]), _mm512_castps_si512(rest[1])];
                // Rounded, the rest is smaller by half, and has either sign. The last part has eight bits and needs no
                // rounding; so a NaN stays one there.
                if part + 1 < PARTS {
                    bits = [_mm512_add_epi32(bits[0], half), _mm512_add_epi32(bits[1], half)];
                }
                let line = merge(bits[0], bits[1], down);
                // SAFETY: a line of this step.
                unsafe { _mm512_store_si512(out.add((2 * part + t) * TILE + r).cast(), line) };
                if part + 1 < PARTS {
                    let value = |bits| _mm512_castsi512_ps(_mm512_and_si512(bits, upper));
                    rest = [_mm512_sub_ps(rest[0], value(bits[0])), _mm512_sub_ps(rest[1], value(bits[1]))];
                }
            }
        }
    }
}

/// The upper halves of `low` below the upper halves of `high`; `down` has each upper half twice, of 16 bytes.
///
/// Compilers make three operations of it, on the port of shuffles; it is one.
#[target_feature(enable = "avx512f,avx512bw")]
fn merge(low: __m512i, high: __m512i, down: __m512i) -> __m512i {
    let mut line = high;
    // SAFETY: only registers are touched.
    unsafe {
        asm!(
            "vpshufb {line}{{{lower}}}, {low}, {down}",
            line = inout(zmm_reg) line,
            low = in(zmm_reg) low,
            down = in(zmm_reg) down,
            lower = in(kreg) 0x3333_3333_3333_3333u64,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    line
}

/// Transposes 16 x 16 values.
///
/// # Safety
/// The rows of `from` and `to`, so many values apart, must be valid.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller's.
    let rows: [__m512i; TILE] =
        std::array::from_fn(|i| unsafe { _mm512_loadu_si512(from.add(i * from_stride).cast()) });
    let mut twos = rows;
    for i in (0..TILE).step_by(2) {
        twos[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        twos[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    // Quarter q of fours[i + j]: column 4 q + j of the rows i to i + 3.
    let mut fours = twos;
    for i in (0..TILE).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(twos[i], twos[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(twos[i], twos[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(twos[i + 1], twos[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(twos[i + 1], twos[i + 3]);
    }
    for j in 0..4 {
        // Of each operand's quarters, 0x88 takes the even ones and 0xdd the odd ones.
        let evens = [
            _mm512_shuffle_i32x4::<0x88>(fours[j], fours[4 + j]),
            _mm512_shuffle_i32x4::<0x88>(fours[8 + j], fours[12 + j]),
        ];
        let odds = [
            _mm512_shuffle_i32x4::<0xdd>(fours[j], fours[4 + j]),
            _mm512_shuffle_i32x4::<0xdd>(fours[8 + j], fours[12 + j]),
        ];
        // SAFETY: the caller's.
        unsafe {
            _mm512_storeu_si512(
                to.add(j * to_stride).cast(),
                _mm512_shuffle_i32x4::<0x88>(evens[0], evens[1]),
            );
            _mm512_storeu_si512(
                to.add((4 + j) * to_stride).cast(),
                _mm512_shuffle_i32x4::<0x88>(odds[0], odds[1]),
            );
            _mm512_storeu_si512(
                to.add((8 + j) * to_stride).cast(),
                _mm512_shuffle_i32x4::<0xdd>(evens[0], evens[1]),
            );
            _mm512_storeu_si512(
                to.add((12 + j) * to_stride).cast(),
                _mm512_shuffle_i32x4::<0xdd>(odds[0], odds[1]),
            );
        }
    }
}
