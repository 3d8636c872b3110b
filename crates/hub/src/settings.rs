use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Where the Hub is, where its files are kept, and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Hub's address, without a slash at its end.
    pub endpoint: String,
    /// The folder of Python's cache.
    pub cache: PathBuf,
    /// Who asks.
    pub token: Option<Token>,
    /// The variable that forbids requests, if one is set.
    pub offline: Option<&'static str>,
    /// How long a first try is waited after; twice as long after each further one.
    pub pause: Duration,
}

/// An access token.
#[derive(Clone)]
pub struct Token {
    /// What is sent.
    pub value: String,
    /// Where it was found, for messages.
    pub origin: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        // A token is a password.
        f.debug_struct("Token").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Settings {
    /// What the environment says, in the variables that Python's huggingface_hub reads: HF_ENDPOINT, HF_HUB_CACHE,
    /// HF_HOME, XDG_CACHE_HOME, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE. None, if there is
    /// no home folder to keep files in.
    pub fn from_env() -> Option<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let user = set("HOME").or_else(|| set("USERPROFILE")).map(PathBuf::from);
        let path = |name: &str| {
            let path = PathBuf::from(set(name)?);
            match (path.strip_prefix("~"), &user) {
                (Ok(below), Some(user)) => Some(user.join(below)),
                _ => Some(path),
            }
        };
        let cache = || path("XDG_CACHE_HOME").or_else(|| Some(user.as_ref()?.join(".cache")));
        let home = path("HF_HOME").or_else(|| Some(cache()?.join("huggingface")));
        let below = |name: &str| home.as_ref().map(|home| home.join(name));
        let text = |name: &str| set(name)?.into_string().ok().map(|text| text.trim().to_owned());
        let is_on = |name: &&'static str| {
            let value = text(name).unwrap_or_default().to_uppercase();
            ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let from_variable = || {
            let value = text("HF_TOKEN").filter(|token| !token.is_empty())?;
            Some(Token { value, origin: "HF_TOKEN".to_owned() })
        };
        let from_file = || {
            let file = path("HF_TOKEN_PATH").or_else(|| below("token"))?;
            let value = std::fs::read_to_string(&file).ok()?.trim().to_owned();
            (!value.is_empty()).then(|| Token { value, origin: file.display().to_string() })
        };
        Some(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: from_variable().or_else(from_file),
            offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(is_on),
            cache: path("HF_HUB_CACHE").or_else(|| below("hub"))?,
            pause: Duration::from_secs(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Option<Settings> {
        Settings::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        let cache = |variables: &[(&str, &str)]| settings(variables).unwrap().cache;
        let home = ("HOME", "/home/me");
        assert_eq!(cache(&[home]), Path::new("/home/me/.cache/huggingface/hub"));
        assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/c")]), Path::new("/c/huggingface/hub"));
        assert_eq!(
            cache(&[home, ("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/c")]),
            Path::new("/home/me/hf/hub")
        );
        assert_eq!(cache(&[home, ("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/big/hub")]), Path::new("/big/hub"));
        assert!(settings(&[]).is_none());
    }

    #[test]
    fn the_variables_token_goes_before_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        let token = |variables: &[(&str, &str)]| settings(variables).unwrap().token;
        assert!(token(&[home]).is_none());
        let file = folder.path().join("token");
        std::fs::write(&file, "from-file\n").unwrap();
        let found = token(&[home]).unwrap();
        assert_eq!((found.value.as_str(), found.origin), ("from-file", file.display().to_string()));
        assert_eq!(token(&[home, ("HF_TOKEN", "from-variable")]).unwrap().value, "from-variable");
        assert_eq!(token(&[home, ("HF_TOKEN", "")]).unwrap().value, "from-file");
        assert!(token(&[home, ("HF_TOKEN_PATH", "/nowhere")]).is_none());
        assert!(!format!("{:?}", token(&[home])).contains("from-file"), "a token is not printed");
    }

    #[test]
    fn offline_is_said_in_pythons_words() {
        let offline = |value: &str| settings(&[("HOME", "/"), ("HF_HUB_OFFLINE", value)]).unwrap().offline;
        for value in ["1", "true", "Yes", "ON"] {
            assert_eq!(offline(value), Some("HF_HUB_OFFLINE"));
        }
        for value in ["", "0", "false", "no"] {
            assert_eq!(offline(value), None);
        }
    }

    #[test]
    fn an_endpoint_has_no_slash_at_its_end() {
        let endpoint = |value: &str| settings(&[("HOME", "/"), ("HF_ENDPOINT", value)]).unwrap().endpoint;
        assert_eq!(endpoint("http://localhost:80/"), "http://localhost:80");
        assert_eq!(endpoint(""), "https://huggingface.co");
    }
}
