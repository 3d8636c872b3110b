use anyhow::{Context, Result, bail};
use candle_core::Device;
use tallow_peft::Adapted;

use crate::args::ExportArguments;
use crate::config::load;
use crate::data::model;
use crate::run::trained;

pub fn run(arguments: &ExportArguments) -> Result<()> {
    let out = arguments.out.display();
    if arguments.out.exists() {
        bail!("{out} exists: name another folder, or remove it");
    }
    let (base, adapter) = match (&arguments.run, &arguments.model, &arguments.adapter) {
        (Some(run), ..) => {
            let config = load(&run.join("config.toml"), &[])?;
            if !config.method.has_adapter() {
                bail!("{} is a full fine-tuning: {} is the model already", run.display(), trained(&config).display());
            }
            (config.model.path.clone(), trained(&config))
        }
        (None, Some(model), Some(adapter)) => (model.clone(), adapter.clone()),
        _ => bail!("give --run DIR, or --model DIR and --adapter DIR"),
    };
    let adapted = Adapted::load(model(&base)?, &adapter, &Device::Cpu)
        .with_context(|| format!("cannot load the adapter in {}", adapter.display()))?;
    tallow_t5::save(&adapted.model, &base, &arguments.out)?;
    eprintln!("wrote {out}");
    Ok(())
}
