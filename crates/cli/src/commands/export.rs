use anyhow::{Result, bail};
use candle_core::{DType, Device};
use tallow_hub::Wanted;

use crate::args::ExportArguments;
use crate::config::ModelOptions;
use crate::data::{adapt, model};
use crate::given;
use crate::hub;
use crate::progress::{detail, say};
use crate::run::RunFolder;

pub fn run(arguments: &ExportArguments) -> Result<()> {
    let out = arguments.out.display();
    if arguments.out.exists() {
        bail!("{out} exists: name another folder, or remove it");
    }
    given::model("--model", arguments.model.as_deref())?;
    given::adapter("--adapter", arguments.adapter.as_deref())?;
    let (base, adapter) = match (&arguments.run, &arguments.model, &arguments.adapter) {
        (Some(run), _, named) => {
            let (folder, config) = RunFolder::open(run)?;
            let trained = match named {
                Some(adapter) => adapter.clone(),
                None => folder.trained_by_now(&config)?,
            };
            if named.is_none() && !config.method.has_adapter() {
                bail!("{} is a full fine-tuning: {} is the model already", run.display(), trained.display());
            }
            (config.model, trained)
        }
        (None, Some(model), Some(adapter)) => {
            (ModelOptions { path: model.clone(), tokenizer: None }, adapter.clone())
        }
        (None, None, Some(adapter)) => (hub::base_by_adapter(adapter)?, adapter.clone()),
        _ => bail!("give --run DIR, or --model DIR and --adapter DIR"),
    };
    let adapted = adapt(model(&base.path, &Device::Cpu, DType::F32)?, &adapter)?;
    detail(|| format!("loaded the base and {} values on it", adapted.parameters.trainable()));
    let (folder, tokenizer) = (hub::local(&base.path, Wanted::Model)?, hub::tokenizer_beside(&base)?);
    tallow_t5::save(&adapted.model, &folder, tokenizer.as_deref(), &arguments.out)?;
    say(&format!("wrote {out}"));
    Ok(())
}
