use std::path::Path;

use anyhow::{Context, Result, bail};
use tallow_peft::AdapterFile;
use tallow_report::{LayerNorm, NearToken, Run, figures, page};

use crate::args::ReportArguments;
use crate::config::{Reads, load_reading};
use crate::progress::{self, say};
use crate::prompt::nearest_of_run;
use crate::run::{RunFolder, write};

/// A page shows so many neighbours of each virtual token.
const NEAREST: usize = 5;

pub fn run(arguments: &ReportArguments) -> Result<()> {
    let mut runs = arguments.runs.iter().map(|folder| read(folder)).collect::<Result<Vec<Run>>>()?;
    Run::tell_apart(&mut runs);
    if arguments.json {
        progress::print(&serde_json::to_string(&figures(&runs))?)?;
    }
    let output = match (&arguments.output, arguments.runs.as_slice()) {
        (Some(output), _) => output.clone(),
        (None, _) if arguments.json => return Ok(()),
        (None, [folder]) => RunFolder::of(folder).report(),
        (None, _) => bail!("several runs are drawn on one page: say where it goes by --output FILE"),
    };
    write(&output, &page(&runs))?;
    say(&format!("wrote {}", output.display()));
    Ok(())
}

/// Draws a run's own page. A run that went well has not failed for want of it.
pub fn refresh(folder: &RunFolder) {
    let drawn = read(folder.path()).and_then(|run| write(&folder.report(), &page(&[run])));
    if let Err(error) = drawn {
        say(&format!("no report: {error:#}"));
    }
}

fn read(folder: &Path) -> Result<Run> {
    let adapter = folder.join("adapter");
    let norms = match adapter.is_dir() {
        true => AdapterFile::open(&adapter)?.update_norms()?,
        false => Vec::new(),
    };
    let layers = norms.into_iter().map(|(layer, norm)| LayerNorm { layer, norm }).collect();
    let mut run =
        Run::read(folder, layers).with_context(|| format!("{}: cannot draw the run", folder.display()))?;
    run.prompt = prompt(folder, &adapter);
    Ok(run)
}

/// What a run's prompt lies near to. A run is drawn without it where its base is not there any more.
fn prompt(folder: &Path, adapter: &Path) -> Vec<Vec<NearToken>> {
    let config = load_reading(&RunFolder::of(folder).config(), &[], Reads::Nothing);
    let found = config.and_then(|config| nearest_of_run(&config, adapter, NEAREST));
    found.unwrap_or_else(|error| {
        progress::detail(|| format!("{}: no neighbours of the prompt: {error:#}", folder.display()));
        Vec::new()
    })
}
