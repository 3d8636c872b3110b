use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use ureq::http::{Response, StatusCode, header};

use crate::hub::Position;
use crate::remote::{Metadata, Remote, is_busy};
use crate::{Error, Name, Result};

/// A file on its way.
pub(crate) struct Download<'a> {
    pub remote: &'a Remote,
    pub name: &'a Name,
    pub file: &'a str,
    pub url: &'a str,
    pub metadata: &'a Metadata,
}

/// Why a try has ended.
enum Broken {
    /// Another one may do better.
    Passing(String),
    /// It will not.
    Final(Error),
}

impl Download<'_> {
    /// Fetches the file to `part`, from where an earlier call came to, and checks it.
    pub fn run(&self, part: &Path, position: &mut Position) -> Result<()> {
        // What has no checksum cannot be told from another's part.
        if self.sha256().is_none() {
            let _ = std::fs::remove_file(part);
        }
        let (mut pauses, mut tries, mut farthest) = (Box::new(self.remote.pauses()), 0, size_of(part));
        loop {
            let reason = match self.go_on(part, position) {
                Ok(()) => break,
                Err(Broken::Final(error)) => return Err(error),
                Err(Broken::Passing(reason)) => reason,
            };
            tries += 1;
            let have = size_of(part);
            // Tries are counted from the last one that got anywhere.
            if have > farthest {
                (pauses, farthest) = (Box::new(self.remote.pauses()), have);
            }
            match pauses.next() {
                Some(pause) => std::thread::sleep(pause),
                None => {
                    let (name, file) = (self.name.to_string(), self.file.to_owned());
                    return Err(Error::Cut { name, file, tries, have, size: self.metadata.size, reason });
                }
            }
        }
        self.check(part)
    }

    fn go_on(&self, part: &Path, position: &mut Position) -> Result<(), Broken> {
        let size = self.metadata.size;
        let mut have = size_of(part);
        if have == size && have > 0 {
            return Ok(());
        }
        if have > size {
            have = 0;
        }
        let answer = self.remote.get(self.url, have).map_err(|error| Broken::Passing(error.to_string()))?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&answer) == Some(have) => {}
            // The whole file, whatever was asked for.
            StatusCode::OK => have = 0,
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT if have > 0 => {
                let _ = std::fs::remove_file(part);
                return Err(Broken::Passing("another part came than the one asked for".into()));
            }
            status if is_busy(&answer) => {
                return Err(Broken::Passing(format!("the server answers {status}")));
            }
            _ => {
                return Err(Broken::Final(self.remote.refused(
                    self.name,
                    Some(self.file),
                    self.url,
                    &answer,
                )));
            }
        }
        let on_disk = |error| Broken::Final(Error::file(part)(error));
        let mut options = OpenOptions::new();
        let file =
            if have > 0 { options.append(true) } else { options.write(true).create(true).truncate(true) };
        let mut file = file.open(part).map_err(on_disk)?;
        let mut body = answer.into_body().into_reader();
        let mut buffer = vec![0; 1 << 18];
        position(have);
        while have < size {
            let read = body.read(&mut buffer).map_err(|error| Broken::Passing(error.to_string()))?;
            if read == 0 {
                return Err(Broken::Passing("the server ended it".into()));
            }
            file.write_all(&buffer[..read]).map_err(on_disk)?;
            have += read as u64;
            position(have);
        }
        if have > size || body.read(&mut buffer).is_ok_and(|more| more > 0) {
            let _ = std::fs::remove_file(part);
            return Err(Broken::Final(
                self.damaged(format!("is longer than the {size} bytes that were announced")),
            ));
        }
        Ok(())
    }

    /// Refuses what is not what the server announced.
    fn check(&self, part: &Path) -> Result<()> {
        let Some(announced) = self.sha256() else { return Ok(()) };
        let mut hasher = Sha256::new();
        let mut file = File::open(part).map_err(Error::file(part))?;
        std::io::copy(&mut file, &mut hasher).map_err(Error::file(part))?;
        let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if found == announced.to_lowercase() {
            return Ok(());
        }
        let _ = std::fs::remove_file(part);
        Err(self.damaged(format!("has the SHA-256 {found}, but {announced} was announced")))
    }

    /// The file's SHA-256: the etag of large files.
    fn sha256(&self) -> Option<&str> {
        let etag = self.metadata.etag.as_str();
        (etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(etag)
    }

    fn damaged(&self, what: String) -> Error {
        Error::Damaged { name: self.name.to_string(), file: self.file.to_owned(), what }
    }
}

fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The byte that a part starts at.
fn starts_at(answer: &Response<ureq::Body>) -> Option<u64> {
    let range = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
