use std::cell::RefCell;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::tensors::Tensors;
use crate::{Error, Linear, Result, Weight};

/// Hands out a checkpoint's tensors by name, and collects what does not fit, so that all of it is reported
/// together.
pub(crate) struct Weights {
    tensors: Tensors,
    device: Device,
    dtype: DType,
    problems: RefCell<Vec<String>>,
}

impl Weights {
    pub fn open(folder: &Path, device: &Device, dtype: DType) -> Result<Self> {
        let tensors = Tensors::open_model(folder)?;
        Ok(Self { tensors, device: device.clone(), dtype, problems: RefCell::default() })
    }

    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains(name)
    }

    pub fn weight(&self, name: impl Into<String>, shape: &[usize]) -> Result<Weight> {
        let name = name.into();
        let problem = match self.tensors.shape(&name) {
            Some(found) if found == shape => {
                let (value, pages) = self.tensors.lasting(&name, &self.device, self.dtype)?;
                return Ok(Weight::new(&name, value, pages));
            }
            Some(found) => format!("{name}: shape {found:?}, expected {shape:?}"),
            None => format!("{name}: missing, expected {shape:?}"),
        };
        self.problems.borrow_mut().push(problem);
        // Stands in until `finish` refuses the checkpoint.
        Ok(Weight::new(&name, Tensor::zeros(1, self.dtype, &self.device)?, None))
    }

    pub fn linear(&self, name: impl Into<String>, output: usize, input: usize) -> Result<Linear> {
        let name = name.into();
        Ok(Linear::new(self.weight(format!("{name}.weight"), &[output, input])?))
    }

    /// Refuses the checkpoint if anything was missing or misshapen.
    pub fn finish(self, folder: &Path) -> Result<()> {
        let problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Weights { path: folder.to_path_buf(), problems })
    }
}
