use std::time::Duration;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo};
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, Uri, header};

use crate::name::is_path;
use crate::{Error, Kind, Name, Result, Settings};

/// How long an answer, and each part of a file, is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tries before an error is believed.
const TRIES: u32 = 5;

/// The Hub as a server.
pub(crate) struct Remote {
    api: Api,
    /// Follows redirects, and sends the token to no other host.
    agent: Agent,
    /// Follows none.
    still: Agent,
    settings: Settings,
}

/// A repository at a commit.
pub(crate) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

/// What is known of a file before it is fetched.
pub(crate) struct Metadata {
    pub etag: String,
    pub size: u64,
}

type Answer = Response<ureq::Body>;

impl Remote {
    pub fn new(settings: &Settings) -> Self {
        let api = ApiBuilder::from_cache(Cache::new(settings.cache.clone()))
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.as_ref().map(|token| token.value.clone()))
            .with_user_agent("tallow", env!("CARGO_PKG_VERSION"))
            .with_progress(false)
            .build()
            .expect("no part of the settings is refused");
        let agent = |redirects: u32| -> Agent {
            Agent::config_builder()
                .http_status_as_error(false)
                .redirect_auth_headers(RedirectAuthHeaders::SameHost)
                .max_redirects(redirects)
                .max_redirects_will_error(redirects > 0)
                .user_agent(concat!("tallow/", env!("CARGO_PKG_VERSION")))
                // Sizes are those of the files, not of something packed.
                .accept_encoding("identity")
                .timeout_connect(Some(PATIENCE))
                .timeout_recv_response(Some(PATIENCE))
                .timeout_per_read(Some(PATIENCE))
                .build()
                .into()
        };
        Self { api, agent: agent(10), still: agent(0), settings: settings.clone() }
    }

    /// The commit that a revision stands for, and its files.
    pub fn listing(&self, name: &Name) -> Result<Listing> {
        let repo = self.api.repo(name.repo());
        let url = format!("{}/api/{}", self.settings.endpoint, name.repo().api_url());
        let mut answer = self.patiently(name, || {
            let request = repo.info_request().config().http_status_as_error(false);
            let request = request.timeout_connect(Some(PATIENCE)).timeout_recv_response(Some(PATIENCE));
            request.timeout_per_read(Some(PATIENCE)).build().call()
        })?;
        if !answer.status().is_success() {
            return Err(self.refused(name, None, &url, &answer));
        }
        let not_the_hub = |what: String| Error::NotTheHub { name: name.to_string(), url: url.clone(), what };
        let body = answer.body_mut().with_config().limit(1 << 28);
        let info: RepoInfo = body.read_json().map_err(|error| not_the_hub(error.to_string()))?;
        // They become paths; a file of another name is none that could be wanted.
        if !is_path(&info.sha) {
            return Err(not_the_hub(format!("its commit is `{}`", info.sha)));
        }
        let files =
            info.siblings.into_iter().map(|file| file.rfilename).filter(|file| is_path(file)).collect();
        Ok(Listing { commit: info.sha, files })
    }

    /// Where a file of a commit is.
    pub fn url(&self, name: &Name, commit: &str, file: &str) -> String {
        let Name { kind, id, .. } = name;
        let at = Name { kind: *kind, id: id.clone(), revision: Some(commit.to_owned()), file: None };
        let repo: Repo = at.repo();
        self.api.repo(repo).url(&encoded(file))
    }

    /// A file's etag and size. The Hub gives them itself, before it sends to where the file lies; only within the Hub, where
    /// a repository has a new name, is a redirect followed.
    pub fn metadata(&self, name: &Name, file: &str, url: &str) -> Result<Metadata> {
        let mut url = url.to_owned();
        let not_the_hub = |url: &str, what: &str| Error::NotTheHub {
            name: name.to_string(),
            url: url.to_owned(),
            what: what.to_owned(),
        };
        for _ in 0..5 {
            let answer = self.patiently(name, || self.authorised(self.still.head(&url)).call())?;
            let get = |key: &str| answer.headers().get(key).and_then(|value| value.to_str().ok());
            let location = get("location").unwrap_or_default().to_owned();
            let elsewhere = answer.status().is_redirection() && get("x-linked-etag").is_none();
            if elsewhere && location.starts_with('/') && !location.starts_with("//") {
                url =
                    beside(&url, &location).ok_or_else(|| not_the_hub(&url, "its redirect leads nowhere"))?;
                continue;
            }
            if !answer.status().is_success() && !answer.status().is_redirection() {
                return Err(self.refused(name, Some(file), &url, &answer));
            }
            let etag = get("x-linked-etag")
                .or(get("etag"))
                .map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
            // Its length is that of the file, if it is not a redirect.
            let length = || if answer.status().is_success() { get("content-length") } else { None };
            let size = get("x-linked-size").or_else(length).and_then(|size| size.parse().ok());
            return match (etag, size) {
                (Some(etag), Some(size)) if is_path(etag) && !etag.contains('/') => {
                    Ok(Metadata { etag: etag.to_owned(), size })
                }
                _ => Err(not_the_hub(&url, "it gives no etag and size")),
            };
        }
        Err(not_the_hub(&url, "it sends from one place to the next"))
    }

    /// Asks for a file from a byte on.
    pub fn get(&self, url: &str, from: u64) -> Result<Answer, ureq::Error> {
        let request = self.authorised(self.agent.get(url));
        let request =
            if from > 0 { request.header(header::RANGE, format!("bytes={from}-")) } else { request };
        request.call()
    }

    /// How often a file is tried for, and the time before another try.
    pub fn pauses(&self) -> impl Iterator<Item = Duration> {
        (0..TRIES).map(|tried| self.settings.pause * 2u32.pow(tried))
    }

    fn authorised<S>(&self, request: ureq::RequestBuilder<S>) -> ureq::RequestBuilder<S> {
        match &self.settings.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {}", token.value)),
            None => request,
        }
    }

    /// Asks again where the server is busy or a connection breaks, but not where there is none to be had.
    fn patiently(&self, name: &Name, ask: impl Fn() -> Result<Answer, ureq::Error>) -> Result<Answer> {
        let mut pauses = self.pauses().take(2);
        loop {
            let pause = match (ask(), pauses.next()) {
                (Ok(answer), Some(pause)) if is_busy(&answer) => pause,
                (Ok(answer), _) => return Ok(answer),
                (Err(error), Some(pause)) if may_pass(&error) => pause,
                (Err(error), _) => return Err(self.unreachable(name, error)),
            };
            std::thread::sleep(pause);
        }
    }

    fn unreachable(&self, name: &Name, error: ureq::Error) -> Error {
        Error::Unreachable {
            name: name.to_string(),
            endpoint: self.settings.endpoint.clone(),
            cache: self.settings.cache.clone(),
            source: Box::new(error),
        }
    }

    /// What a refusal means.
    pub fn refused(&self, name: &Name, file: Option<&str>, url: &str, answer: &Answer) -> Error {
        let get =
            |key: &str| answer.headers().get(key).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (code, said) = (get("x-error-code"), get("x-error-message"));
        let Settings { endpoint, token, .. } = &self.settings;
        let (page, of) = (self.page(name), name.repository().to_string());
        let revision = name.revision().to_owned();
        match (code, answer.status().as_u16()) {
            ("GatedRepo", _) => {
                let now =
                    token.as_ref().map(|token| format!(" (the one in {} may not read it)", token.origin));
                Error::Gated { name: of, url: page, now: now.unwrap_or_default() }
            }
            ("RevisionNotFound", _) => Error::NoRevision { name: of, revision, url: page },
            ("EntryNotFound", _) => {
                let file = file.unwrap_or_default().to_owned();
                Error::NoFile { name: of, file, url: page, revision }
            }
            ("RepoNotFound", _) | (_, 404) => Error::NoRepository { name: of, url: page },
            (_, 401) => match token {
                Some(token) => {
                    Error::Token { name: of, origin: token.origin.clone(), endpoint: endpoint.clone() }
                }
                None => Error::NoRepository { name: of, url: page },
            },
            (_, status) => {
                let said: String = said.chars().filter(|c| !c.is_control()).collect();
                let message = if said.is_empty() { said } else { format!(": {said}") };
                Error::Status { name: of, url: url.to_owned(), status, message }
            }
        }
    }

    /// The repository's page.
    pub fn page(&self, name: &Name) -> String {
        page(&self.settings.endpoint, name)
    }
}

/// The repository's page.
pub(crate) fn page(endpoint: &str, name: &Name) -> String {
    let folder = if name.kind == Kind::Dataset { "datasets/" } else { "" };
    format!("{endpoint}/{folder}{}", name.id)
}

/// Whether the server may answer otherwise in a moment.
pub(crate) fn is_busy(answer: &Answer) -> bool {
    answer.status().is_server_error() || answer.status().as_u16() == 429
}

/// Whether another try may do better.
fn may_pass(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// The address of a path on the server of `url`.
fn beside(url: &str, path: &str) -> Option<String> {
    let mut parts = url.parse::<Uri>().ok()?.into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Some(Uri::from_parts(parts).ok()?.to_string())
}

/// A path as part of an address.
fn encoded(file: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~');
    file.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
