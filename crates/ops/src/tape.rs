mod checkpoint;
mod kept;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use candle_core::{Shape, Tensor};

use self::kept::Again;
pub(crate) use self::kept::Kept;
use crate::{Dest, Error, Kernels, Mask, Randomness, Result, trace};

/// Where a gradient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// The range of the flat gradient buffer that starts here.
    Parameter(usize),
    /// The output of the operation with this number.
    Node(usize),
}

/// A tensor, and the slot its gradient goes to, if any. Without one it is a constant.
#[derive(Clone, Debug)]
pub struct Traced {
    value: Tensor,
    slot: Option<Slot>,
    again: Option<Again>,
}

impl Traced {
    /// A value that receives no gradient.
    pub fn constant(value: Tensor) -> Self {
        Self { value, slot: None, again: None }
    }

    pub(crate) fn parameter(value: Tensor, offset: usize) -> Self {
        Self { value, slot: Some(Slot::Parameter(offset)), again: None }
    }

    /// The tensor.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// Where its gradient goes, for a closure that needs nothing else of it.
    pub fn target(&self) -> Target {
        Target { slot: self.slot, shape: self.value.shape().clone() }
    }

    /// Whether a gradient is wanted.
    pub fn is_traced(&self) -> bool {
        self.slot.is_some()
    }
}

/// The place of a gradient, and its shape.
#[derive(Clone, Debug)]
pub struct Target {
    slot: Option<Slot>,
    shape: Shape,
}

impl Target {
    /// Whether a gradient is wanted here.
    pub fn is_traced(&self) -> bool {
        self.slot.is_some()
    }
}

type Backward = Box<dyn FnOnce(Tensor, &mut Gradients) -> Result<()> + Send>;

struct Node {
    name: &'static str,
    backward: Backward,
}

/// A record of operations; [`Tape::backward`] consumes it from the end, and what an operation saved is
/// freed as soon as its gradient is computed.
pub struct Tape {
    kernels: Arc<dyn Kernels>,
    nodes: RefCell<Vec<Node>>,
    recording: bool,
    randomness: Option<Randomness>,
    sites: Cell<u32>,
}

impl Tape {
    /// A tape that records, without dropout.
    pub fn new(kernels: Arc<dyn Kernels>) -> Self {
        Self { kernels, nodes: RefCell::default(), recording: true, randomness: None, sites: Cell::new(0) }
    }

    /// A tape that records, and drops activations by `randomness`.
    pub fn with_dropout(kernels: Arc<dyn Kernels>, randomness: Randomness) -> Self {
        Self { randomness: Some(randomness), ..Self::new(kernels) }
    }

    /// A tape that records nothing: for inference.
    pub fn off(kernels: Arc<dyn Kernels>) -> Self {
        Self { recording: false, ..Self::new(kernels) }
    }

    /// The kernels that compute on this tape.
    pub fn kernels(&self) -> &Arc<dyn Kernels> {
        &self.kernels
    }

    /// Whether a place that drops with probability `p` drops anything on this tape.
    pub fn drops(&self, p: f64) -> bool {
        self.randomness.is_some() && p > 0.0
    }

    /// The mask of the next place that drops with probability `p`; none where nothing is dropped.
    pub fn mask(&self, p: f64) -> Option<Mask> {
        let randomness = self.randomness.filter(|_| p > 0.0)?;
        let site = self.sites.get();
        self.sites.set(site + 1);
        Some(randomness.mask(site, p))
    }

    /// Whether an operation over these inputs has to save anything for backward.
    pub fn records(&self, inputs: &[&Traced]) -> bool {
        self.recording && inputs.iter().any(|input| input.is_traced())
    }

    /// Wraps an operation's output. `backward` receives the output's gradient as its owner; it is kept only
    /// if an input is traced.
    pub fn record(
        &self,
        name: &'static str,
        output: Tensor,
        inputs: &[&Traced],
        backward: impl FnOnce(Tensor, &mut Gradients) -> Result<()> + Send + 'static,
    ) -> Traced {
        match self.records(inputs) {
            true => self.push(name, output, backward),
            false => Traced::constant(output),
        }
    }

    fn push(
        &self,
        name: &'static str,
        output: Tensor,
        backward: impl FnOnce(Tensor, &mut Gradients) -> Result<()> + Send + 'static,
    ) -> Traced {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { name, backward: Box::new(backward) });
        Traced { value: output, slot: Some(Slot::Node(nodes.len() - 1)), again: None }
    }

    /// Adds d `output` / d parameter, weighted by `gradient` (of the output's shape), to `parameters`, the
    /// flat gradient buffer (see [`Parameters::gradients`](crate::Parameters::gradients)).
    ///
    /// Like every operation's, `gradient` is owned: it may be overwritten, so nothing else should read it.
    ///
    /// # Errors
    /// If the gradient's shape is not the output's, and what the kernels return; the buffer's contents are
    /// then unspecified.
    pub fn backward(self, output: Traced, gradient: Tensor, parameters: &Tensor) -> Result<()> {
        if gradient.shape() != output.value.shape() {
            let (found, wanted) = (gradient.dims(), output.value.dims());
            return Err(Error::shape("backward", format!("a gradient {found:?} of an output {wanted:?}")));
        }
        let mut nodes = self.nodes.into_inner();
        let mut gradients = Gradients {
            kernels: self.kernels,
            parameters: parameters.clone(),
            nodes: Vec::with_capacity(nodes.len()),
        };
        gradients.nodes.resize_with(nodes.len(), || None);
        gradients.give(&output.target(), gradient)?;
        drop(output);
        while let Some(Node { name, backward }) = nodes.pop() {
            // A node whose output nothing used has no gradient.
            if let Some(gradient) = gradients.nodes.pop().flatten() {
                let _span = trace::backward(name);
                backward(gradient, &mut gradients)?;
            }
        }
        Ok(())
    }
}

/// The gradients that backward has not consumed yet.
pub struct Gradients {
    kernels: Arc<dyn Kernels>,
    parameters: Tensor,
    nodes: Vec<Option<Tensor>>,
}

impl Gradients {
    /// The kernels of the tape.
    pub fn kernels(&self) -> Arc<dyn Kernels> {
        self.kernels.clone()
    }

    /// Lets `write` write or add to the gradient at `target`, which it is handed as a [`Dest`] and returns.
    /// Does nothing for a constant.
    pub fn add(&mut self, target: &Target, write: impl FnOnce(Dest) -> Result<Tensor>) -> Result<()> {
        match target.slot {
            None => {}
            Some(Slot::Parameter(offset)) => {
                let range =
                    self.parameters.narrow(0, offset, target.shape.elem_count())?.reshape(&target.shape)?;
                write(Dest::Add(range))?;
            }
            Some(Slot::Node(node)) => {
                let dest = self.nodes[node].take().map_or(Dest::New, Dest::Add);
                self.nodes[node] = Some(write(dest)?);
            }
        }
        Ok(())
    }

    /// Hands on a gradient that nothing else reads: moved if it is the first, added otherwise.
    pub fn give(&mut self, target: &Target, gradient: Tensor) -> Result<()> {
        match target.slot {
            Some(Slot::Node(node)) if self.nodes[node].is_none() => self.nodes[node] = Some(gradient),
            None => {}
            _ => {
                let kernels = self.kernels.clone();
                self.add(target, |dest| kernels.add(dest, &gradient, 1.0))?;
            }
        }
        Ok(())
    }
}
