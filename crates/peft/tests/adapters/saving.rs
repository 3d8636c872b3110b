use tallow_peft::{Adapted, AdapterFile};

use crate::support::{base, full, listing, logits, lora, message, model, moved, options, values};

const FILES: [&str; 3] = ["README.md", "adapter_config.json", "adapter_model.safetensors"];

#[test]
fn a_folder_that_is_there_is_replaced_whole() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("adapter");
    lora(&options(), 1).save(&folder, &base(), None).unwrap();
    std::fs::write(folder.join("stale.bin"), "stale").unwrap();
    let second = moved(lora(&options(), 2));
    second.save(&folder, &base(), None).unwrap();
    assert_eq!(listing(&folder), FILES);
    assert_eq!(listing(parent.path()), ["adapter"]);
    let loaded = Adapted::load(model(), &folder).unwrap();
    assert_eq!(values(&loaded), values(&second));
}

#[test]
fn folders_on_the_way_are_made() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("runs/first/adapter");
    lora(&options(), 1).save(&folder, &base(), None).unwrap();
    assert_eq!(listing(&folder), FILES);
}

#[test]
fn a_failure_leaves_the_old_adapter() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("adapter");
    let first = moved(lora(&options(), 1));
    first.save(&folder, &base(), None).unwrap();
    // Where the new folder would be filled lies a file.
    let beside = parent.path().join(".adapter.tallow-new");
    std::fs::write(&beside, "not a folder").unwrap();
    let found = message(lora(&options(), 2).save(&folder, &base(), None));
    assert!(found.starts_with(&beside.display().to_string()), "{found}");
    assert_eq!(listing(&folder), FILES);
    let loaded = Adapted::load(model(), &folder).unwrap();
    assert_eq!(values(&loaded), values(&first));
}

#[test]
fn a_file_is_no_folder() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("adapter");
    std::fs::write(&file, "a file").unwrap();
    let found = message(lora(&options(), 1).save(&file, &base(), None));
    assert_eq!(found, format!("{}: not a directory", file.display()));
    let inside = file.join("adapter");
    assert!(
        message(lora(&options(), 1).save(&inside, &base(), None))
            .contains("adapter.tallow-new: Not a directory")
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a file");
    assert_eq!(listing(parent.path()), ["adapter"]);
}

#[test]
fn the_config_names_the_base() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("adapter");
    lora(&options(), 1).save(&folder, "models/flan-t5-small".as_ref(), None).unwrap();
    let text = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["base_model_name_or_path"], "models/flan-t5-small");
    assert_eq!(config["inference_mode"], true);
    assert!(AdapterFile::open(&folder).is_ok());
    let card = std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(
        card.contains("base_model: models/flan-t5-small") && card.contains("LoRA of rank 4 on q, v: 3072")
    );
}

#[test]
fn full_fine_tuning_is_saved_as_a_model() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("model");
    let adapted = moved(full());
    adapted.save(&folder, &base(), None).unwrap();
    let loaded = tallow_t5::T5::load(&folder, &candle_core::Device::Cpu, candle_core::DType::F32).unwrap();
    assert_eq!(logits(&loaded), logits(&adapted.model));
}
