use anyhow::{Result, bail};

use super::train::{lines, measure};
use crate::args::EvaluateArguments;
use crate::compute::Compute;
use crate::config::{Reads, load_reading};
use crate::data::{adapt, check_vocabulary, held_out, model, task_tokenizer, trained};
use crate::given;
use crate::progress;
use crate::run::{RunFolder, write};

pub fn run(arguments: &EvaluateArguments) -> Result<()> {
    given::adapter("--adapter", arguments.adapter.as_deref())?;
    let config = load_reading(&arguments.config.config, &arguments.config.overrides, Reads::HeldOut)?;
    let compute = Compute::open(&config.compute(), config.threads())?;
    let tokenizer = task_tokenizer(&config)?;
    let rows = held_out(&config, Some(config.evaluation.rows).filter(|&rows| rows > 0))?;
    let base = || model(&config.model.path, compute.device(), compute.dtype);
    let model = match &arguments.adapter {
        Some(folder) => adapt(base()?, folder)?.model,
        None if arguments.base => base()?,
        None => {
            let run = RunFolder::at(&config);
            let own = run.trained(&config);
            if !own.is_dir() {
                bail!("{} is not there: train first, or give --adapter DIR or --base", own.display());
            }
            run.check_trained_as(&config)?;
            trained(&config, &own, &compute)?
        }
    };
    check_vocabulary(&tokenizer, &config.model, &model)?;
    progress::detail(|| format!("loaded the model and {} rows; {}", rows.len(), compute.kernels()));
    let (answers, evaluation) = measure(&config, &compute.engine, &model, &tokenizer, &rows, "generated")?;
    progress::detail_memory(&compute.engine);
    if let Some(path) = &arguments.predictions {
        write(path, &lines(&answers)?)?;
    }
    match arguments.json {
        true => progress::print(&serde_json::to_string(&evaluation)?),
        false => progress::print(&progress::table(&[("rows", &evaluation)])),
    }
}
