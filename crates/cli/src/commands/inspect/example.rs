//! What LoRA saves, on one of a model's own matrices.

use std::fmt;

use serde::Serialize;
use tallow_peft::LoraOptions;
use tallow_t5::T5;

use super::count;

/// One adapted matrix, and what is trained of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Example {
    /// From so many values to so many.
    shape: (usize, usize),
    rank: usize,
    /// Numbers of the two matrices that are trained.
    trained: usize,
    /// Numbers of the matrix itself.
    instead: usize,
    /// The adapted matrices of this shape.
    matrices: usize,
}

impl Example {
    fn new(shape: (usize, usize), rank: usize, matrices: usize) -> Self {
        Self { shape, rank, trained: rank * (shape.0 + shape.1), instead: shape.0 * shape.1, matrices }
    }

    /// The shape that the most adapted matrices have; the first of those that as many have.
    ///
    /// # Errors
    /// If the targets match nothing.
    pub fn largest(model: &T5, options: &LoraOptions) -> tallow_peft::Result<Option<Self>> {
        let mut model = model.clone();
        let linears = model.linears_mut();
        let selected = options.target_modules.select(linears.iter().map(|linear| linear.name()))?;
        let adapted = linears.iter().zip(selected).filter(|(_, selected)| *selected);
        Ok(commonest(adapted.map(|(linear, _)| {
            let (output, input) = linear.shape();
            (input, output)
        }))
        .map(|(shape, matrices)| Self::new(shape, options.rank, matrices)))
    }
}

/// The shape that comes most often, the first of several, and how often.
fn commonest(shapes: impl Iterator<Item = (usize, usize)>) -> Option<((usize, usize), usize)> {
    let mut found: Vec<((usize, usize), usize)> = Vec::new();
    for shape in shapes {
        match found.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, times)) => *times += 1,
            None => found.push((shape, 1)),
        }
    }
    found.into_iter().reduce(|best, other| if other.1 > best.1 { other } else { best })
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { shape: (input, output), rank, trained, instead, .. } = *self;
        let change = 100.0 * (trained as f64 / instead as f64 - 1.0);
        let more = if change > 0.0 { "more" } else { "fewer" };
        let (change, trained, instead) = (change.abs(), count(trained), count(instead));
        write!(
            f,
            "a {input} x {output} matrix at rank {rank} trains {trained} numbers instead of {instead} ({change:.0}% {more})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_worked_out() {
        assert_eq!(
            Example::new((512, 64), 8, 1).to_string(),
            "a 512 x 64 matrix at rank 8 trains 4,608 numbers instead of 32,768 (86% fewer)"
        );
        assert_eq!(
            Example::new((8, 8), 8, 1).to_string(),
            "a 8 x 8 matrix at rank 8 trains 128 numbers instead of 64 (100% more)"
        );
    }

    #[test]
    fn the_shape_of_the_most_matrices_is_taken() {
        let shapes = [(4, 2), (2, 4), (3, 3), (2, 4), (3, 3)];
        assert_eq!(commonest(shapes.into_iter()), Some(((2, 4), 2)));
        assert_eq!(commonest(std::iter::empty()), None);
    }
}
