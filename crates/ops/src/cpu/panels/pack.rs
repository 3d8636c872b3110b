//! The right operand as the tiles read it.

use pulp::Simd;

use super::vectors;
use crate::cpu::product::Operand;
use crate::cpu::transpose::transpose;

/// What one vector holds at most, and where it may lie: a load that crosses lines of the cache is two.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Line([f32; Line::LEN]);

impl Line {
    pub const LEN: usize = 16;
}

/// A buffer's values, so many of them at least.
pub(super) fn room(buffer: &mut Vec<Line>, values: usize) -> *mut f32 {
    let lines = values.div_ceil(Line::LEN);
    if buffer.len() < lines {
        buffer.resize(lines, Line::default());
    }
    buffer.as_mut_ptr().cast()
}

/// Packs b (columns, depth) into panels of so many columns, in which the values of one inner index follow one another;
/// what is missing of the last panel is left as it was.
///
/// # Safety
/// b must have this size, and `to` room for whole panels.
#[inline(always)]
pub(super) unsafe fn pack<S: Simd>(simd: S, b: Operand, depth: usize, columns: usize, to: *mut f32) {
    let panel = vectors::<S>() * S::F32_LANES;
    // SAFETY: the caller's.
    unsafe {
        match b.inner {
            1 => turn(b, depth, columns, panel, to),
            _ => copy(simd, b, depth, columns, panel, to),
        }
    }
}

/// Columns of b are rows in memory.
///
/// # Safety
/// As for [`pack`].
unsafe fn turn(b: Operand, depth: usize, columns: usize, panel: usize, to: *mut f32) {
    for first in (0..columns).step_by(panel) {
        let width = panel.min(columns - first);
        // SAFETY: the caller's.
        unsafe { transpose(b.at(first, 0).data, b.lane, [width, depth], to.add(first * depth), panel) };
    }
}

/// Columns of b follow one another: all panels side by side, since memory is read fastest along its rows.
///
/// # Safety
/// As for [`pack`].
#[inline(always)]
unsafe fn copy<S: Simd>(simd: S, b: Operand, depth: usize, columns: usize, panel: usize, to: *mut f32) {
    for i in 0..depth {
        let row = b.at(0, i).data;
        for column in (0..columns).step_by(S::F32_LANES) {
            let len = S::F32_LANES.min(columns - column);
            let place = column / panel * panel * depth + i * panel + column % panel;
            // SAFETY: the caller's.
            unsafe {
                let vector = match len == S::F32_LANES {
                    true => row.add(column).cast::<S::f32s>().read_unaligned(),
                    false => simd.partial_load_f32s(std::slice::from_raw_parts(row.add(column), len)),
                };
                to.add(place).cast::<S::f32s>().write_unaligned(vector);
            }
        }
    }
}
