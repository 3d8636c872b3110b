//! The checks themselves, on kernels that every machine has.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_checks::compare::distance;
use tallow_checks::operations::{Extent, cases, tolerance};
use tallow_ops::{Composed, Cpu, Dest, ElementwiseKernel, Kernels, Operation, Selected};

fn composed() -> Arc<dyn Kernels> {
    Arc::new(Composed::new(Device::Cpu))
}

#[test]
fn every_operation_has_cases_of_both_extents() {
    for extent in [Extent::Quick, Extent::Full(1)] {
        let cases = cases(extent);
        for operation in Operation::ALL {
            assert!(cases.iter().any(|case| case.operation == operation), "{operation}, {extent:?}");
        }
    }
    assert!(cases(Extent::Full(1)).len() > 2 * cases(Extent::Quick).len());
}

#[test]
fn the_cpus_own_kernels_agree_with_candle() {
    let (own, composed): (Arc<dyn Kernels>, _) = (Arc::new(Cpu), composed());
    for case in cases(Extent::Full(1)) {
        let found = case.compare(&own, &composed, DType::F32);
        assert!(found.passed(), "{} {}: {:e} {:?}", case.operation, case.name, found.error, found.failure);
    }
}

/// bf16 is f32 with rounded inputs and outputs: for activations of one size, about three digits.
#[test]
fn bf16_is_near_f32() {
    let composed = composed();
    for case in cases(Extent::Quick) {
        let narrow = case.run(&composed, DType::BF16).unwrap();
        let wide = case.run(&composed, DType::F32).unwrap();
        assert_eq!(narrow.len(), wide.len());
        for (i, (narrow, wide)) in narrow.iter().zip(&wide).enumerate() {
            let far = distance(narrow, wide);
            assert!(far < 2.0 * tolerance(DType::BF16), "{} {}, {i}: {far:e}", case.operation, case.name);
        }
    }
}

#[test]
fn cases_repeat_to_the_bit() {
    for kernels in [Arc::new(Cpu), composed()] as [Arc<dyn Kernels>; 2] {
        for case in cases(Extent::Quick) {
            assert!(case.repeats(&kernels, DType::F32).unwrap(), "{} {}", case.operation, case.name);
        }
    }
}

#[test]
fn selected_kernels_are_used_and_no_others() {
    let own: Arc<dyn Kernels> = Arc::new(Cpu);
    // The CPU's kernels refuse bf16, which candle's operations take.
    let x = Tensor::ones((2, 3), DType::BF16, &Device::Cpu).unwrap();
    let add = |selected: &[Operation]| {
        let kernels = Selected::new(own.clone(), selected.iter().copied());
        kernels.add(Dest::New, &x, 2.0)
    };
    assert!(add(&[Operation::Elementwise]).unwrap_err().to_string().contains("cpu kernels read"));
    assert_eq!(add(&[]).unwrap().to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap(), [[2.0; 3]; 2]);
    assert!(add(&[Operation::Matmul]).is_ok());
    let hardware = |selected: &[Operation]| Selected::new(own.clone(), selected.iter().copied()).hardware();
    assert_eq!(hardware(&Operation::ALL), own.hardware());
    assert_eq!(hardware(&[]), format!("{}, composed kernels", own.hardware()));
    assert_eq!(hardware(&[Operation::Relu]), format!("{}, own kernels for relu", own.hardware()));
}

#[test]
fn operations_are_found_by_their_names() {
    for operation in Operation::ALL {
        assert_eq!(Operation::named(operation.name()), Some(operation));
        let folder = format!("{}/../ops/src/{operation}", env!("CARGO_MANIFEST_DIR"));
        assert!(std::path::Path::new(&folder).is_dir(), "{folder}");
    }
    assert_eq!(Operation::named("softmax"), None);
}
