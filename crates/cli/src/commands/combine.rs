use anyhow::{Context, Result, bail};
use tallow_hub::Wanted;
use tallow_peft::{AdapterFile, Combination, combine};

use crate::args::{CombinationMethod, CombineArguments};
use crate::given::{self, Misuse};
use crate::hub;
use crate::progress::say;

pub fn run(arguments: &CombineArguments) -> Result<()> {
    let out = arguments.out.display();
    if arguments.out.exists() {
        bail!("{out} exists: name another folder, or remove it");
    }
    let by = method(arguments)?;
    let (count, weights) = (arguments.adapter.len(), arguments.weight.len());
    if weights != 0 && weights != count {
        bail!(Misuse(format!(
            "{weights} weights for {count} adapters: give --weight once for each --adapter"
        )));
    }
    let mut files = Vec::new();
    for folder in &arguments.adapter {
        given::adapter("--adapter", Some(folder))?;
        let file = AdapterFile::open(&hub::local(folder, Wanted::Adapter)?);
        files.push(file.with_context(|| format!("cannot load the adapter in {}", folder.display()))?);
    }
    let weights = arguments.weight.iter().copied().chain(std::iter::repeat(1.0));
    let weighted: Vec<(f64, &AdapterFile)> = weights.zip(&files).collect();
    let combined = combine(&weighted, by)?;
    combined.save(&arguments.out)?;
    say(&format!("wrote {out}: LoRA of rank {}", combined.options().rank));
    Ok(())
}

/// The method, if nothing is given that is another's.
fn method(arguments: &CombineArguments) -> Result<Combination> {
    use CombinationMethod::{Concatenation, Dare, DareTies, Linear, Svd, Ties};
    let CombineArguments { method, rank, density, seed, .. } = *arguments;
    let draws = matches!(method, Dare | DareTies);
    let stray = [
        ("--rank", rank.is_some() && matches!(method, Linear | Concatenation), "svd, ties and dare"),
        ("--density", density.is_some() && !draws && method != Ties, "ties and dare"),
        ("--seed", seed.is_some() && !draws, "dare"),
    ];
    if let Some((option, _, methods)) = stray.into_iter().find(|(_, stray, _)| *stray) {
        bail!(Misuse(format!("{option} is for {methods}: give --method, or leave it out")));
    }
    let (density, seed) = (density.unwrap_or(0.5), seed.unwrap_or(0));
    if !(density > 0.0 && density <= 1.0) {
        bail!(Misuse(format!("--density {density}: must lie in (0, 1]")));
    }
    Ok(match method {
        Linear => Combination::Linear,
        Concatenation => Combination::Concatenation,
        Svd => Combination::Svd { rank },
        Ties => Combination::Ties { density, rank },
        Dare => Combination::Dare { density, rank, seed },
        DareTies => Combination::DareTies { density, rank, seed },
    })
}
