use candle_core::{DType, Tensor};

use crate::{AdapterFile, Error, Method, Result};

impl AdapterFile {
    /// Each adapted layer's name, and the Frobenius norm of what the adapter adds to its weight, scale * B * A.
    ///
    /// # Errors
    /// If a tensor is missing, misshapen or cannot be read.
    pub fn update_norms(&self) -> Result<Vec<(String, f64)>> {
        let Method::Lora(options) = &self.method else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for layer in self.layers() {
            let [a, b] = crate::lora::names(&layer);
            let [a, b] = [self.tensor(&a)?, self.tensor(&b)?];
            let rank = options.rank;
            let ranks = (a.dims().first().copied(), b.dims().get(1).copied());
            if ranks != (Some(rank), Some(rank)) || (a.rank(), b.rank()) != (2, 2) {
                let (a, b) = (a.dims(), b.dims());
                return Err(self.broken(format!("misshapen: {layer} has A {a:?} and B {b:?} at rank {rank}")));
            }
            found.push((layer, options.scale() * product_norm(&a, &b)?));
        }
        Ok(found)
    }
}

/// The Frobenius norm of B A, from products of (rank, rank) alone: its square is the trace of B^T B A A^T.
fn product_norm(a: &Tensor, b: &Tensor) -> Result<f64> {
    let (a, b) = (a.to_dtype(DType::F64)?, b.to_dtype(DType::F64)?);
    let (aat, btb) = (a.matmul(&a.t()?)?, b.t()?.matmul(&b)?);
    // Rounding may leave less than nothing.
    Ok((aat * btb)?.sum_all()?.to_scalar::<f64>()?.max(0.0).sqrt())
}

impl AdapterFile {
    fn broken(&self, problem: String) -> Error {
        Error::Tensors { path: self.path().to_path_buf(), problems: vec![problem] }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::product_norm;

    #[test]
    fn the_norm_is_that_of_the_whole_product() {
        let random = |rows, columns| Tensor::randn(0f32, 1.0, (rows, columns), &Device::Cpu).unwrap();
        for (rank, input, output) in [(1, 3, 2), (4, 16, 24), (8, 5, 3)] {
            let (a, b) = (random(rank, input), random(output, rank));
            let whole = b.matmul(&a).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            let found = product_norm(&a, &b).unwrap();
            assert!((found / f64::from(whole).sqrt() - 1.0).abs() < 1e-5, "{found} {whole}");
        }
        let zero = Tensor::zeros((5, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert_eq!(product_norm(&random(2, 3), &zero).unwrap(), 0.0);
    }
}
