//! Paths that a config or the command line gives, as paths on this machine: `hf://` names are fetched.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tallow_data::Source;
use tallow_hub::{Hub, Name, Position, Settings, Wanted, Watcher, is_name};
use tallow_peft::{Adapted, AdapterFile, BaseName};

use crate::config::{ModelOptions, model_problem};
use crate::given::Misuse;
use crate::progress::{self, say};

thread_local! {
    /// One for the program: each repository is asked for its revision once.
    static HUB: Option<Hub> = Settings::from_env().map(|settings| Hub::new(settings, Box::new(Terminal)));
}

/// Says what is fetched.
struct Terminal;

impl Watcher for Terminal {
    fn say(&self, text: &str) {
        say(text);
    }

    fn begin(&self, repository: &str, file: &str, bytes: u64) -> Position {
        say(&format!("fetching {file} of {repository}, {}", progress::size(bytes)));
        progress::bytes(bytes)
    }
}

/// The local path that is meant: a path as it stands, or what is wanted of a name on the Hub. A path that is not there is
/// no request.
pub fn local(path: &Path, wanted: Wanted) -> Result<Cow<'_, Path>> {
    if !is_name(path) {
        return Ok(Cow::Borrowed(path));
    }
    let name: Name = path.to_string_lossy().parse()?;
    Ok(Cow::Owned(fetch(&name, wanted)?))
}

fn fetch(name: &Name, wanted: Wanted) -> Result<PathBuf> {
    HUB.with(|hub| Ok(hub.as_ref().ok_or(tallow_hub::Error::NoCache)?.path(name, wanted)?))
}

/// The rows of a file or a pattern, here or on the Hub.
pub fn source(name: &Path, columns: &BTreeMap<String, String>) -> Result<Source> {
    Ok(Source::new(&local(name, Wanted::Files)?, columns)?)
}

/// What to say of a path that is not there.
pub fn meant(path: &Path) -> String {
    Name::meant(path).map_or(String::new(), |name| format!("; did you mean {name}?"))
}

/// Writes what a run has trained to `folder`.
pub fn save(adapted: &Adapted, folder: &Path, base: &ModelOptions) -> Result<()> {
    let path = local(&base.path, Wanted::Model)?;
    let tokenizer = if adapted.method.has_adapter() { None } else { tokenizer_beside(base)? };
    Ok(adapted.save_as_of(folder, &path, &base_name(&base.path), tokenizer.as_deref())?)
}

/// A model's tokenizer.json where its folder lacks it, if it can be had.
pub fn tokenizer_beside(model: &ModelOptions) -> Result<Option<PathBuf>> {
    if let Some(file) = &model.tokenizer {
        return Ok(Some(local(file, Wanted::Files)?.into_owned()));
    }
    let folder = local(&model.path, Wanted::Tokenizer)?;
    Ok(if folder.join("tokenizer.json").is_file() { None } else { tokenizer_file(model).ok() })
}

/// What an adapter's config calls its base: a model of the Hub by its name there, a folder as the run's config has it.
fn base_name(path: &Path) -> BaseName {
    match path.to_string_lossy().parse::<Name>() {
        Ok(Name { id, revision, .. }) if is_name(path) => BaseName { name: id, revision },
        _ => BaseName { name: path.to_string_lossy().into_owned(), revision: None },
    }
}

/// The base that an adapter's config names, if it names one that can be found: a folder that is here, or else a model of
/// the Hub.
pub fn base_of(adapter: &AdapterFile) -> Option<PathBuf> {
    let BaseName { name, revision } = adapter.base.clone()?;
    let path = PathBuf::from(&name);
    if path.join("config.json").is_file() || is_name(&path) {
        return Some(path);
    }
    let name = Name { revision, ..Name::model(&name).filter(|_| !path.exists())? };
    Some(name.to_string().into())
}

/// The model that the adapter in a folder names as its base.
pub fn base_by_adapter(folder: &Path) -> Result<ModelOptions> {
    let found = local(folder, Wanted::Adapter)?;
    if !found.is_dir() {
        bail!("{}: no such folder{}", folder.display(), meant(folder));
    }
    let file = AdapterFile::open(&found)?;
    let path = base_of(&file).with_context(|| {
        let named = file
            .base
            .map_or("no base".to_owned(), |base| format!("the base {}, which is not here", base.name));
        format!("{}: its config names {named}: give it by --model DIR", folder.display())
    })?;
    Ok(ModelOptions { path, tokenizer: None })
}

/// The SHA-256 of the vocabulary that T5 and FLAN-T5 share.
const T5_VOCABULARY: &str = "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86";

/// A tokenizer.json of that vocabulary.
const T5_TOKENIZER: &str = "hf://google-t5/t5-small/tokenizer.json";

/// The local path of a model's tokenizer.json.
pub fn tokenizer_file(options: &ModelOptions) -> Result<PathBuf> {
    if let Some(file) = &options.tokenizer {
        return there(local(file, Wanted::Files)?.into_owned());
    }
    let folder = model_folder(&options.path, Wanted::Tokenizer)?;
    let (file, vocabulary) = (folder.join("tokenizer.json"), folder.join("spiece.model"));
    if file.is_file() || !vocabulary.is_file() {
        return there(file);
    }
    let bytes =
        std::fs::read(&vocabulary).with_context(|| format!("{}: cannot read", vocabulary.display()))?;
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let (folder, model) = (folder.display(), options.path.display());
    let save = format!(
        "write one in Python, AutoTokenizer.from_pretrained(\"{folder}\").save_pretrained(\"FOLDER\"), and name it by \
         model.tokenizer in a config, or by --tokenizer to generate"
    );
    if digest != T5_VOCABULARY {
        bail!("{folder}: there is a spiece.model, which is not T5's, and no tokenizer.json: {save}");
    }
    let name: Name = T5_TOKENIZER.parse().expect("the name is one");
    let file = fetch(&name, Wanted::Files)
        .with_context(|| format!("{folder}: there is no tokenizer.json, and T5's cannot be had: {save}"))?;
    say(&format!("{model} has T5's spiece.model and no tokenizer.json: taking {T5_TOKENIZER}"));
    Ok(file)
}

/// A model's folder.
pub fn model_folder(path: &Path, wanted: Wanted) -> Result<Cow<'_, Path>> {
    let folder = local(path, wanted)?;
    match model_problem(path) {
        Some(problem) => bail!(Misuse(problem)),
        None => Ok(folder),
    }
}

fn there(file: PathBuf) -> Result<PathBuf> {
    if !file.is_file() {
        let file = file.display();
        bail!(
            "{file}: no such file; name another by model.tokenizer in a config, or by --tokenizer to generate"
        );
    }
    Ok(file)
}
