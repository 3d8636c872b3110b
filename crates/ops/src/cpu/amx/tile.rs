//! The tile units themselves: their registers hold 16 lines of 64 bytes.

use std::arch::asm;
use std::marker::PhantomData;

use super::pack::{Line, PANEL_STEP};

/// Lines to a tile.
pub(super) const TILE: usize = 16;
/// Rows and columns of a product of panels: two tiles each way, which fill the eight registers with their operands.
pub(super) const SIDE: usize = 2 * TILE;

/// A tile instruction, and twelve others behind it. Where another thread runs on the same physical core, tile
/// instructions that follow one another closely take 1.8 times as long; with the core to themselves it makes no
/// difference. With a number n, six of them fetch the nth 192 bytes of both panels' next steps.
macro_rules! spaced {
    ($instruction:literal) => {
        concat!($instruction, "\n.rept 12\nnop\n.endr")
    };
    ($instruction:literal, $n:literal) => {
        concat!(
            $instruction,
            "\n.irp at, 0, 64, 128\nprefetcht0 [{a} + 6144 + 192 * ",
            $n,
            " + \\at]\nprefetcht0 [{b} + 6144 + 192 * ",
            $n,
            " + \\at]\n.endr\n.rept 6\nnop\n.endr"
        )
    };
}

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    line_bytes: [u16; 16],
    lines: [u8; 16],
}

/// All eight registers whole.
static WHOLE: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    line_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    lines: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Whether the CPU has tiles of bf16 and Linux grants them to the process.
pub(super) fn available() -> bool {
    /// From asm/prctl.h: asks for a part of the state that is only saved for processes that asked.
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // Leaf 7: bit 22 is AMX-BF16, bit 24 AMX-TILE.
    let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
    // SAFETY: the call changes nothing but what the process may use.
    features & (1 << 22) != 0
        && features & (1 << 24) != 0
        && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// This thread's tile registers, for as long as it lives.
pub(super) struct Tiles {
    /// The registers are the thread's own.
    thread: PhantomData<*const ()>,
}

impl Tiles {
    /// # Safety
    /// [`available`] must hold.
    pub unsafe fn configured() -> Self {
        // SAFETY: the caller's; the configuration is a valid one.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, readonly)) };
        Self { thread: PhantomData }
    }

    /// y = a b, or y += a b, of a panel of a and one of b; y is (rows, columns), at most [`SIDE`] each.
    ///
    /// # Safety
    /// y must be valid for reads and writes, its rows `stride` values apart.
    pub unsafe fn product(
        &self,
        y: *mut f32,
        stride: usize,
        [rows, columns]: [usize; 2],
        a: &[Line],
        b: &[Line],
        accumulate: bool,
    ) {
        assert!(a.len() == b.len() && !a.is_empty() && a.len().is_multiple_of(PANEL_STEP), "panels alike");
        if rows == SIDE && columns == SIDE {
            // SAFETY: the caller's.
            return unsafe { self.whole(y, stride, a, b, accumulate) };
        }
        let mut whole = [0.0f32; SIDE * SIDE];
        // SAFETY: y is the caller's.
        unsafe {
            self.whole(whole.as_mut_ptr(), SIDE, a, b, false);
            for (i, found) in whole.chunks_exact(SIDE).take(rows).enumerate() {
                let row = std::slice::from_raw_parts_mut(y.add(i * stride), columns);
                match accumulate {
                    true => row.iter_mut().zip(found).for_each(|(y, x)| *y += x),
                    false => row.copy_from_slice(&found[..columns]),
                }
            }
        }
    }

    /// [`Tiles::product`] of whole panels.
    ///
    /// # Safety
    /// As there.
    unsafe fn whole(&self, y: *mut f32, stride: usize, a: &[Line], b: &[Line], accumulate: bool) {
        let bytes = size_of::<f32>() * stride;
        // The parts of a are 1, 2, 3 in falling size, 2048 bytes apart, those of b likewise. Their products go from one
        // to the next by loading one side only: 3 1, 2 1, 2 2, 1 2, 1 3, 1 1.
        // SAFETY: y is the caller's; the panels have as many steps, each of 6144 bytes.
        unsafe {
            asm!(
                "test {accumulate:e}, {accumulate:e}",
                "jz 2f",
                "tileloadd tmm0, [{upper} + {bytes}]",
                "tileloadd tmm1, [{upper} + {bytes} + 64]",
                "tileloadd tmm2, [{lower} + {bytes}]",
                "tileloadd tmm3, [{lower} + {bytes} + 64]",
                "jmp 3f",
                "2:",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "3:",
                spaced!("tileloadd tmm4, [{a} + {line} + 4096]", 0),
                spaced!("tileloadd tmm6, [{b} + {line}]", 1),
                spaced!("tileloadd tmm5, [{a} + {line} + 5120]", 2),
                spaced!("tileloadd tmm7, [{b} + {line} + 1024]", 3),
                spaced!("tdpbf16ps tmm0, tmm4, tmm6", 4),
                spaced!("tdpbf16ps tmm1, tmm4, tmm7", 5),
                spaced!("tdpbf16ps tmm2, tmm5, tmm6", 6),
                spaced!("tdpbf16ps tmm3, tmm5, tmm7", 7),
                spaced!("tileloadd tmm4, [{a} + {line} + 2048]", 8),
                spaced!("tileloadd tmm5, [{a} + {line} + 3072]", 9),
                spaced!("tdpbf16ps tmm0, tmm4, tmm6", 10),
                spaced!("tdpbf16ps tmm1, tmm4, tmm7", 11),
                spaced!("tdpbf16ps tmm2, tmm5, tmm6", 12),
                spaced!("tdpbf16ps tmm3, tmm5, tmm7", 13),
                spaced!("tileloadd tmm6, [{b} + {line} + 2048]", 14),
                spaced!("tileloadd tmm7, [{b} + {line} + 3072]", 15),
                spaced!("tdpbf16ps tmm0, tmm4, tmm6", 16),
                spaced!("tdpbf16ps tmm1, tmm4, tmm7", 17),
                spaced!("tdpbf16ps tmm2, tmm5, tmm6", 18),
                spaced!("tdpbf16ps tmm3, tmm5, tmm7", 19),
                spaced!("tileloadd tmm4, [{a} + {line}]", 20),
                spaced!("tileloadd tmm5, [{a} + {line} + 1024]", 21),
                spaced!("tdpbf16ps tmm0, tmm4, tmm6", 22),
                spaced!("tdpbf16ps tmm1, tmm4, tmm7", 23),
                spaced!("tdpbf16ps tmm2, tmm5, tmm6", 24),
                spaced!("tdpbf16ps tmm3, tmm5, tmm7", 25),
                spaced!("tileloadd tmm6, [{b} + {line} + 4096]", 26),
                spaced!("tileloadd tmm7, [{b} + {line} + 5120]", 27),
                spaced!("tdpbf16ps tmm0, tmm4, tmm6", 28),
                spaced!("tdpbf16ps tmm1, tmm4, tmm7", 29),
                spaced!("tdpbf16ps tmm2, tmm5, tmm6", 30),
                spaced!("tdpbf16ps tmm3, tmm5, tmm7", 31),
                spaced!("tileloadd tmm6, [{b} + {line}]"),
                spaced!("tileloadd tmm7, [{b} + {line} + 1024]"),
                spaced!("tdpbf16ps tmm0, tmm4, tmm6"),
                spaced!("tdpbf16ps tmm1, tmm4, tmm7"),
                spaced!("tdpbf16ps tmm2, tmm5, tmm6"),
                spaced!("tdpbf16ps tmm3, tmm5, tmm7"),
                "add {a}, 6144",
                "add {b}, 6144",
                "dec {steps}",
                "jnz 3b",
                "tilestored [{upper} + {bytes}], tmm0",
                "tilestored [{upper} + {bytes} + 64], tmm1",
                "tilestored [{lower} + {bytes}], tmm2",
                "tilestored [{lower} + {bytes} + 64], tmm3",
                accumulate = in(reg) u32::from(accumulate),
                upper = in(reg) y,
                lower = in(reg) y.wrapping_add(TILE * stride),
                bytes = in(reg) bytes,
                line = in(reg) size_of::<Line>(),
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) b.as_ptr() => _,
                steps = inout(reg) a.len() / PANEL_STEP => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // Registers in use would be saved whenever the thread is switched.
        // SAFETY: they are configured.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
