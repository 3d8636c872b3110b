//! The cache's layout, and what is taken from it.

use tallow_hub::Wanted;

use crate::server::COMMIT;
use crate::{MODEL, Place, weights};

#[test]
fn a_model_lies_as_python_has_it() {
    let place = Place::new();
    let folder = place.model().unwrap();
    let snapshot = format!("models--google--tiny/snapshots/{COMMIT}");
    assert_eq!(place.below(&folder), snapshot);
    let etag = |file: &str| place.server.state().repositories[MODEL][file].etag.clone();
    let mut expected: Vec<String> = ["config.json", "tokenizer.json", "model.safetensors"]
        .into_iter()
        .flat_map(|file| [format!("{snapshot}/{file}"), format!("models--google--tiny/blobs/{}", etag(file))])
        .chain(["models--google--tiny/refs/main".to_owned()])
        .collect();
    expected.sort();
    assert_eq!(place.files(), expected);
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), weights());
    let refs = place.settings.cache.join("models--google--tiny/refs/main");
    assert_eq!(std::fs::read_to_string(refs).unwrap(), COMMIT);
    #[cfg(unix)]
    {
        let link = std::fs::read_link(folder.join("config.json")).unwrap();
        assert_eq!(link.to_str().unwrap(), format!("../../blobs/{}", etag("config.json")));
    }
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let place = Place::new();
    let first = place.model().unwrap();
    place.server.requests();
    assert_eq!(place.model().unwrap(), first);
    let paths: Vec<String> = place.server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/api/models/google/tiny/revision/main"]);
    // A commit never changes: nothing is asked.
    let by_commit = format!("hf://google/tiny@{COMMIT}");
    assert_eq!(place.path(&by_commit, Wanted::Model).unwrap(), first);
    assert_eq!(place.server.requests().len(), 0);
}

#[test]
fn one_hub_asks_for_a_listing_once() {
    let place = Place::new();
    let (hub, name) = (place.hub(), "hf://google/tiny/tokenizer.json".parse().unwrap());
    hub.path(&name, Wanted::Files).unwrap();
    hub.path(&name.repository(), Wanted::Model).unwrap();
    let listings =
        place.server.requests().into_iter().filter(|request| request.path.starts_with("/api/")).count();
    assert_eq!(listings, 1);
}

#[test]
fn revisions_are_kept_apart_and_found_offline() {
    let mut place = Place::new();
    place.path("hf://google/tiny@v1.0/config.json", Wanted::Files).unwrap();
    place.path("hf://google/tiny@refs%2Fconvert%2Fparquet/config.json", Wanted::Files).unwrap();
    let refs: Vec<String> = place.files().into_iter().filter(|file| file.contains("/refs/")).collect();
    let folder = "models--google--tiny/refs";
    assert_eq!(refs, [format!("{folder}/refs/convert/parquet"), format!("{folder}/v1.0")]);
    place.settings.offline = Some("HF_HUB_OFFLINE");
    place.path("hf://google/tiny@v1.0/config.json", Wanted::Files).unwrap();
    assert!(place.path("hf://google/tiny/config.json", Wanted::Files).unwrap_err().contains("this revision"));
}

#[test]
fn a_pattern_of_a_data_set_is_one_of_its_files() {
    let place = Place::new();
    let path = place.path("hf://datasets/a/rows/data/train-[01].jsonl", Wanted::Files).unwrap();
    let found: Vec<_> =
        glob::glob(path.to_str().unwrap()).unwrap().map(|path| place.below(&path.unwrap())).collect();
    let snapshot = format!("datasets--a--rows/snapshots/{COMMIT}/data");
    assert_eq!(found, [format!("{snapshot}/train-0.jsonl"), format!("{snapshot}/train-1.jsonl")]);
    let one = place.path("hf://datasets/a/rows/data/train-2.jsonl", Wanted::Files).unwrap();
    assert_eq!(std::fs::read_to_string(one).unwrap(), "{\"x\": 2}\n");
}

#[test]
fn the_shards_that_the_index_names_are_fetched() {
    let place = Place::new();
    let repository = "models/google/sharded";
    place.server.add(repository, "config.json", "{}");
    place.server.add(
        repository,
        "model.safetensors.index.json",
        r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#,
    );
    for shard in ["model-1.safetensors", "model-2.safetensors", "model-3.safetensors"] {
        place.server.add(repository, shard, shard);
    }
    let folder = place.path("hf://google/sharded", Wanted::Model).unwrap();
    assert!(folder.join("model-1.safetensors").is_file() && folder.join("model-2.safetensors").is_file());
    assert!(!folder.join("model-3.safetensors").exists());

    // Offline, a shard that is gone is missed.
    let mut place = place;
    place.settings.offline = Some("HF_HUB_OFFLINE");
    assert_eq!(place.path("hf://google/sharded", Wanted::Model).unwrap(), folder);
    std::fs::remove_file(folder.join("model-2.safetensors")).unwrap();
    let error = place.path("hf://google/sharded", Wanted::Model).unwrap_err();
    assert!(error.contains("model-2.safetensors is not in the cache"), "{error}");
}

#[test]
fn an_index_cannot_name_a_file_elsewhere() {
    let place = Place::new();
    let repository = "models/google/sharded";
    place.server.add(repository, "config.json", "{}");
    let index = r#"{"weight_map": {"a": "../../../../outside"}}"#;
    place.server.add(repository, "model.safetensors.index.json", index);
    let error = place.path("hf://google/sharded", Wanted::Model).unwrap_err();
    assert!(error.contains("`../../../../outside` is no file of the repository"), "{error}");
}

#[test]
fn a_repository_of_a_new_name_is_found_under_its_old_one() {
    let place = Place::new();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        place.server.add("models/google-t5/t5-small", file, file);
    }
    for start in ["/", "/api/models/"] {
        let renamed = (format!("{start}t5-small/"), format!("{start}google-t5/t5-small/"));
        place.server.state().renamed.push(renamed);
    }
    let folder = place.path("hf://t5-small", Wanted::Model).unwrap();
    assert_eq!(place.below(&folder), format!("models--t5-small/snapshots/{COMMIT}"));
    assert_eq!(std::fs::read_to_string(folder.join("tokenizer.json")).unwrap(), "tokenizer.json");
}

#[test]
fn without_a_network_the_cache_is_used_and_that_is_said() {
    let mut place = Place::new();
    let first = place.model().unwrap();
    // Nobody listens there.
    place.settings.endpoint = "http://127.0.0.1:9".into();
    assert_eq!(place.model().unwrap(), first);
    let said = place.said.borrow().last().cloned().unwrap();
    assert_eq!(said, "cannot reach http://127.0.0.1:9: using hf://google/tiny as the cache has it");
}
