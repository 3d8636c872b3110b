//! Event files, as TensorBoard reads them.

mod message;
mod record;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use message::Event;

use crate::{Error, Result};

/// What the names of event files begin with.
pub const EVENTS: &str = "events.out.tfevents.";

/// An event file of a run: figures by name and step. Each call is one write, so that TensorBoard can follow.
pub struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Begins a new file in `folder`, for what comes after `done` steps. Of earlier files there, TensorBoard leaves out
    /// later steps than that.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(folder: &Path, done: usize) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
        // Files are read in the order of their names, even if the clock was set back.
        let last = last_second(folder)?.map_or(0, |last| last + 1);
        let (path, file) = new_file(folder, last.max(now() as u64))?;
        let mut events = Self { path, file };
        events.write(&Event::version(now()))?;
        // The figures from before training are of step 0.
        let first = if done == 0 { 0 } else { done as u64 + 1 };
        events.write(&Event::start(now(), first))?;
        Ok(events)
    }

    /// Writes figures of a step. They are kept as f32.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn scalars(&mut self, step: usize, figures: &[(String, f64)]) -> Result<()> {
        self.write(&Event::scalars(now(), step as u64, figures))
    }

    fn write(&mut self, event: &Event) -> Result<()> {
        self.file.write_all(&record::frame(event.bytes())).map_err(Error::file(&self.path))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The second in the name of the newest file.
fn last_second(folder: &Path) -> Result<Option<u64>> {
    let mut last = None;
    for entry in std::fs::read_dir(folder).map_err(Error::file(folder))? {
        let name = entry.map_err(Error::file(folder))?.file_name();
        let second =
            name.to_str().and_then(|name| name.strip_prefix(EVENTS)?.split('.').next()?.parse().ok());
        last = last.max(second);
    }
    Ok(last)
}

fn new_file(folder: &Path, second: u64) -> Result<(PathBuf, File)> {
    let path = folder.join(format!("{EVENTS}{second:010}.tallow"));
    let file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(Error::file(&path))?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::create(folder.path(), 0).unwrap();
        let figures = [("train/loss".to_owned(), 2.5), ("train/Größe".to_owned(), -1e-30)];
        events.scalars(1, &figures).unwrap();
        // On disk before the writer is closed.
        let files = files(folder.path());
        assert_eq!(files.len(), 1);
        let bytes = std::fs::read(&files[0]).unwrap();
        let records = record::tests::read(&bytes);
        assert_eq!(records.len(), 3);
        assert_eq!(message::tests::version(&records[0]).as_deref(), Some("brain.Event:2"));
        assert_eq!(message::tests::start(&records[1]), Some(0));
        let (time, step, found) = message::tests::scalars(&records[2]);
        assert!((time - now()).abs() < 60.0, "{time}");
        assert_eq!(step, 1);
        assert_eq!(found, [("train/loss".to_owned(), 2.5f32), ("train/Größe".to_owned(), -1e-30f32)]);
    }

    #[test]
    fn a_resumed_run_begins_a_later_file_that_takes_back_steps() {
        let folder = tempfile::tempdir().unwrap();
        let ahead = folder.path().join(format!("{EVENTS}9999999990.tallow"));
        std::fs::write(&ahead, "").unwrap();
        drop(Events::create(folder.path(), 4).unwrap());
        drop(Events::create(folder.path(), 7).unwrap());
        let files = files(folder.path());
        assert_eq!(files[0], ahead);
        let starts: Vec<Option<u64>> = files[1..]
            .iter()
            .map(|file| message::tests::start(&record::tests::read(&std::fs::read(file).unwrap())[1]))
            .collect();
        assert_eq!(starts, [Some(5), Some(8)]);
    }
}
