//! What is said when something is not to be had.

use tallow_hub::Wanted;

use crate::server::{BAD_TOKEN, GOOD_TOKEN};
use crate::{MODEL, Place};

#[test]
fn what_is_not_there_is_named() {
    let place = Place::new();
    for (name, wanted, error) in [
        (
            "hf://google/tinny",
            Wanted::Model,
            "hf://google/tinny: the Hub has no such repository at HUB/google/tinny, or it is private: check the name; for a \
             private one set HF_TOKEN to a token that may read it",
        ),
        (
            "hf://datasets/a/row/train.csv",
            Wanted::Files,
            "hf://datasets/a/row: the Hub has no such repository at HUB/datasets/a/row, or it is private: check the name; \
             for a private one set HF_TOKEN to a token that may read it",
        ),
        (
            "hf://google/tiny@v9",
            Wanted::Model,
            "hf://google/tiny@v9: the repository has no revision `v9`: see HUB/google/tiny/tree/main for its branches and \
             tags",
        ),
        (
            "hf://datasets/a/rows/test.csv",
            Wanted::Files,
            "hf://datasets/a/rows: the repository has no file `test.csv`: see HUB/datasets/a/rows/tree/main for what it has",
        ),
        (
            "hf://datasets/a/rows@v1.0/*.csv",
            Wanted::Files,
            "hf://datasets/a/rows@v1.0: the repository has no file `*.csv`: see HUB/datasets/a/rows/tree/v1.0 for what it \
             has",
        ),
        (
            "hf://google/tiny",
            Wanted::Adapter,
            "hf://google/tiny: is not an adapter: there is no adapter_config.json",
        ),
    ] {
        assert_eq!(place.path(name, wanted).unwrap_err(), error);
    }
    assert!(place.files().is_empty());
}

#[test]
fn a_gated_model_says_where_to_ask() {
    let gated = |place: Place| {
        place.server.state().gated.push(MODEL.to_owned());
        place.model()
    };
    assert_eq!(
        gated(Place::new()).unwrap_err(),
        "hf://google/tiny is gated: accept its conditions at HUB/google/tiny, then set HF_TOKEN to a token of that account"
    );
    assert_eq!(
        gated(Place::new().with_token("hf_other")).unwrap_err(),
        "hf://google/tiny is gated: accept its conditions at HUB/google/tiny, then set HF_TOKEN to a token of that account \
         (the one in HF_TOKEN may not read it)"
    );
    gated(Place::new().with_token(GOOD_TOKEN)).unwrap();
}

#[test]
fn a_refused_token_is_named_but_not_shown() {
    assert_eq!(
        Place::new().with_token(BAD_TOKEN).model().unwrap_err(),
        "hf://google/tiny: the Hub refuses the token in HF_TOKEN: make a new one at HUB/settings/tokens, or remove it to ask \
         without"
    );
}

#[test]
fn offline_the_missing_file_is_named() {
    let mut place = Place::new();
    place.settings.offline = Some("HF_HUB_OFFLINE");
    let lacks = |what: &str| {
        format!(
            "hf://google/tiny: {what} is not in the cache in CACHE, and HF_HUB_OFFLINE is set: unset it to fetch what is \
             missing"
        )
    };
    assert_eq!(place.model().unwrap_err(), lacks("this revision"));
    place.settings.offline = None;
    let folder = place.model().unwrap();
    place.server.requests();
    place.settings.offline = Some("HF_HUB_OFFLINE");
    assert_eq!(place.model().unwrap(), folder);
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    assert_eq!(place.model().unwrap_err(), lacks("model.safetensors"));
    assert_eq!(place.server.requests().len(), 0);
}

#[test]
fn no_network_is_said_with_the_reason() {
    let mut place = Place::new();
    // Nobody listens there.
    place.settings.endpoint = "http://127.0.0.1:9".into();
    let error = place.model().unwrap_err();
    assert!(error.starts_with("hf://google/tiny: cannot reach HUB ("), "{error}");
    assert!(
        error.ends_with("and the cache in CACHE lacks it: check the network, or give a local path"),
        "{error}"
    );
}

#[test]
fn what_is_not_the_hub_is_told() {
    let place = Place::new();
    place.server.change(MODEL, "config.json", |stored| stored.etag = "../up".into());
    let error = place.model().unwrap_err();
    assert!(error.contains("does not answer as the Hub does"), "{error}");
    place.server.state().busy = 100;
    assert_eq!(
        place.model().unwrap_err(),
        "hf://google/tiny: HUB/api/models/google/tiny/revision/main answers 503"
    );
}
