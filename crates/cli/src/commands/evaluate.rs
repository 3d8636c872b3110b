use anyhow::{Context, Result, bail};
use candle_core::Device;
use tallow_peft::Adapted;
use tallow_train::Engine;

use super::train::{lines, measure};
use crate::args::EvaluateArguments;
use crate::config::load;
use crate::data::{check_vocabulary, held_out, model, tokenizer};
use crate::progress;
use crate::run::{trained, write};

pub fn run(arguments: &EvaluateArguments) -> Result<()> {
    let config = load(&arguments.config.config, &arguments.config.overrides)?;
    let tokenizer = tokenizer(&config.model)?;
    let mut rows = held_out(&config)?;
    if config.evaluation.rows > 0 {
        rows.truncate(config.evaluation.rows);
    }
    let own = trained(&config);
    if !arguments.base && arguments.adapter.is_none() && !own.is_dir() {
        bail!("{} is not there: train first, or give --adapter DIR or --base", own.display());
    }
    // A full fine-tuning leaves a whole model.
    let folder = match (arguments.base, &arguments.adapter, config.method.has_adapter()) {
        (false, None, false) => &own,
        _ => &config.model.path,
    };
    let base = model(folder)?;
    check_vocabulary(&tokenizer, &config.model, &base)?;
    let adapter = arguments.adapter.as_ref().or(config.method.has_adapter().then_some(&own));
    let model = match adapter.filter(|_| !arguments.base) {
        Some(folder) => {
            let adapted = Adapted::load(base, folder, &Device::Cpu);
            adapted.with_context(|| format!("cannot load the adapter in {}", folder.display()))?.model
        }
        None => base,
    };
    let engine = Engine::cpu(config.threads());
    let (answers, evaluation) = measure(&config, &engine, &model, &tokenizer, &rows, "generated")?;
    if let Some(path) = &arguments.predictions {
        write(path, &lines(&answers)?)?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&evaluation)?);
    } else {
        println!("{}", progress::table(&[("rows", &evaluation)]));
    }
    Ok(())
}
