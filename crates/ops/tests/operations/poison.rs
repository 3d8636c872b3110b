//! Fresh memory is NaN here, so that an output that is not written whole shows in every comparison.

use std::alloc::{GlobalAlloc, Layout, System};

struct Poison;

#[global_allocator]
static POISON: Poison = Poison;

// SAFETY: the system's allocator, whose fresh memory is written before it is handed on.
unsafe impl GlobalAlloc for Poison {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout; the memory is written only if there is some.
        unsafe {
            let memory = System.alloc(layout);
            if !memory.is_null() {
                // Four such bytes are a NaN.
                memory.write_bytes(0xFF, layout.size());
            }
            memory
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: all memory comes from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[test]
fn fresh_memory_is_nan() {
    let mut fresh = Vec::<f32>::with_capacity(1000);
    let bytes = fresh.spare_capacity_mut().as_ptr().cast::<f32>();
    // SAFETY: the allocator has written the whole capacity.
    assert!((0..1000).all(|i| unsafe { bytes.add(i).read() }.is_nan()));
}
