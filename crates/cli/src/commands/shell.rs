//! What a shell and a manual know of the command line.

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::args::{Arguments, CompletionsArguments, ManArguments};
use crate::progress;

pub fn completions(arguments: &CompletionsArguments) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "tallow", &mut script);
    progress::print(String::from_utf8(script)?.trim_end())
}

pub fn man(arguments: &ManArguments) -> Result<()> {
    let Some(folder) = &arguments.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
        return progress::print(String::from_utf8(page)?.trim_end());
    };
    let shown = folder.display();
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder))
        .with_context(|| format!("{shown}: cannot write"))?;
    progress::say(&format!("wrote the manual's pages to {shown}; read them with: man {shown}/tallow.1"));
    Ok(())
}
