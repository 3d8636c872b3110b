//! The Hub's names to local paths, against a server on this machine.

mod cache;
mod download;
mod errors;
mod server;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use server::{GOOD_TOKEN, Server};
use tallow_hub::{Hub, Position, Settings, Token, Wanted, Watcher};
use tempfile::TempDir;

const MODEL: &str = "models/google/tiny";

/// A cache of its own, and a server with a model and a data set.
struct Place {
    server: Server,
    settings: Settings,
    said: Rc<RefCell<Vec<String>>>,
    _folder: TempDir,
}

/// Notes what it is told.
struct Notes(Rc<RefCell<Vec<String>>>);

impl Watcher for Notes {
    fn say(&self, text: &str) {
        self.0.borrow_mut().push(text.to_owned());
    }

    fn begin(&self, repository: &str, file: &str, bytes: u64) -> Position {
        self.say(&format!("{repository}: {file}, {bytes} bytes"));
        Box::new(|_| ())
    }
}

/// 5000 bytes, no two parts alike.
fn weights() -> Vec<u8> {
    (0..2500u16).flat_map(u16::to_le_bytes).collect()
}

impl Place {
    fn new() -> Self {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        server.add(MODEL, "config.json", "{}");
        server.add(MODEL, "tokenizer.json", "{\"a\": 1}");
        server.add(MODEL, "model.safetensors", weights());
        server.add(MODEL, "tf_model.h5", "never asked for");
        for part in 0..3 {
            server.add(
                "datasets/a/rows",
                &format!("data/train-{part}.jsonl"),
                format!("{{\"x\": {part}}}\n"),
            );
        }
        let settings = Settings {
            endpoint: server.endpoint(),
            cache: folder.path().join("hub"),
            token: None,
            offline: None,
            pause: Duration::from_millis(1),
        };
        Self { server, settings, said: Rc::default(), _folder: folder }
    }

    fn hub(&self) -> Hub {
        Hub::new(self.settings.clone(), Box::new(Notes(self.said.clone())))
    }

    fn with_token(mut self, value: &str) -> Self {
        self.settings.token = Some(Token { value: value.to_owned(), origin: "HF_TOKEN".to_owned() });
        self
    }

    fn path(&self, name: &str, wanted: Wanted) -> Result<PathBuf, String> {
        let said =
            |text: String| text.replace(&self.settings.endpoint, "HUB").replace(&self.cache_name(), "CACHE");
        self.hub().path(&name.parse().unwrap(), wanted).map_err(|error| said(error.to_string()))
    }

    fn model(&self) -> Result<PathBuf, String> {
        self.path("hf://google/tiny", Wanted::Model)
    }

    /// Every file of the cache, links by what they lead to, locks left out.
    fn files(&self) -> Vec<String> {
        let (mut found, mut folders) = (Vec::new(), vec![self.settings.cache.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() && !path.ends_with(".locks") {
                    true => folders.push(path),
                    false if path.is_file() => found.push(self.below(&path)),
                    false => {}
                }
            }
        }
        found.sort();
        found
    }

    fn below(&self, path: &Path) -> String {
        path.strip_prefix(&self.settings.cache).unwrap().display().to_string()
    }

    fn cache_name(&self) -> String {
        self.settings.cache.display().to_string()
    }
}

fn is_good(token: &Option<String>) -> bool {
    token.as_deref() == Some(GOOD_TOKEN)
}
