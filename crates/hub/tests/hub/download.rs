//! Files on their way: cut, busy, wrong.

use crate::server::GOOD_TOKEN;
use crate::{MODEL, Place, is_good, weights};

/// Ranges that were asked for of large files.
fn ranges(place: &Place) -> Vec<Option<String>> {
    let requests = place.server.requests().into_iter();
    requests.filter(|request| request.path.starts_with("/cdn/")).map(|request| request.range).collect()
}

fn part(place: &Place) -> std::path::PathBuf {
    let etag = place.server.state().repositories[MODEL]["model.safetensors"].etag.clone();
    place.settings.cache.join(format!("models--google--tiny/blobs/{etag}.incomplete"))
}

#[test]
fn a_cut_download_goes_on_where_it_was() {
    let place = Place::new();
    // The two small files come whole.
    place.server.state().cuts = vec![5000, 5000, 1000, 2500];
    let folder = place.model().unwrap();
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(ranges(&place), [None, Some("bytes=1000-".into()), Some("bytes=3500-".into())]);
    assert!(!part(&place).exists());
}

#[test]
fn a_download_that_does_not_get_on_is_given_up_and_gone_on_with_later() {
    let place = Place::new();
    place.server.state().cuts = [vec![5000, 5000, 1234], vec![0; 20]].concat();
    assert_eq!(
        place.model().unwrap_err().split(" (").next().unwrap(),
        "hf://google/tiny: the connection was cut 6 times, last at 1234 of 5000 bytes of model.safetensors"
    );
    assert_eq!(std::fs::metadata(part(&place)).unwrap().len(), 1234);
    assert!(place.files().iter().all(|file| !file.ends_with("model.safetensors")), "no name for half a file");
    place.server.state().cuts.clear();
    place.server.requests();
    let folder = place.model().unwrap();
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(ranges(&place), [Some("bytes=1234-".into())]);
}

#[test]
fn a_server_without_ranges_is_asked_for_the_whole() {
    let place = Place::new();
    place.server.state().whole_only = true;
    place.server.state().cuts = vec![5000, 5000, 1000];
    let folder = place.model().unwrap();
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_part_of_something_else_is_not_kept() {
    let place = Place::new();
    std::fs::create_dir_all(part(&place).parent().unwrap()).unwrap();
    std::fs::write(part(&place), vec![7; 1000]).unwrap();
    let error = place.model().unwrap_err();
    assert!(
        error.contains("model.safetensors has the SHA-256 ") && error.contains("it was not kept"),
        "{error}"
    );
    assert!(!part(&place).exists());
    place.model().unwrap();
    // One that is too long as well.
    let place = Place::new();
    std::fs::create_dir_all(part(&place).parent().unwrap()).unwrap();
    std::fs::write(part(&place), vec![7; 6000]).unwrap();
    let folder = place.model().unwrap();
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_small_file_is_never_put_together_of_parts() {
    let place = Place::new();
    // The part of config.json, `{}`, that an earlier call could have left.
    let etag = place.server.state().repositories[MODEL]["config.json"].etag.clone();
    let part = place.settings.cache.join(format!("models--google--tiny/blobs/{etag}.incomplete"));
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(part, "x").unwrap();
    let folder = place.model().unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("config.json")).unwrap(), "{}");
}

#[test]
fn a_wrong_size_is_refused() {
    let place = Place::new();
    place.server.change(MODEL, "model.safetensors", |stored| stored.size = 4000);
    let error = place.model().unwrap_err();
    assert_eq!(
        error,
        "hf://google/tiny: model.safetensors is longer than the 4000 bytes that were announced; it was not kept: give \
         the same command again to fetch it anew"
    );
    let place = Place::new();
    place.server.change(MODEL, "model.safetensors", |stored| stored.size = 6000);
    let error = place.model().unwrap_err();
    assert!(error.contains("of 6000 bytes of model.safetensors"), "{error}");
    assert!(place.files().iter().all(|file| !file.ends_with("model.safetensors")));
}

#[test]
fn a_changed_byte_is_found() {
    let place = Place::new();
    place.server.change(MODEL, "model.safetensors", |stored| stored.bytes[4321] ^= 1);
    let error = place.model().unwrap_err();
    assert!(error.contains("model.safetensors has the SHA-256 "), "{error}");
    assert!(place.files().iter().all(|file| !file.ends_with("model.safetensors")));
}

#[test]
fn a_busy_server_is_asked_again() {
    let place = Place::new();
    place.server.state().busy = 2;
    place.model().unwrap();
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    for other_host in [true, false] {
        let place = Place::new().with_token(GOOD_TOKEN);
        place.server.state().gated.push(MODEL.to_owned());
        place.server.state().other_host = other_host;
        place.model().unwrap();
        let requests = place.server.requests();
        let (elsewhere, at_hub): (Vec<_>, Vec<_>) =
            requests.iter().partition(|request| request.host.starts_with("localhost"));
        assert_eq!(elsewhere.len(), usize::from(other_host), "{requests:?}");
        assert!(elsewhere.iter().all(|request| request.token.is_none()), "{elsewhere:?}");
        assert!(at_hub.iter().all(|request| is_good(&request.token)), "{at_hub:?}");
    }
}

#[test]
fn a_file_that_another_program_fetches_is_waited_for() {
    let place = Place::new();
    let etag = place.server.state().repositories[MODEL]["config.json"].etag.clone();
    let path = place.settings.cache.join(format!(".locks/models--google--tiny/{etag}.lock"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lock = std::fs::File::create(path).unwrap();
    lock.lock().unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        drop(lock);
    });
    place.model().unwrap();
    holder.join().unwrap();
    assert_eq!(place.said.borrow()[0], "another program is fetching config.json of google/tiny: waiting");
}
