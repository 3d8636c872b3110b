use std::path::Path;

use anyhow::{Context, Result, bail};
use tallow_peft::AdapterFile;
use tallow_report::{LayerNorm, Run, figures, page};

use crate::args::ReportArguments;
use crate::progress::{self, say};
use crate::run::{RunFolder, write};

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
    Run::read(folder, layers).with_context(|| format!("{}: cannot draw the run", folder.display()))
}
