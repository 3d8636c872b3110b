/// An output that tasks write disjoint parts of.
#[derive(Clone, Copy)]
pub(super) struct Target(*mut f32);

// SAFETY: every task writes the part of its own row and head.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    pub fn new(buffer: &mut [f32]) -> Self {
        Self(buffer.as_mut_ptr())
    }

    pub fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}
