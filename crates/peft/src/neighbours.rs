//! What virtual tokens lie near to, among those that mean something.

use candle_core::{D, DType, Device, Tensor};
use tallow_t5::T5;

use crate::Result;

/// A token of the vocabulary, and how near it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its id.
    pub token: u32,
    /// The cosine of the angle between its row of the embedding and the virtual token.
    pub cosine: f32,
}

/// For each virtual token of a prompt, the `most` nearest of the vocabulary's first `tokens`, the nearest first; nothing
/// where there is no prompt. Lester et al. 2021, section 7.
///
/// # Errors
/// If the embedding cannot be read.
pub fn neighbours(model: &T5, tokens: usize, most: usize) -> Result<Vec<Vec<Neighbour>>> {
    let Some(prompt) = &model.prompt else { return Ok(Vec::new()) };
    let tokens = tokens.min(model.config.vocab_size);
    let table = directions(&model.embedding().narrow(0, 0, tokens)?)?;
    let cosines = directions(prompt.value())?.matmul(&table.t()?)?.to_vec2::<f32>()?;
    let nearest = |cosines: Vec<f32>| {
        let all = cosines.into_iter().zip(0..).map(|(cosine, token)| Neighbour { token, cosine });
        let mut all: Vec<Neighbour> = all.collect();
        all.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        all.truncate(most);
        all
    };
    Ok(cosines.into_iter().map(nearest).collect())
}

/// Rows of length 1, f32.
fn directions(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let lengths = rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    // A row of zeros is near to nothing.
    Ok(rows.broadcast_div(&lengths.maximum(f32::MIN_POSITIVE)?)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::{Device, Tensor};
    use tallow_ops::Traced;

    use super::*;

    #[test]
    fn a_row_of_the_embedding_is_nearest_to_itself() {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gated/model");
        let mut model = T5::load(&base, &Device::Cpu, DType::F32).unwrap();
        assert!(neighbours(&model, 384, 3).unwrap().is_empty());
        let index = Tensor::new(&[7u32, 300], &Device::Cpu).unwrap();
        let rows = (model.embedding().index_select(&index, 0).unwrap() * 3.0).unwrap();
        model.prompt = Some(Traced::constant(rows));
        let found = neighbours(&model, 384, 3).unwrap();
        for (found, token) in found.iter().zip([7, 300]) {
            assert_eq!((found.len(), found[0].token), (3, token));
            assert!((found[0].cosine - 1.0).abs() < 1e-5 && found[1].cosine < 1.0, "{found:?}");
        }
        // Rows that no token has are left out.
        assert!(neighbours(&model, 100, 3).unwrap()[1].iter().all(|near| near.token < 100));
    }
}
