use candle_core::Tensor;

use super::{MatmulKernel, Matrix};
use crate::cpu::gemm::{View, gemm};
use crate::cpu::{Cpu, fill, values};
use crate::{Dest, Error, Result};

impl MatmulKernel for Cpu {
    fn matmul(&self, dest: Dest, a: Matrix, b: Matrix, scale: f64) -> Result<Tensor> {
        let (a_values, b_values) = (values(a.tensor)?, values(b.tensor)?);
        let (a, b) = (view(&a, &a_values)?, view(&b, &b_values)?);
        if a.cols() != b.rows() {
            let shapes = format!("({}, {}) x ({}, {})", a.rows(), a.cols(), b.rows(), b.cols());
            return Err(Error::shape("matmul", shapes));
        }
        fill(dest, (a.rows(), b.cols()), |y, accumulate| gemm(y, a, b, scale as f32, accumulate))
    }
}

fn view<'a>(matrix: &Matrix, values: &'a [f32]) -> Result<View<'a>> {
    let (rows, cols) = matrix.tensor.dims2()?;
    let view = View::new(values, rows, cols);
    Ok(if matrix.transposed { view.t() } else { view })
}
