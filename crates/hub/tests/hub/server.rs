//! A server on this machine that answers as the Hub does.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use sha2::{Digest, Sha256};

/// The token that may read what is gated, and one that nobody has.
pub const GOOD_TOKEN: &str = "hf_good";
pub const BAD_TOKEN: &str = "hf_bad";

/// The commit of every repository.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file as the Hub keeps it.
#[derive(Clone)]
pub struct Stored {
    pub bytes: Vec<u8>,
    /// Large files lie on another host.
    pub large: bool,
    /// What is said of them.
    pub etag: String,
    pub size: usize,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub host: String,
    pub token: Option<String>,
    pub range: Option<String>,
}

#[derive(Default)]
pub struct State {
    /// `models/ID` or `datasets/ID` to its files.
    pub repositories: HashMap<String, BTreeMap<String, Stored>>,
    /// Repositories of which files are given to [`GOOD_TOKEN`] alone.
    pub gated: Vec<String>,
    /// Beginnings of addresses of repositories with a new name, and those that they have now.
    pub renamed: Vec<(String, String)>,
    /// Connections that carry a file are cut after so many bytes, one after the other.
    pub cuts: Vec<usize>,
    /// The next so many requests are answered by 503.
    pub busy: usize,
    /// Ranges are not looked at.
    pub whole_only: bool,
    /// Large files are at an address of this host, named otherwise; else at a path.
    pub other_host: bool,
    pub requests: Vec<Request>,
}

/// The server; it ends with the test's process.
#[derive(Clone)]
pub struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::new(Mutex::new(State { other_host: true, ..State::default() })),
        };
        let answering = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let server = answering.clone();
                // A client may hang up at any time.
                std::thread::spawn(move || server.answer(stream.unwrap()).ok());
            }
        });
        server
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds a file to a repository: `models/google/flan-t5-small`. Those of more than 1000 bytes are large.
    pub fn add(&self, repository: &str, file: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let large = bytes.len() > 1000;
        let etag = if large { digest } else { digest[..40].to_owned() };
        let stored = Stored { size: bytes.len(), bytes, large, etag };
        self.state().repositories.entry(repository.to_owned()).or_default().insert(file.to_owned(), stored);
    }

    pub fn change(&self, repository: &str, file: &str, change: impl FnOnce(&mut Stored)) {
        change(self.state().repositories.get_mut(repository).unwrap().get_mut(file).unwrap());
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let mut headers = HashMap::new();
        for line in lines {
            let line = line?;
            let Some((key, value)) = line.split_once(':') else { break };
            headers.insert(key.to_lowercase(), value.trim().to_owned());
        }
        let mut words = first.split(' ').map(str::to_owned);
        let request = Request {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            host: headers.remove("host").unwrap_or_default(),
            token: headers.remove("authorization").map(|value| value.replace("Bearer ", "")),
            range: headers.remove("range"),
        };
        let (head, body) = self.response(&request);
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
        if request.method != "HEAD" {
            stream.write_all(&body)?;
        }
        stream.flush()
    }

    /// Status line and headers, and the body.
    fn response(&self, request: &Request) -> (String, Vec<u8>) {
        let mut state = self.state();
        state.requests.push(request.clone());
        let empty = |head: &str| (format!("{head}\r\nContent-Length: 0"), Vec::new());
        if state.busy > 0 {
            state.busy -= 1;
            return empty("503 Service Unavailable");
        }
        let path = request.path.replace("%20", " ").replace("%2F", "/");
        if let Some(digest) = path.strip_prefix("/cdn/") {
            let mut files = state.repositories.values().flat_map(BTreeMap::values);
            let stored = files.find(|stored| stored.etag == digest).unwrap().clone();
            return content(&mut state, request, &stored, "");
        }
        if request.token.as_deref() == Some(BAD_TOKEN) {
            return empty("401 Unauthorized\r\nX-Error-Message: Invalid credentials in Authorization header");
        }
        for (old, new) in &state.renamed {
            if let Some(rest) = path.strip_prefix(old) {
                return empty(&format!("307 Temporary Redirect\r\nLocation: {new}{rest}"));
            }
        }
        let listed = path.strip_prefix("/api/").and_then(|rest| rest.split_once("/revision/"));
        if let Some((repository, revision)) = listed {
            let Some(files) = state.repositories.get(repository) else {
                return empty("404 Not Found\r\nX-Error-Code: RepoNotFound");
            };
            if !is_known(revision) {
                return empty("404 Not Found\r\nX-Error-Code: RevisionNotFound");
            }
            let siblings: Vec<_> =
                files.keys().map(|file| serde_json::json!({ "rfilename": file })).collect();
            let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
            return (format!("200 OK\r\nContent-Length: {}", body.len()), body.into_bytes());
        }
        let Some((repository, file)) = path.split_once("/resolve/") else {
            return empty("404 Not Found");
        };
        let repository = match repository.strip_prefix("/datasets/") {
            Some(id) => format!("datasets/{id}"),
            None => format!("models{repository}"),
        };
        let (revision, file) = file.split_once('/').unwrap();
        let Some(files) = state.repositories.get(&repository) else {
            return empty("404 Not Found\r\nX-Error-Code: RepoNotFound");
        };
        if !is_known(revision) {
            return empty("404 Not Found\r\nX-Error-Code: RevisionNotFound");
        }
        let Some(stored) = files.get(file).cloned() else {
            return empty("404 Not Found\r\nX-Error-Code: EntryNotFound");
        };
        if state.gated.contains(&repository) && request.token.as_deref() != Some(GOOD_TOKEN) {
            let status = if request.token.is_some() { "403 Forbidden" } else { "401 Unauthorized" };
            return empty(&format!("{status}\r\nX-Error-Code: GatedRepo"));
        }
        let Stored { etag, size, large, .. } = &stored;
        let commit = format!("\r\nX-Repo-Commit: {COMMIT}");
        match large {
            true => {
                let host =
                    if state.other_host { format!("http://localhost:{}", self.port) } else { String::new() };
                empty(&format!(
                    "302 Found{commit}\r\nX-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {size}\r\nETag: \"of-the-link\"\r\n\
                     Location: {host}/cdn/{etag}"
                ))
            }
            false => content(&mut state, request, &stored, &format!("{commit}\r\nETag: W/\"{etag}\"")),
        }
    }
}

fn is_known(revision: &str) -> bool {
    ["main", "v1.0", "refs/convert/parquet", COMMIT].contains(&revision)
}

/// A file, or the range of it that is asked for; cut if the next one is to be.
fn content(state: &mut State, request: &Request, stored: &Stored, headers: &str) -> (String, Vec<u8>) {
    let bytes = &stored.bytes;
    let start = match &request.range {
        Some(range) if !state.whole_only => {
            range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap()
        }
        _ => 0,
    };
    let status = match start {
        0 => "200 OK".to_owned(),
        start if start >= bytes.len() => "416 Range Not Satisfiable".to_owned(),
        start => {
            format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{}", bytes.len() - 1, bytes.len())
        }
    };
    let mut body = bytes[start.min(bytes.len())..].to_vec();
    let head = format!("{status}{headers}\r\nContent-Length: {}", body.len());
    if request.method == "GET" && !state.cuts.is_empty() {
        body.truncate(state.cuts.remove(0));
    }
    (head, body)
}
