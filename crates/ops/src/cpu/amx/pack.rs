//! Floats in three parts, laid out as the tile units read them.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_mask_blend_epi16, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_store_si512, _mm512_sub_ps, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::tile::{SIDE, TILE};

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

/// A matrix of lanes (the rows of a, the columns of b) by the inner size: element (lane, i) at `lane * self.lane +
/// i * self.inner`.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Operand {
    pub data: *const f32,
    pub lane: usize,
    pub inner: usize,
}

impl Operand {
    pub fn at(self, lane: usize, inner: usize) -> Self {
        Self { data: self.data.wrapping_add(lane * self.lane + inner * self.inner), ..self }
    }
}

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
    let mut step = |panel: usize, step: usize| {
        let size = [SIDE.min(lanes - panel * SIDE), STEP.min(depth - step * STEP)];
        let out = &mut out[(panel * steps + step) * PANEL_STEP..][..PANEL_STEP];
        // SAFETY: the caller's.
        unsafe { pack_step(x.at(panel * SIDE, step * STEP), size, scale, format, out) };
    };
    // Along the memory.
    match x.inner {
        1 => (0..panels).for_each(|panel| (0..steps).for_each(|index| step(panel, index))),
        _ => (0..steps).for_each(|index| (0..panels).for_each(|panel| step(panel, index))),
    }
}

/// The first `count` values of a vector.
#[inline(always)]
fn first(count: usize) -> u16 {
    if count < 16 { (1 << count) - 1 } else { !0 }
}

/// One step of one panel.
///
/// # Safety
/// As for [`pack`]; `out` holds a step.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pack_step(x: Operand, [lanes, depth]: [usize; 2], scale: f32, format: Format, out: &mut [Line]) {
    // A pair is of inner indices i and i + 16: any order will do that both operands share, and this one pairs vectors
    // without a shuffle, whether they lie along the inner size or along the lanes.
    let (native, row, second, tile) = match x.inner {
        1 => (Format::Lanes, x.lane, TILE, TILE * x.lane),
        _ => (Format::Depth, x.inner, TILE * x.inner, TILE),
    };
    assert!(
        (x.inner == 1 || x.lane == 1) && out.len() == PANEL_STEP,
        "an operand that follows one of its axes"
    );
    let out = out.as_mut_ptr();
    let scale = _mm512_set1_ps(scale);
    let half = _mm512_set1_epi32(1 << 15);
    let upper = _mm512_set1_epi32(!0xffff);
    for t in 0..2 {
        for r in 0..TILE {
            // What there is of the two vectors.
            let counts = match native {
                Format::Lanes if t * TILE + r < lanes => [depth, depth.saturating_sub(TILE)],
                Format::Lanes => [0; 2],
                Format::Depth => {
                    let count = lanes.saturating_sub(t * TILE);
                    [if r < depth { count } else { 0 }, if r + TILE < depth { count } else { 0 }]
                }
            };
            let at = x.data.wrapping_add(t * tile + r * row);
            // SAFETY: only what there is of the operand is read.
            let mut pair = unsafe {
                [
                    _mm512_mul_ps(_mm512_maskz_loadu_ps(first(counts[0]), at), scale),
                    _mm512_mul_ps(_mm512_maskz_loadu_ps(first(counts[1]), at.wrapping_add(second)), scale),
                ]
            };
            for part in 0..PARTS {
                let [mut low, mut high] = [_mm512_castps_si512(pair[0]), _mm512_castps_si512(pair[1])];
                // The last part has eight bits and needs no rounding; so a NaN stays one there.
                if part + 1 < PARTS {
                    [low, high] = [_mm512_add_epi32(low, half), _mm512_add_epi32(high, half)];
                    let rounded = [_mm512_and_si512(low, upper), _mm512_and_si512(high, upper)];
                    pair = [
                        _mm512_sub_ps(pair[0], _mm512_castsi512_ps(rounded[0])),
                        _mm512_sub_ps(pair[1], _mm512_castsi512_ps(rounded[1])),
                    ];
                }
                let line = _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_srli_epi32(low, 16), high);
                // SAFETY: a line of this step.
                unsafe { _mm512_store_si512(out.add((2 * part + t) * TILE + r).cast(), line) };
            }
        }
    }
    if native != format {
        for tile in 0..2 * PARTS {
            // SAFETY: a tile of this step.
            unsafe { transpose(out.add(tile * TILE)) };
        }
    }
}

/// Transposes a tile of 16 x 16 pairs in place.
///
/// # Safety
/// `tile` points to 16 lines.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(tile: *mut Line) {
    let tile: *mut __m512i = tile.cast();
    // SAFETY: the caller's.
    let rows: [__m512i; TILE] = std::array::from_fn(|i| unsafe { *tile.add(i) });
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
            *tile.add(j) = _mm512_shuffle_i32x4::<0x88>(evens[0], evens[1]);
            *tile.add(4 + j) = _mm512_shuffle_i32x4::<0x88>(odds[0], odds[1]);
            *tile.add(8 + j) = _mm512_shuffle_i32x4::<0xdd>(evens[0], evens[1]);
            *tile.add(12 + j) = _mm512_shuffle_i32x4::<0xdd>(odds[0], odds[1]);
        }
    }
}
