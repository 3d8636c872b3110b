use std::cell::Cell;
use std::sync::{Arc, Mutex};

use candle_core::Tensor;

use super::{Gradients, Tape, Traced};
use crate::{Error, Kernels, Randomness, Result};

/// A part of a forward pass that is recorded on tapes of its own.
struct Part {
    kernels: Arc<dyn Kernels>,
    randomness: Option<Randomness>,
    /// The number of its first place that drops.
    first_site: u32,
    inputs: Vec<Traced>,
}

/// The gradients of a part's inputs.
type Found = Arc<Mutex<Vec<Option<Tensor>>>>;

impl Part {
    /// A tape, the inputs on it, and where their gradients will be found.
    fn tape(&self) -> (Tape, Vec<Traced>, Found) {
        let tape = Tape {
            randomness: self.randomness,
            sites: Cell::new(self.first_site),
            ..Tape::new(self.kernels.clone())
        };
        let found = Found::new(Mutex::new(vec![None; self.inputs.len()]));
        let input = |(i, input): (usize, &Traced)| {
            let found = found.clone();
            tape.record("input", input.value.clone(), &[input], move |gradient, _| {
                found.lock().expect("no holder panics")[i] = Some(gradient);
                Ok(())
            })
        };
        let inputs = self.inputs.iter().enumerate().map(input).collect();
        (tape, inputs, found)
    }

    fn backward<E: Into<Error>>(
        self,
        run: impl Fn(&Tape, &[Traced]) -> Result<Traced, E>,
        dy: Tensor,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let (tape, inputs, found) = self.tape();
        let output = run(&tape, &inputs).map_err(Into::into)?;
        drop(inputs);
        tape.backward(output, dy, &gradients.parameters)?;
        let found = std::mem::take(&mut *found.lock().expect("no holder panics"));
        for (input, gradient) in self.inputs.iter().zip(found) {
            if let Some(gradient) = gradient {
                gradients.give(&input.target(), gradient)?;
            }
        }
        Ok(())
    }
}

impl Tape {
    /// The output of `run` over `inputs`. Of the whole part, the inputs alone are kept; backward runs it again, with the
    /// same masks. Chen et al. 2016.
    ///
    /// What `run` reads that has a gradient must be a parameter or one of the inputs.
    ///
    /// # Errors
    /// What `run` returns.
    pub fn checkpoint<E: From<Error> + Into<Error>>(
        &self,
        inputs: &[&Traced],
        run: impl Fn(&Tape, &[Traced]) -> Result<Traced, E> + Send + 'static,
    ) -> Result<Traced, E> {
        let inputs = inputs.iter().copied().cloned().collect();
        let first_site = self.sites.get();
        let part = Part { kernels: self.kernels.clone(), randomness: self.randomness, first_site, inputs };
        if !self.recording {
            return run(self, &part.inputs);
        }
        // Recorded now too, to see whether anything in it is trained.
        let (tape, inputs, _) = part.tape();
        let output = run(&tape, &inputs)?;
        self.sites.set(tape.sites.get());
        match output.is_traced() {
            true => {
                Ok(self
                    .push("checkpoint", output.value, move |dy, gradients| part.backward(run, dy, gradients)))
            }
            false => Ok(output),
        }
    }
}
