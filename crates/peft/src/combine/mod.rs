//! Several LoRA adapters as one, by weights.
//!
//! What each method computes, and in which order, is what peft 0.21.2 does in `add_weighted_adapter`; names here are in
//! brackets where peft has others. A layer that not all adapters have is combined of those that have it.

mod concatenation;
mod dare;
mod linear;
mod svd;
mod ties;

use std::collections::BTreeSet;
use std::path::Path;

use candle_core::Tensor;
use tallow_ops::Randomness;

use self::dare::Drop;
use crate::file::{self, BaseName};
use crate::{AdapterFile, Error, LoraOptions, Method, Result, TargetModules, lora};

/// How adapters are combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Combination {
    /// Sums of A's and of B's, each by the root of weight times scale: B A then has terms of one adapter's B with another's
    /// A, so it is no sum of the updates, but of the same rank.
    Linear,
    /// A's one above the other, and B's side by side (`cat`): the weighted sum of the updates, exactly, at the sum of the
    /// ranks.
    Concatenation,
    /// The weighted sum of the updates, cut to a rank by its singular values; by default the greatest of the ranks.
    Svd {
        /// The rank.
        rank: Option<usize>,
    },
    /// Of each adapter the largest values, and of these the ones of the sign that wins, over how many there are. Yadav et
    /// al. 2023.
    Ties {
        /// The part of the values that is kept, in (0, 1].
        density: f64,
        /// Over whole updates, cut to this rank, instead of over A and B (`ties_svd`).
        rank: Option<usize>,
    },
    /// Of each adapter some values at random, the others dropped, scaled so that the mean stays; then summed
    /// (`dare_linear`). Yu et al. 2023.
    Dare {
        /// The part of the values that is kept, in (0, 1].
        density: f64,
        /// Over whole updates, cut to this rank, instead of over A and B (`dare_linear_svd`).
        rank: Option<usize>,
        /// What is dropped is drawn from it.
        seed: u64,
    },
    /// The same, with the signs that win, as in TIES (`dare_ties`).
    DareTies {
        /// The part of the values that is kept, in (0, 1].
        density: f64,
        /// Over whole updates, cut to this rank, instead of over A and B (`dare_ties_svd`).
        rank: Option<usize>,
        /// What is dropped is drawn from it.
        seed: u64,
    },
}

/// One LoRA adapter made of several: what [`combine`] gives.
pub struct Combined {
    options: LoraOptions,
    base: BaseName,
    tensors: Vec<(String, Tensor)>,
}

/// One adapter's update of a layer, scale B A, and its weight.
struct Part {
    /// (rank, in).
    a: Tensor,
    /// (out, rank).
    b: Tensor,
    scale: f64,
    weight: f64,
}

impl Part {
    /// scale B A, (out, in).
    fn update(&self) -> Result<Tensor> {
        Ok((self.b.matmul(&self.a)? * self.scale)?)
    }
}

/// Combines LoRA adapters of one base, each with its weight, which may be negative.
///
/// # Errors
/// If there is no adapter, one is no plain LoRA, bases differ, a density or a rank is out of range, a method that combines
/// A's and B's is given ranks that differ, or a tensor cannot be read.
pub fn combine(adapters: &[(f64, &AdapterFile)], by: Combination) -> Result<Combined> {
    check(adapters, by)?;
    let layers: BTreeSet<String> = adapters
        .iter()
        .flat_map(|(_, file)| file.shapes().filter_map(|(name, _)| lora::layer(name)))
        .collect();
    let ranks = adapters.iter().map(|(_, file)| options(file).map(greatest_rank));
    let ranks = ranks.collect::<Result<Vec<usize>>>()?;
    let most = new_rank(&ranks, by);
    let pairs = (0..).zip(&layers).map(|(site, layer)| by.pair(&parts(adapters, layer)?, layer, most, site));
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    // What is cut has no rank above the smaller side of a layer, whatever is asked for.
    let greatest = pairs.iter().map(|[a, _]| a.dims()[0]).max().unwrap_or(most);
    let rank = if by.cut().is_some() { greatest } else { most };
    let mut tensors = Vec::new();
    for (layer, [a, b]) in layers.iter().zip(pairs) {
        let [a_name, b_name] = lora::names(layer);
        // A layer of a smaller rank fills up with zeros, as in peft.
        tensors.push((a_name, a.pad_with_zeros(0, 0, rank - a.dim(0)?)?.contiguous()?));
        tensors.push((b_name, b.pad_with_zeros(1, 0, rank - b.dim(1)?)?.contiguous()?));
    }
    let options = LoraOptions {
        rank,
        alpha: rank as f64,
        target_modules: targets(adapters, &layers)?,
        ..LoraOptions::default()
    };
    let base = adapters.iter().find_map(|(_, file)| file.base.clone());
    let base = base.unwrap_or_else(|| Path::new("").into());
    Ok(Combined { options, base, tensors })
}

impl Combined {
    /// Its tensors by the names of peft's files.
    pub fn tensors(&self) -> &[(String, Tensor)] {
        &self.tensors
    }

    /// LoRA, with a scale of 1.
    pub fn options(&self) -> &LoraOptions {
        &self.options
    }

    /// Writes it to `folder`, in PEFT's format; a folder that is there already is replaced whole.
    ///
    /// # Errors
    /// If a file cannot be written; what was there before stays.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let trainable = self.tensors.iter().map(|(_, tensor)| tensor.elem_count()).sum();
        let method = Method::Lora(self.options.clone());
        file::put(&method, lora::config(&self.options, false), &self.tensors, trainable, folder, &self.base)
    }
}

impl Combination {
    /// A (rank, in) and B (out, rank) of a layer, whose random numbers are those of `site`.
    fn pair(self, parts: &[Part], layer: &str, rank: usize, site: u32) -> Result<[Tensor; 2]> {
        match self {
            Self::Linear => each_matrix(parts, layer, &mut |_, values, weights| linear::sum(values, weights)),
            Self::Concatenation => concatenation::pair(parts),
            Self::Svd { .. } => {
                over_updates(parts, rank, &mut |_, updates, weights| linear::sum(updates, weights))
            }
            Self::Ties { density, rank: cut } => either(parts, layer, cut, &mut |_, values, weights| {
                let kept = values.iter().map(|value| ties::trimmed(value, density));
                ties::merged(&kept.collect::<Result<Vec<_>>>()?, weights)
            }),
            Self::Dare { density, rank: cut, seed } => {
                let mut drop = Drop { density, randomness: Randomness::new(seed, 0, 0), layer: site };
                either(parts, layer, cut, &mut |matrix, values, weights| {
                    linear::sum(&drop.each(values, matrix)?, weights)
                })
            }
            Self::DareTies { density, rank: cut, seed } => {
                let mut drop = Drop { density, randomness: Randomness::new(seed, 0, 0), layer: site };
                either(parts, layer, cut, &mut |matrix, values, weights| {
                    ties::merged(&drop.each(values, matrix)?, weights)
                })
            }
        }
    }

    fn density(self) -> Option<f64> {
        match self {
            Self::Linear | Self::Concatenation | Self::Svd { .. } => None,
            Self::Ties { density, .. } | Self::Dare { density, .. } | Self::DareTies { density, .. } => {
                Some(density)
            }
        }
    }

    /// The rank that whole updates are cut to; 0 stands for the greatest of the adapters'.
    fn cut(self) -> Option<usize> {
        match self {
            Self::Linear | Self::Concatenation => None,
            Self::Svd { rank } => Some(rank.unwrap_or(0)),
            Self::Ties { rank, .. } | Self::Dare { rank, .. } | Self::DareTies { rank, .. } => rank,
        }
    }
}

/// What makes one matrix of several with their weights; the number tells A, B and whole updates apart.
type Merge<'a> = &'a mut dyn FnMut(u32, &[Tensor], &[f64]) -> Result<Tensor>;

/// Over A and B, or over whole updates where these are cut to a rank.
fn either(parts: &[Part], layer: &str, cut: Option<usize>, merge: Merge) -> Result<[Tensor; 2]> {
    match cut {
        None => each_matrix(parts, layer, merge),
        Some(rank) => over_updates(parts, rank, merge),
    }
}

/// A's and B's, each by the root of weight times scale; the sign of a weight is A's.
fn each_matrix(parts: &[Part], layer: &str, merge: Merge) -> Result<[Tensor; 2]> {
    let shapes: BTreeSet<usize> = parts.iter().map(|part| part.a.dims()[0]).collect();
    if shapes.len() > 1 {
        return fail(format!(
            "A's and B's of {layer} have ranks {shapes:?}: take svd or concatenation, or give ties and dare a rank"
        ));
    }
    let product = |part: &Part| part.weight * part.scale;
    let of_b: Vec<f64> = parts.iter().map(|part| product(part).abs().sqrt()).collect();
    let signed = |(part, root): (&Part, &f64)| if product(part) < 0.0 { -root } else { *root };
    let of_a: Vec<f64> = parts.iter().zip(&of_b).map(signed).collect();
    let matrices = |of: fn(&Part) -> &Tensor| parts.iter().map(|part| of(part).clone()).collect::<Vec<_>>();
    Ok([merge(0, &matrices(|part| &part.a), &of_a)?, merge(1, &matrices(|part| &part.b), &of_b)?])
}

/// Whole updates, cut to a rank.
fn over_updates(parts: &[Part], rank: usize, merge: Merge) -> Result<[Tensor; 2]> {
    let updates = parts.iter().map(Part::update).collect::<Result<Vec<_>>>()?;
    let weights: Vec<f64> = parts.iter().map(|part| part.weight).collect();
    svd::cut(&merge(2, &updates, &weights)?, rank)
}

/// The rank of the result.
fn new_rank(ranks: &[usize], by: Combination) -> usize {
    let greatest = ranks.iter().copied().max().unwrap_or(1);
    match by {
        Combination::Concatenation => ranks.iter().sum(),
        _ => by.cut().filter(|&rank| rank > 0).unwrap_or(greatest),
    }
}

fn greatest_rank(options: &LoraOptions) -> usize {
    options.rank_pattern.values().copied().chain([options.rank]).max().unwrap_or(options.rank)
}

fn options(file: &AdapterFile) -> Result<&LoraOptions> {
    let path = file.path().display();
    match &file.method {
        Method::Lora(options)
            if options.modules_to_save.is_empty() && options.trainable_token_indices.is_empty() =>
        {
            Ok(options)
        }
        Method::Lora(_) => fail(format!("{path} holds whole weights beside its LoRA")),
        method => fail(format!("{path} is {method}; LoRA can be combined")),
    }
}

/// Each adapter's update of a layer, of those that have it.
fn parts(adapters: &[(f64, &AdapterFile)], layer: &str) -> Result<Vec<Part>> {
    let [a_name, b_name] = lora::names(layer);
    let mut parts: Vec<Part> = Vec::new();
    for (weight, file) in adapters {
        if !file.shapes().any(|(name, _)| name == a_name) {
            continue;
        }
        let (a, b) = (file.tensor(&a_name)?, file.tensor(&b_name)?);
        let (rank, scale) = options(file)?.rank_and_scale(layer)?;
        let path = file.path().display();
        let fits = matches!((a.dims(), b.dims()), (&[r, _], &[_, s]) if r == rank && s == rank);
        if !fits {
            let (a, b) = (a.dims(), b.dims());
            return fail(format!("{path}: {layer} has A {a:?} and B {b:?} at rank {rank}"));
        }
        if let Some(first) = parts.first() {
            let sizes = |part: (&Tensor, &Tensor)| (part.1.dims()[0], part.0.dims()[1]);
            let (own, other) = (sizes((&a, &b)), sizes((&first.a, &first.b)));
            if own != other {
                return fail(format!(
                    "{path}: {layer} is {own:?}, and {other:?} in another: are they of one base?"
                ));
            }
        }
        parts.push(Part { a, b, scale, weight: *weight });
    }
    Ok(parts)
}

/// Targets that match the layers and no others: the names in use, where these are all that was said, else whole names.
fn targets(adapters: &[(f64, &AdapterFile)], layers: &BTreeSet<String>) -> Result<TargetModules> {
    let mut suffixes = BTreeSet::new();
    for (_, file) in adapters {
        let options = options(file)?;
        match &options.target_modules {
            TargetModules::Suffixes(names)
                if options.layers.is_empty() && options.exclude_modules.is_none() =>
            {
                suffixes.extend(names.iter().cloned());
            }
            _ => return Ok(TargetModules::Suffixes(layers.iter().cloned().collect())),
        }
    }
    Ok(TargetModules::Suffixes(suffixes.into_iter().collect()))
}

fn check(adapters: &[(f64, &AdapterFile)], by: Combination) -> Result<()> {
    if adapters.is_empty() {
        return fail("there is none".to_owned());
    }
    if let Some((weight, _)) = adapters.iter().find(|(weight, _)| !weight.is_finite()) {
        return fail(format!("{weight} is no weight"));
    }
    if let Some(density) = by.density().filter(|density| !(*density > 0.0 && *density <= 1.0)) {
        return fail(format!("the density is {density}, not in (0, 1]"));
    }
    let called = |base: &BaseName| match &base.revision {
        Some(revision) => format!("{} at {revision}", base.name),
        None => base.name.clone(),
    };
    let named: BTreeSet<String> =
        adapters.iter().filter_map(|(_, file)| file.base.as_ref().map(called)).collect();
    if named.len() > 1 {
        let names: Vec<String> = named.into_iter().collect();
        return fail(format!(
            "they name the bases {}: if these are one model, set base_model_name_or_path and revision alike in each \
             adapter_config.json",
            names.join(", ")
        ));
    }
    Ok(())
}

fn fail<T>(what: String) -> Result<T> {
    Err(Error::Combine { what })
}
