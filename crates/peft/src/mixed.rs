//! Rows of one batch on different adapters.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;
use tallow_ops::{Kernels, Tape, Traced, linear};
use tallow_t5::{Adapter, AroundProduct, Stream, T5};

use crate::{Error, Result};

/// Several adapters on one base, for batches whose rows are on different ones: each weight is read once for all rows, and
/// then each adapter changes its own rows' part of the product. Chen et al. 2023 (Punica), of whose idea this is the form
/// for few adapters.
///
/// Only what is hooked to linear layers can be mixed: LoRA, DoRA, IA3 and trained biases. An adapter that changes
/// embeddings, head, prompts, prefixes, sublayers' outputs or weights changes what all rows share.
pub struct Mix {
    base: T5,
    /// By the place of a layer in `linears_mut`: what each adapter does there, by the adapter's number.
    layers: BTreeMap<usize, Vec<Option<Arc<dyn AroundProduct>>>>,
    count: usize,
}

impl Mix {
    /// No adapters yet.
    pub fn new(base: &T5) -> Self {
        Self { base: base.clone(), layers: BTreeMap::new(), count: 0 }
    }

    /// Adds an adapter, which is hooked to a clone of the same base; its number, from 0. What of it does not change from
    /// token to token, as DoRA's lengths, is computed here.
    ///
    /// # Errors
    /// If it cannot be mixed, [`Error::NotMixable`], or an operation fails.
    pub fn add(&mut self, adapted: &T5) -> Result<usize> {
        if let Some(place) = obstacle(&self.base, adapted) {
            return Err(Error::NotMixable { place });
        }
        let mut hooked = Vec::new();
        for (i, linear) in adapted.clone().linears_mut().into_iter().enumerate() {
            if let Some(adapter) = &linear.adapter {
                let around = adapter.around_product(linear.weight.value.value())?;
                let around = around.ok_or_else(|| Error::NotMixable { place: linear.name().to_owned() })?;
                hooked.push((i, around));
            }
        }
        let number = self.count;
        for (i, around) in hooked {
            let adapters = self.layers.entry(i).or_default();
            adapters.resize(number, None);
            adapters.push(Some(around));
        }
        self.count += 1;
        Ok(number)
    }

    /// The number of adapters.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no adapter.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A model whose rows are on different adapters: `of_row` has each row's, by the caller's number of the row, and none
    /// for the base as it is, as is every row past its end. Where rows have no numbers they are counted from 0.
    ///
    /// Rows of one adapter are best side by side: each stretch of them is a product of its own.
    pub fn model(&self, of_row: &Arc<[Option<usize>]>) -> T5 {
        let mut model = self.base.clone();
        let mut linears = model.linears_mut();
        for (&i, adapters) in &self.layers {
            linears[i].adapter = Some(Arc::new(Mixed { of_row: of_row.clone(), adapters: adapters.clone() }));
        }
        model
    }
}

/// What an adapter changes beside linear layers' products, if there is something.
fn obstacle(base: &T5, adapted: &T5) -> Option<String> {
    let (mut base, mut adapted) = (base.clone(), adapted.clone());
    if adapted.head_adapter.is_some() {
        return Some("lm_head".to_owned());
    }
    if let Some(place) = adapted.embeddings_mut().into_iter().find(|place| place.adapter.is_some()) {
        return Some(place.name.to_owned());
    }
    if let Some(name) = adapted.beside_the_weights() {
        return Some(name);
    }
    // A weight that is not the base's own tensor has been trained, or has lost a part.
    let (own, others) = (base.weights_mut(), adapted.weights_mut());
    if own.len() < others.len() {
        return Some("lm_head".to_owned());
    }
    let changed = own.iter().zip(&others).find(|(own, other)| {
        own.value.value().id() != other.value.value().id() || own.name() != other.name()
    });
    changed.map(|(_, other)| other.name().to_owned())
}

/// What the adapters do at one layer.
struct Mixed {
    /// The adapter of each of the caller's rows.
    of_row: Arc<[Option<usize>]>,
    adapters: Vec<Option<Arc<dyn AroundProduct>>>,
}

/// Tokens of neighbouring rows that are on one adapter.
struct Stretch<'a> {
    tokens: Range<usize>,
    around: &'a dyn AroundProduct,
}

impl Mixed {
    fn number(&self, row: usize) -> Option<usize> {
        self.of_row.get(row).copied().flatten()
    }

    /// The stretches that an adapter changes here.
    fn stretches(&self, at: &Stream) -> Vec<Stretch<'_>> {
        let mut found: Vec<(Option<usize>, Range<usize>)> = Vec::new();
        for (i, tokens) in at.segments.ranges().iter().enumerate() {
            let number = self.number(at.rows.as_ref().map_or(i, |rows| rows[i]));
            match found.last_mut() {
                Some((last, so_far)) if *last == number && so_far.end == tokens.start => {
                    so_far.end = tokens.end;
                }
                _ => found.push((number, tokens.clone())),
            }
        }
        let here = found.into_iter().filter_map(|(number, tokens)| {
            let around = self.adapters.get(number?)?.as_deref()?;
            Some(Stretch { tokens, around })
        });
        here.collect()
    }
}

/// Rows of a matrix, which lie where they lay.
fn rows(x: &Tensor, tokens: &Range<usize>) -> tallow_t5::Result<Tensor> {
    Ok(x.narrow(0, tokens.start, tokens.len())?)
}

/// x (n, in) as the product is to read it: a copy where an adapter changes rows of it.
fn before(kernels: &dyn Kernels, x: &Traced, stretches: &[Stretch]) -> tallow_t5::Result<Traced> {
    let mut changed: Option<Tensor> = None;
    for Stretch { tokens, around } in stretches {
        let Some(part) = around.before(kernels, &rows(x.value(), tokens)?)? else { continue };
        let whole = match changed.take() {
            Some(whole) => whole,
            None => kernels.scale(x.value(), 1.0)?,
        };
        whole.slice_set(&part, 0, tokens.start)?;
        changed = Some(whole);
    }
    Ok(changed.map_or_else(|| x.clone(), Traced::constant))
}

impl Adapter for Mixed {
    fn forward(&self, tape: &Tape, x: &Traced, weight: &Traced, at: &Stream) -> tallow_t5::Result<Traced> {
        let (kernels, stretches) = (&**tape.kernels(), self.stretches(at));
        let y = linear(tape, &before(kernels, x, &stretches)?, weight)?;
        for Stretch { tokens, around } in stretches {
            around.after(kernels, &rows(x.value(), &tokens)?, &rows(y.value(), &tokens)?)?;
        }
        Ok(y)
    }

    /// No weight is that of all rows.
    fn merge(&self, _weight: &Tensor) -> tallow_t5::Result<Option<Tensor>> {
        Ok(None)
    }
}
