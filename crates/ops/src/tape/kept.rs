use std::fmt;
use std::sync::{Arc, Mutex};

use candle_core::Tensor;

use super::Traced;
use crate::{Error, Kernels, Result};

type Make = Box<dyn FnOnce(&dyn Kernels) -> Result<Tensor> + Send>;

/// How a value is computed again from what backward keeps anyway.
#[derive(Clone)]
pub(crate) struct Again(Arc<Mutex<State>>);

struct State {
    make: Option<Make>,
    /// Made for the first that asks, for the others too.
    made: Option<Tensor>,
    /// How many will ask.
    waiting: usize,
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Again")
    }
}

/// A value for backward: the tensor, or the way to it.
pub(crate) enum Kept {
    Value(Tensor),
    Again(Again),
}

impl Traced {
    /// Has operations that keep this value for backward compute it again instead, by `make` from what its own backward
    /// keeps: once, for all that ask one after the other.
    pub(crate) fn made_again(
        self,
        make: impl FnOnce(&dyn Kernels) -> Result<Tensor> + Send + 'static,
    ) -> Self {
        // Of a constant, nothing is kept for a backward of its own.
        if !self.is_traced() {
            return self;
        }
        let state = State { make: Some(Box::new(make)), made: None, waiting: 0 };
        Self { again: Some(Again(Arc::new(Mutex::new(state)))), ..self }
    }

    /// Whether keeping it costs no memory.
    pub(crate) fn is_made_again(&self) -> bool {
        self.again.is_some()
    }

    /// Keeps the value for backward, to be taken once.
    pub(crate) fn keep(&self) -> Kept {
        match &self.again {
            None => Kept::Value(self.value.clone()),
            Some(again) => {
                again.0.lock().expect("no holder panics").waiting += 1;
                Kept::Again(again.clone())
            }
        }
    }
}

impl Kept {
    /// The value.
    ///
    /// # Errors
    /// What computing it again returns.
    pub fn take(self, kernels: &dyn Kernels) -> Result<Tensor> {
        let again = match self {
            Self::Value(value) => return Ok(value),
            Self::Again(again) => again,
        };
        let mut state = again.0.lock().expect("no holder panics");
        if let Some(make) = state.make.take() {
            state.made = Some(make(kernels)?);
        }
        // Who keeps a value and never asks leaves it to be freed with the last that keeps it.
        state.waiting -= 1;
        let made = if state.waiting == 0 { state.made.take() } else { state.made.clone() };
        made.ok_or_else(|| Error::shape("backward", "a value could not be computed again".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::{Device, Tensor};

    use crate::{Cpu, Tape, Traced};

    #[test]
    fn a_value_is_made_once_for_all_that_ask_and_then_let_go() {
        let (one, made) = (Tensor::ones(3, candle_core::DType::F32, &Device::Cpu).unwrap(), Arc::default());
        let count: Arc<AtomicUsize> = Arc::clone(&made);
        let parameter = Traced::parameter(one.clone(), 0);
        let tape = Tape::new(Arc::new(Cpu));
        let y = tape.record("y", one.clone(), &[&parameter], |_, _| Ok(()));
        let again = one.clone();
        let y = y.made_again(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(again)
        });
        let kept = [y.keep(), y.keep()];
        let state = Arc::clone(&y.again.as_ref().unwrap().0);
        assert_eq!(made.load(Ordering::Relaxed), 0);
        for (i, kept) in kept.into_iter().enumerate() {
            assert_eq!(kept.take(&Cpu).unwrap().to_vec1::<f32>().unwrap(), [1.0; 3]);
            assert_eq!(made.load(Ordering::Relaxed), 1);
            assert_eq!(state.lock().unwrap().made.is_some(), i == 0);
        }
        // A constant has no backward that keeps anything.
        assert!(!Traced::constant(one.clone()).made_again(move |_| Ok(one)).is_made_again());
    }
}
