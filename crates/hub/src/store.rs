use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo};

use crate::name::is_path;
use crate::{Error, Name, Result};

/// A repository's folder in Python's cache: `blobs` has the files by their etag, `snapshots` links to them by commit and
/// name, and `refs` the commits of branches and tags.
pub(crate) struct Store {
    cache: PathBuf,
    folder: String,
    revision: String,
    repo: CacheRepo,
}

impl Store {
    pub fn new(cache: &Path, name: &Name) -> Self {
        let repo = name.repo();
        Self {
            cache: cache.to_path_buf(),
            folder: repo.folder_name(),
            revision: name.revision().to_owned(),
            repo: Cache::new(cache.to_path_buf()).repo(repo),
        }
    }

    /// The commit that the revision stood for when it was asked for last.
    pub fn commit(&self) -> Option<String> {
        if is_commit(&self.revision) {
            return Some(self.revision.clone());
        }
        let file = self.cache.join(&self.folder).join("refs").join(&self.revision);
        let commit = std::fs::read_to_string(file).ok()?.trim().to_owned();
        is_path(&commit).then_some(commit)
    }

    /// Notes the commit of the revision.
    pub fn set_commit(&self, commit: &str) -> Result<()> {
        if is_commit(&self.revision) || self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        self.repo.create_ref(commit).map_err(Error::file(&self.cache.join(&self.folder).join("refs")))
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo.pointer_path(commit)
    }

    /// The files of a commit that are here.
    pub fn files(&self, commit: &str) -> Vec<String> {
        let root = self.snapshot(commit);
        let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match path.is_dir() {
                    true => folders.push(path),
                    // A link whose file is gone is no file.
                    false if path.is_file() => {
                        let below = path.strip_prefix(&root).ok().and_then(Path::to_str);
                        files.extend(below.map(|below| below.replace('\\', "/")));
                    }
                    false => {}
                }
            }
        }
        files.sort();
        files
    }

    /// Where the file of an etag lies.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.repo.blob_path(etag)
    }

    /// Where a part of it lies.
    pub fn part(&self, etag: &str) -> PathBuf {
        self.repo.blob_path(&format!("{etag}.incomplete"))
    }

    /// Waits for the right to write the file of an etag, and says so: other programs, Python's too, take the same lock.
    pub fn lock(&self, etag: &str, waits: impl FnOnce()) -> Result<File> {
        let path = self.cache.join(".locks").join(&self.folder).join(format!("{etag}.lock"));
        make_parent(&path)?;
        let file = File::create(&path).map_err(Error::file(&path))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            waits();
            file.lock().map_err(Error::file(&path))?;
        }
        // Some file systems have no locks; then two programs may fetch the same.
        Ok(file)
    }

    /// Gives the file of an etag its name in a commit.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<()> {
        let link = self.snapshot(commit).join(file);
        if link.is_file() {
            return Ok(());
        }
        make_parent(&link)?;
        // One whose file is gone.
        let _ = std::fs::remove_file(&link);
        let up = "../".repeat(file.split('/').count() + 1);
        symlink(&format!("{up}blobs/{etag}"), &link)
            // Where there are no links, as Python does.
            .or_else(|_| std::fs::rename(self.blob(etag), &link))
            .map_err(Error::file(&link))
    }
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &str, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target.replace('/', "\\"), link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &str, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

pub(crate) fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(parent).map_err(Error::file(parent))
}

/// Whether a revision is a commit, which never becomes another.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}
