//! Named adapters on one base.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tallow_t5::T5;

use crate::attach::attached;
use crate::{AdapterFile, Error, Result};

/// Named adapters on one base, for any number of threads that generate, load and unload meanwhile.
///
/// Each adapter in memory is a model of its own that shares the base's weights, so that to activate one is to take a
/// pointer. Whoever generates keeps the model that they took, though its name be unloaded or loaded anew.
///
/// Where adapters take more than there is room for, those that were activated longest ago are dropped from memory; they
/// keep their names, and are read from their folders again when they are activated.
pub struct Registry {
    base: T5,
    /// Bytes of adapters in memory, at most.
    room: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    adapters: BTreeMap<String, Named>,
    /// Counts loads and activations.
    clock: u64,
}

/// What a name stands for.
struct Named {
    folder: PathBuf,
    /// When the name was given: a name that is given again stands for something else.
    since: u64,
    loaded: Option<Loaded>,
}

struct Loaded {
    model: Arc<T5>,
    bytes: usize,
    /// When it was last activated.
    used: u64,
}

impl Registry {
    /// No adapters, and room for so many bytes of them; what a model takes beside its adapter's values, some 100 kB of
    /// names, is not counted.
    pub fn new(base: T5, room: usize) -> Self {
        Self { base, room, state: Mutex::default() }
    }

    /// Loads the adapter in `folder` under a name; one that has the name already is replaced once this one is read.
    ///
    /// # Errors
    /// If it cannot be read, is of another model, or takes more bytes than there is room for: nothing changes then.
    pub fn load(&self, name: &str, folder: &Path) -> Result<()> {
        let (model, bytes) = self.read(name, folder)?;
        let mut state = self.state();
        let since = state.tick();
        let loaded = Some(Loaded { model, bytes, used: since });
        state.adapters.insert(name.to_owned(), Named { folder: folder.to_path_buf(), since, loaded });
        state.evict(self.room);
        Ok(())
    }

    /// Forgets a name.
    ///
    /// # Errors
    /// If there is no such name.
    pub fn unload(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        state.adapters.remove(name).map(drop).ok_or_else(|| state.unknown(name))
    }

    /// The model with the adapter of this name. Others wait for no file while it is read again.
    ///
    /// # Errors
    /// If there is no such name, or it is not in memory and cannot be read again.
    pub fn activate(&self, name: &str) -> Result<Arc<T5>> {
        let (folder, since) = {
            let mut state = self.state();
            let now = state.tick();
            match state.adapters.get_mut(name) {
                None => return Err(state.unknown(name)),
                Some(Named { loaded: Some(loaded), .. }) => {
                    loaded.used = now;
                    return Ok(loaded.model.clone());
                }
                Some(named) => (named.folder.clone(), named.since),
            }
        };
        let (model, bytes) = self.read(name, &folder)?;
        let mut state = self.state();
        let used = state.tick();
        // Unless it has been unloaded, or loaded from elsewhere, meanwhile.
        if let Some(named) = state.adapters.get_mut(name).filter(|named| named.since == since) {
            named.loaded = Some(Loaded { model: model.clone(), bytes, used });
            state.evict(self.room);
        }
        Ok(model)
    }

    /// The base without an adapter.
    pub fn base(&self) -> &T5 {
        &self.base
    }

    /// The names, in order, and whether each is in memory.
    pub fn names(&self) -> Vec<(String, bool)> {
        let state = self.state();
        state.adapters.iter().map(|(name, named)| (name.clone(), named.loaded.is_some())).collect()
    }

    /// The bytes that adapters take.
    pub fn bytes(&self) -> usize {
        self.state().bytes()
    }

    fn read(&self, name: &str, folder: &Path) -> Result<(Arc<T5>, usize)> {
        let mut model = self.base.clone();
        let bytes = attached(&mut model, &AdapterFile::open(folder)?)?;
        match bytes > self.room {
            true => Err(Error::NoRoom { name: name.to_owned(), bytes, room: self.room }),
            false => Ok((Arc::new(model), bytes)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the names")
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn bytes(&self) -> usize {
        self.adapters.values().filter_map(|named| named.loaded.as_ref()).map(|loaded| loaded.bytes).sum()
    }

    /// Drops from memory what was used longest ago, until the others have room; never the last that was used.
    fn evict(&mut self, room: usize) {
        while self.bytes() > room {
            let loaded = self.adapters.values_mut().filter(|named| named.loaded.is_some());
            let oldest = loaded.min_by_key(|named| named.loaded.as_ref().map(|loaded| loaded.used));
            oldest.expect("what takes bytes is there").loaded = None;
        }
    }

    fn unknown(&self, name: &str) -> Error {
        Error::UnknownAdapter { name: name.to_owned(), known: self.adapters.keys().cloned().collect() }
    }
}
