//! Where things are kept that can be made anew.

use std::path::PathBuf;

/// `$TALLOW_CACHE`, or tallow's place in the user's folder for caches, if there is one.
pub fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = |below: &str| variable("HOME").map(|home| home.join(below));
    let of_user = || match () {
        () if cfg!(windows) => variable("LOCALAPPDATA"),
        () if cfg!(target_os = "macos") => home("Library/Caches"),
        () => variable("XDG_CACHE_HOME").or_else(|| home(".cache")),
    };
    variable("TALLOW_CACHE").or_else(|| Some(of_user()?.join("tallow")))
}
