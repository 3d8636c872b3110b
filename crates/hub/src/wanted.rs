use crate::{Error, Name, Result};

/// What is wanted of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A model to compute with: config.json, weights, tokenizer.
    Model,
    /// A model's tokenizer and config.json.
    Tokenizer,
    /// An adapter.
    Adapter,
    /// An adapter if it is one, else a model.
    ModelOrAdapter,
    /// The files that the name has.
    Files,
}

/// What goes along with a model, where it is there.
const BESIDE_MODEL: [&str; 4] =
    ["generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/// Weights in one file, and the list of their shards; the first that is there is taken.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// A model's tokenizer; the first that is there is taken.
pub(crate) const TOKENIZERS: [&str; 2] = ["tokenizer.json", "spiece.model"];

pub(crate) const ADAPTER: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// The files among `files` that are wanted; of weights in shards the list of them.
pub(crate) fn select<'a>(name: &Name, wanted: Wanted, files: &'a [String]) -> Result<Vec<&'a str>> {
    let find = |file: &str| files.iter().find(|known| *known == file).map(String::as_str);
    match wanted {
        Wanted::Files => matching(name, files),
        Wanted::Tokenizer => Ok(config(name, find)?.into_iter().chain(tokenizer(find)).collect()),
        Wanted::Adapter => adapter(name, find),
        Wanted::ModelOrAdapter if find(ADAPTER[0]).is_some() => adapter(name, find),
        Wanted::Model | Wanted::ModelOrAdapter => model(name, find),
    }
}

fn config<'a>(name: &Name, find: impl Fn(&str) -> Option<&'a str>) -> Result<Option<&'a str>> {
    let lacks = |what: &str| lacking(name, "config.json", what);
    match (find("config.json"), find(ADAPTER[0])) {
        (None, Some(_)) => Err(lacks("is an adapter, not a model: give it by --adapter")),
        (None, None) => Err(lacks("is not a model: there is no config.json")),
        (config, _) => Ok(config),
    }
}

fn tokenizer<'a>(find: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    TOKENIZERS.into_iter().find_map(find)
}

fn model<'a>(name: &Name, find: impl Fn(&str) -> Option<&'a str>) -> Result<Vec<&'a str>> {
    let lacks = |file: &str, what: &str| lacking(name, file, what);
    let config = config(name, &find)?;
    let weights = WEIGHTS.into_iter().find_map(&find).ok_or_else(|| {
        lacks(
            WEIGHTS[0],
            "has neither model.safetensors nor pytorch_model.bin, whole or in shards: load it in Python and save it with \
             save_pretrained",
        )
    })?;
    let beside = BESIDE_MODEL.into_iter().filter_map(&find);
    Ok(config.into_iter().chain(tokenizer(&find)).chain(beside).chain([weights]).collect())
}

fn adapter<'a>(name: &Name, find: impl Fn(&str) -> Option<&'a str>) -> Result<Vec<&'a str>> {
    let lacks = |file: &str, what: &str| lacking(name, file, what);
    let [config, weights] = ADAPTER.map(&find);
    let config =
        config.ok_or_else(|| lacks(ADAPTER[0], "is not an adapter: there is no adapter_config.json"))?;
    let weights = weights.ok_or_else(|| match find("adapter_model.bin") {
        Some(_) => lacks(
            ADAPTER[1],
            "has its weights in adapter_model.bin, which is not read here: load the adapter in Python and save it with \
             save_pretrained, which writes adapter_model.safetensors",
        ),
        None => lacks(ADAPTER[1], "is not a whole adapter: there is no adapter_model.safetensors"),
    })?;
    Ok(vec![config, weights])
}

fn lacking(name: &Name, file: &str, what: &str) -> Error {
    Error::NotWhatIsWanted { name: name.to_string(), lacks: file.to_owned(), what: what.to_owned() }
}

/// The file that a name has, or those that fit its pattern.
fn matching<'a>(name: &Name, files: &'a [String]) -> Result<Vec<&'a str>> {
    let Some(wanted) = &name.file else {
        return Err(lacking(name, "the file", "is a whole repository: name a file in it"));
    };
    if files.contains(wanted) {
        return Ok(files.iter().filter(|file| *file == wanted).map(String::as_str).collect());
    }
    let pattern = glob::Pattern::new(wanted)
        .map_err(|error| Error::Name { name: name.to_string(), what: error.to_string() })?;
    // As in folders: a `*` stays within one.
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let found: Vec<&str> =
        files.iter().map(String::as_str).filter(|file| pattern.matches_with(file, options)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let (of, revision) = (name.repository().to_string(), name.revision().to_owned());
    Err(Error::NoFile { name: of, file: wanted.clone(), url: String::new(), revision })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, wanted: Wanted, files: &[&str]) -> Result<Vec<String>, String> {
        let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
        let name: Name = name.parse().unwrap();
        let found = select(&name, wanted, &files).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(str::to_owned).collect())
    }

    /// What the repository of a FLAN-T5 has.
    const FLAN: [&str; 12] = [
        ".gitattributes",
        "README.md",
        "config.json",
        "flax_model.msgpack",
        "generation_config.json",
        "model.safetensors",
        "pytorch_model.bin",
        "special_tokens_map.json",
        "spiece.model",
        "tf_model.h5",
        "tokenizer.json",
        "tokenizer_config.json",
    ];

    #[test]
    fn of_a_model_only_what_is_read_is_taken() {
        let model = |files: &[&str]| chosen("hf://a/b", Wanted::Model, files);
        assert_eq!(
            model(&FLAN).unwrap(),
            [
                "config.json",
                "tokenizer.json",
                "generation_config.json",
                "tokenizer_config.json",
                "special_tokens_map.json",
                "model.safetensors"
            ]
        );
        assert_eq!(
            model(&["config.json", "pytorch_model.bin", "spiece.model"]).unwrap(),
            ["config.json", "spiece.model", "pytorch_model.bin"]
        );
        let index = "model.safetensors.index.json";
        assert_eq!(model(&["config.json", "pytorch_model.bin", index]).unwrap(), ["config.json", index]);
        assert_eq!(chosen("hf://a/b", Wanted::Tokenizer, &FLAN).unwrap(), ["config.json", "tokenizer.json"]);
        assert!(model(&["README.md"]).unwrap_err().contains("there is no config.json"));
        assert!(model(&["adapter_config.json"]).unwrap_err().contains("give it by --adapter"));
        assert!(model(&["config.json", "tf_model.h5"]).unwrap_err().contains("neither model.safetensors"));
    }

    #[test]
    fn an_adapter_is_its_two_files() {
        let adapter = |files: &[&str]| chosen("hf://a/b", Wanted::ModelOrAdapter, files);
        assert_eq!(adapter(&["README.md", ADAPTER[0], ADAPTER[1], "config.json"]).unwrap(), ADAPTER);
        assert!(adapter(&[ADAPTER[0], "adapter_model.bin"]).unwrap_err().contains("save_pretrained"));
        assert!(adapter(&[ADAPTER[0]]).unwrap_err().contains("no adapter_model.safetensors"));
        assert!(chosen("hf://a/b", Wanted::Adapter, &FLAN).unwrap_err().contains("is not an adapter"));
    }

    #[test]
    fn a_pattern_stays_within_its_folder() {
        let files =
            ["data/train-0.parquet", "data/train-1.parquet", "data/old/train-2.parquet", "train-3.parquet"];
        let found = |pattern: &str| chosen(&format!("hf://datasets/a/b/{pattern}"), Wanted::Files, &files);
        assert_eq!(found("data/train-*.parquet").unwrap(), files[..2]);
        assert_eq!(found("train-3.parquet").unwrap(), files[3..]);
        assert!(found("test.parquet").unwrap_err().contains("test.parquet"));
    }
}
