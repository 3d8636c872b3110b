use candle_core::Tensor;
use rayon::prelude::*;

use super::GatedGeluKernel;
use crate::cpu::simd::{self, gelu};
use crate::cpu::{Cpu, TASK, fill, overwrite, scratch, tensor, values};
use crate::{Dest, Error, Result};

impl GatedGeluKernel for Cpu {
    fn gated_gelu(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        check(gate, up)?;
        let (gate_values, up) = (values(gate)?, values(up)?);
        fill(Dest::New, gate.shape(), |y, _| {
            y.par_chunks_mut(TASK).zip(gate_values.par_chunks(TASK)).zip(up.par_chunks(TASK)).for_each(
                |((y, gate), up)| {
                    simd::run(
                        #[inline(always)]
                        || {
                            for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                                *y = gelu(*gate).0 * up;
                            }
                        },
                    );
                },
            );
        })
    }

    fn gated_gelu_backward(&self, dy: Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
        check(gate, up)?;
        check(gate, &dy)?;
        let (gate_values, up) = (values(gate)?, values(up)?);
        let mut dgate = scratch(gate.elem_count());
        overwrite(&dy, |dup| {
            dgate
                .par_chunks_mut(TASK)
                .zip(dup.par_chunks_mut(TASK))
                .zip(gate_values.par_chunks(TASK).zip(up.par_chunks(TASK)))
                .for_each(|((dgate, dup), (gate, up))| {
                    simd::run(
                        #[inline(always)]
                        || {
                            let values = gate.iter().zip(up);
                            for ((dgate, dup), (gate, up)) in dgate.iter_mut().zip(dup).zip(values) {
                                let (value, slope) = gelu(*gate);
                                *dgate = *dup * up * slope;
                                *dup *= value;
                            }
                        },
                    );
                });
        })?;
        Ok((tensor(dgate, gate.shape())?, dy))
    }
}

fn check(gate: &Tensor, other: &Tensor) -> Result<()> {
    if gate.shape() == other.shape() {
        return Ok(());
    }
    Err(Error::shape("gated_gelu", format!("{:?} and {:?}", gate.shape(), other.shape())))
}
