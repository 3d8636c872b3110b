//! Folders that appear whole or not at all.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Lets `write` fill a folder beside `folder`, which then takes its place; what was there before stays until
/// then, and stays if anything fails. The names beside it, `.NAME.tallow-new` and `.NAME.tallow-old`, are taken
/// for leftovers of an interrupted call.
///
/// # Errors
/// What `write` returns, or if `folder` is a file, or a folder cannot be made or renamed.
pub fn replace<E: From<Error>>(folder: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    if folder.exists() && !folder.is_dir() {
        return Err(Error::file(folder)(std::io::ErrorKind::NotADirectory.into()).into());
    }
    let (new, old) = (beside(folder, "new"), beside(folder, "old"));
    remove(&new)?;
    std::fs::create_dir_all(&new).map_err(Error::file(&new))?;
    write(&new)?;
    remove(&old)?;
    if folder.exists() {
        std::fs::rename(folder, &old).map_err(Error::file(folder))?;
    }
    if let Err(error) = std::fs::rename(&new, folder) {
        // Nothing more can be done if this fails as well.
        let _ = std::fs::rename(&old, folder);
        return Err(Error::file(folder)(error).into());
    }
    Ok(remove(&old)?)
}

/// A name that nobody gives a folder of theirs.
fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    name.push(".tallow-");
    name.push(suffix);
    folder.with_file_name(name)
}

fn remove(folder: &Path) -> Result<()> {
    match folder.exists() {
        true => std::fs::remove_dir_all(folder).map_err(Error::file(folder)),
        false => Ok(()),
    }
}
