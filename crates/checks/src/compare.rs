//! How far two tensors are apart.

use candle_core::{DType, Device, Tensor};

/// |a - b| / |b|, over all elements in f64; |a - b| where b is all zero.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let values = |x: &Tensor| {
        x.flatten_all()
            .unwrap()
            .to_device(&Device::Cpu)
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    };
    let (a, b) = (values(a), values(b));
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let size = norm(&mut b.iter().copied());
    let difference = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    if size == 0.0 { difference } else { difference / size }
}

/// Panics where `found` is further than `tolerance` from `wanted`, relative to its norm.
#[track_caller]
pub fn assert_close(what: &str, found: &Tensor, wanted: &Tensor, tolerance: f64) {
    let distance = distance(found, wanted);
    // Written so that NaN fails.
    assert!(distance <= tolerance, "{what}: {distance:e} from the reference, more than {tolerance:e}");
}
