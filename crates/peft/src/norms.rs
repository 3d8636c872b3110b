use std::collections::BTreeSet;

use candle_core::{DType, Tensor};

use crate::{AdapterFile, DoraOptions, Error, Method, Result, lora};

impl AdapterFile {
    /// Each adapted layer's name, and the Frobenius norm of what the adapter adds to its weight, scale * B * A; of
    /// adapters that are no LoRA, each tensor's name and its own norm.
    ///
    /// # Errors
    /// If a tensor is missing, misshapen or cannot be read.
    pub fn update_norms(&self) -> Result<Vec<(String, f64)>> {
        let options = match &self.method {
            Method::Lora(options) | Method::Dora(DoraOptions(options)) => options,
            _ => return self.own_norms(),
        };
        let layers: BTreeSet<String> = self.shapes().filter_map(|(name, _)| lora::layer(name)).collect();
        let mut found = Vec::new();
        for layer in layers {
            let [a, b] = lora::names(&layer);
            let [a, b] = [self.tensor(&a)?, self.tensor(&b)?];
            let (rank, scale) = options.rank_and_scale(&layer)?;
            let ranks = (a.dims().first().copied(), b.dims().get(1).copied());
            if ranks != (Some(rank), Some(rank)) || (a.rank(), b.rank()) != (2, 2) {
                let (a, b) = (a.dims(), b.dims());
                return Err(self.broken(format!("misshapen: {layer} has A {a:?} and B {b:?} at rank {rank}")));
            }
            found.push((layer, scale * product_norm(&a, &b)?));
        }
        Ok(found)
    }

    fn own_norms(&self) -> Result<Vec<(String, f64)>> {
        let norm = |name: &str| -> Result<f64> {
            let values = self.tensor(name)?.to_dtype(DType::F64)?;
            Ok(values.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
        };
        self.shapes().map(|(name, _)| Ok((short(name).to_owned(), norm(name)?))).collect()
    }
}

/// A tensor's name without what stands around it in every file.
fn short(name: &str) -> &str {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    [".ia3_l", ".ln_tuning_layers.weight", ".weight"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name)
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
