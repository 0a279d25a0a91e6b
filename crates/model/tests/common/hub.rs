//! A small server that speaks the hub's paths, over plain TCP, with the hub's faults on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// The first answer with this file stops after so many bytes.
    CutOnce(&'static str, usize),
    /// Every answer with this file is shorter than announced, and says so itself.
    Short(&'static str),
    /// The content of this file is not what its tag says.
    Altered(&'static str),
    /// Nobody may read without this token.
    Token(&'static str),
    /// Every request ends with this status.
    Status(u16),
    /// Ranges are ignored, and this file is cut once.
    NoRanges(&'static str, usize),
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
}

struct State {
    /// Model id and file name to content.
    files: HashMap<(String, String), Vec<u8>>,
    fault: Fault,
    cut: AtomicBool,
    seen: Mutex<Vec<Seen>>,
    /// Another address from which large files come, as from a CDN.
    elsewhere: Option<String>,
    stopped: AtomicBool,
}

pub struct Hub {
    pub address: String,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    /// Serves folders as models.
    pub fn start(models: &[(&str, &std::path::Path)], fault: Fault, elsewhere: Option<&Hub>) -> Self {
        let mut files = HashMap::new();
        for (id, folder) in models {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                files.insert(((*id).to_owned(), name), std::fs::read(entry.path()).unwrap());
            }
        }
        let state = Arc::new(State {
            files,
            fault,
            cut: AtomicBool::new(false),
            seen: Mutex::new(Vec::new()),
            elsewhere: elsewhere.map(|hub| hub.address.clone()),
            stopped: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let server = Arc::clone(&server);
                std::thread::spawn(move || serve(&server, stream.unwrap()));
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(state: &State, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let seen = Seen { method, path, headers };
    state.seen.lock().unwrap().push(seen.clone());
    let _ = answer(state, &seen, stream);
}

fn answer(state: &State, request: &Seen, mut out: TcpStream) -> std::io::Result<()> {
    let status = match state.fault {
        Fault::Status(status) => Some(status),
        Fault::Token(token) if request.headers.get("authorization") != Some(&format!("Bearer {token}")) => Some(401),
        _ => None,
    };
    if let Some(status) = status {
        return write!(out, "HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    if let Some(id) = request.path.strip_prefix("/api/models/") {
        let names: Vec<_> = state.files.keys().filter(|(model, _)| model == id).map(|(_, file)| file).collect();
        if !names.is_empty() {
            let siblings: Vec<_> = names.iter().map(|name| format!("{{\"rfilename\":\"{name}\"}}")).collect();
            let body = format!("{{\"id\":\"{id}\",\"sha\":\"{COMMIT}\",\"siblings\":[{}]}}", siblings.join(","));
            return write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        }
    }
    let file = request.path.trim_start_matches('/').split_once("/resolve/main/");
    match file.and_then(|(id, name)| Some((name, state.files.get(&(id.to_owned(), name.to_owned()))?))) {
        Some((name, content)) => send_file(state, request, out, name, content),
        None => write!(out, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    }
}

fn send_file(state: &State, request: &Seen, mut out: TcpStream, name: &str, content: &[u8]) -> std::io::Result<()> {
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let large = name.ends_with(".bin") || name.ends_with(".safetensors");
    // Small files carry git's 40 digits.
    let tag = if large { &hash } else { &hash[..40] };
    if let (true, Some(elsewhere)) = (large, &state.elsewhere) {
        return write!(
            out,
            "HTTP/1.1 302 Found\r\nlocation: {elsewhere}{}\r\nx-linked-etag: \"{tag}\"\r\nx-linked-size: {}\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n",
            request.path,
            content.len()
        );
    }
    let ranges = !matches!(state.fault, Fault::NoRanges(..));
    let range = request.headers.get("range").filter(|_| ranges);
    let start = range.map_or(0, |range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
    let mut body = content[start..].to_vec();
    match state.fault {
        Fault::Altered(file) if file == name => body[0] ^= 1,
        Fault::Short(file) if file == name && request.method == "GET" => body.truncate(body.len() / 2),
        _ => {}
    }
    let (status, extra) = match range {
        Some(_) => (206, format!("content-range: bytes {start}-{}/{}\r\n", content.len() - 1, content.len())),
        None => (200, String::new()),
    };
    write!(
        out,
        "HTTP/1.1 {status} OK\r\netag: \"{tag}\"\r\ncontent-length: {}\r\n{extra}connection: close\r\n\r\n",
        body.len()
    )?;
    if request.method == "HEAD" {
        return Ok(());
    }
    if let Fault::CutOnce(file, length) | Fault::NoRanges(file, length) = state.fault
        && file == name
        && !state.cut.swap(true, Ordering::SeqCst)
    {
        body.truncate(length);
    }
    out.write_all(&body)
}
