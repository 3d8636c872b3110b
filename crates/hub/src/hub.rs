use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use serde::Deserialize;

use crate::download::Download;
use crate::name::is_path;
use crate::remote::{Listing, Remote, page};
use crate::store::{Store, is_commit, make_parent};
use crate::wanted::{ADAPTER, TOKENIZERS, select};
use crate::{Error, Name, Result, Settings, Wanted};

/// Is told how many bytes of a file are there; its end is that of the download.
pub type Position = Box<dyn FnMut(u64)>;

/// Who is told what happens.
pub trait Watcher {
    /// A word to the user.
    fn say(&self, text: &str);
    /// A file of a repository is fetched, of so many bytes.
    fn begin(&self, repository: &str, file: &str, bytes: u64) -> Position;
}

/// The Hub and the cache of its files.
pub struct Hub {
    settings: Settings,
    remote: Remote,
    watcher: Box<dyn Watcher>,
    /// A revision stands for one commit as long as the program runs.
    listings: RefCell<HashMap<Name, Rc<Listing>>>,
}

impl Hub {
    /// The Hub as the settings have it; nothing is asked yet.
    pub fn new(settings: Settings, watcher: Box<dyn Watcher>) -> Self {
        Self { remote: Remote::new(&settings), settings, watcher, listings: RefCell::default() }
    }

    /// The local path of what is wanted of a name, fetched if the cache lacks it: the folder of a model or an adapter, a
    /// file, or a pattern that fits the files of the name's pattern.
    ///
    /// # Errors
    /// If it is not there, may not be read, or cannot be fetched.
    pub fn path(&self, name: &Name, wanted: Wanted) -> Result<PathBuf> {
        if wanted != Wanted::Files && name.file.is_some() {
            let what =
                "a model or an adapter is a whole repository: leave out what follows its name".to_owned();
            return Err(Error::Name { name: name.to_string(), what });
        }
        let store = Store::new(&self.settings.cache, name);
        if let Some(variable) = self.settings.offline {
            self.warn_of_pattern(name, wanted, &store);
            return self.cached(name, wanted, &store).map_err(|lacks| {
                let cache = self.settings.cache.clone();
                Error::Offline { name: name.to_string(), lacks, variable, cache }
            });
        }
        if is_commit(name.revision())
            && self.is_sure(name, wanted, &store)
            && let Ok(path) = self.cached(name, wanted, &store)
        {
            return Ok(path);
        }
        let listing = match self.listing(name) {
            Err(error) if error.is_of_the_server() => {
                let Ok(path) = self.cached(name, wanted, &store) else { return Err(error) };
                self.warn_of_pattern(name, wanted, &store);
                let endpoint = &self.settings.endpoint;
                self.watcher.say(&format!("cannot reach {endpoint}: using {name} as the cache has it"));
                return Ok(path);
            }
            listing => listing?,
        };
        let commit = &listing.commit;
        let files = select(name, wanted, &listing.files).map_err(|error| self.at_its_page(error, name))?;
        for file in &files {
            self.fetch(name, &store, commit, file)?;
        }
        for shard in self.shards(&store, commit, &files)? {
            self.fetch(name, &store, commit, &shard)?;
        }
        store.set_commit(commit)?;
        Ok(place(name, wanted, &store, commit))
    }

    /// What a name stands for in the cache; or what it lacks.
    fn cached(&self, name: &Name, wanted: Wanted, store: &Store) -> Result<PathBuf, String> {
        let commit = store.commit().ok_or_else(|| "this revision".to_owned())?;
        let here = store.files(&commit);
        let files = select(name, wanted, &here).map_err(|error| match error {
            Error::NotWhatIsWanted { lacks, .. } => lacks,
            Error::NoFile { file, .. } => file,
            other => other.to_string(),
        })?;
        let shards = self.shards(store, &commit, &files).map_err(|error| error.to_string())?;
        match shards.into_iter().find(|shard| !here.contains(shard)) {
            Some(shard) => Err(shard),
            None => Ok(place(name, wanted, store, &commit)),
        }
    }

    /// Whether a commit's files in the cache say that no more are wanted of it: an earlier run may have fetched some of a
    /// pattern's files, or the config alone.
    fn is_sure(&self, name: &Name, wanted: Wanted, store: &Store) -> bool {
        let here = store.commit().map(|commit| store.files(&commit)).unwrap_or_default();
        let has = |files: &[&str]| here.iter().any(|file| files.contains(&file.as_str()));
        match wanted {
            Wanted::Files => name.file.as_ref().is_some_and(|file| here.contains(file)),
            Wanted::Model | Wanted::Tokenizer => has(&TOKENIZERS),
            Wanted::ModelOrAdapter => has(&[ADAPTER[0]]) || has(&TOKENIZERS),
            Wanted::Adapter => true,
        }
    }

    /// Says that the cache may lack some of a pattern's files.
    fn warn_of_pattern(&self, name: &Name, wanted: Wanted, store: &Store) {
        if wanted == Wanted::Files && !self.is_sure(name, wanted, store) {
            self.watcher.say(&format!("{name}: taking the files that the cache has; the Hub may have more"));
        }
    }

    fn listing(&self, name: &Name) -> Result<Rc<Listing>> {
        let repository = name.repository();
        if let Some(known) = self.listings.borrow().get(&repository) {
            return Ok(known.clone());
        }
        let listing = Rc::new(self.remote.listing(&repository)?);
        self.listings.borrow_mut().insert(repository, listing.clone());
        Ok(listing)
    }

    /// The shards that the lists among `files` name.
    fn shards(&self, store: &Store, commit: &str, files: &[&str]) -> Result<BTreeSet<String>> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: HashMap<String, String>,
        }
        let mut shards = BTreeSet::new();
        for list in files.iter().filter(|file| file.ends_with(".index.json")) {
            let path = store.snapshot(commit).join(list);
            let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
            let bad = |what: String| Error::Name { name: path.display().to_string(), what };
            let index: Index = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
            if let Some(strange) = index.weight_map.values().find(|shard| !is_path(shard)) {
                return Err(bad(format!("`{strange}` is no file of the repository")));
            }
            shards.extend(index.weight_map.into_values());
        }
        Ok(shards)
    }

    /// Makes a file of a commit be there.
    fn fetch(&self, name: &Name, store: &Store, commit: &str, file: &str) -> Result<()> {
        if store.snapshot(commit).join(file).is_file() {
            return Ok(());
        }
        let url = self.remote.url(name, commit, file);
        let metadata = self.remote.metadata(name, file, &url)?;
        let waits =
            || self.watcher.say(&format!("another program is fetching {file} of {}: waiting", name.id));
        let _lock = store.lock(&metadata.etag, waits)?;
        let blob = store.blob(&metadata.etag);
        if !blob.is_file() {
            make_parent(&blob)?;
            let part = store.part(&metadata.etag);
            let mut position = self.watcher.begin(&name.id, file, metadata.size);
            Download { remote: &self.remote, name, file, url: &url, metadata: &metadata }
                .run(&part, &mut position)?;
            std::fs::rename(&part, &blob).map_err(Error::file(&blob))?;
        }
        store.link(commit, file, &metadata.etag)
    }

    /// A missing file's error, with the page to look at.
    fn at_its_page(&self, error: Error, name: &Name) -> Error {
        match error {
            Error::NoFile { name: of, file, revision, .. } => {
                Error::NoFile { name: of, file, revision, url: page(&self.settings.endpoint, name) }
            }
            other => other,
        }
    }
}

/// The local path of what is there now.
fn place(name: &Name, wanted: Wanted, store: &Store, commit: &str) -> PathBuf {
    let folder = store.snapshot(commit);
    match &name.file {
        Some(file) if wanted == Wanted::Files => {
            let path = folder.join(file);
            // The folder is no part of the pattern.
            let escaped = || PathBuf::from(glob::Pattern::escape(&folder.to_string_lossy())).join(file);
            if path.is_file() { path } else { escaped() }
        }
        _ => folder,
    }
}
