//! The program, run as a person runs it: in a folder of its own, with nothing set up.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod schema;
pub(crate) mod server;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sagellm-benchmark");

/// A folder to work in, and a home of the Hugging Face cache beside it that is empty and cannot be filled.
pub(crate) struct Place(TempDir);

/// How the program ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path()).unwrap();
        place
    }

    /// Where the program is run.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("work")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn hub(&self) -> PathBuf {
        self.0.path().join("huggingface")
    }

    /// The program with these arguments.
    pub(crate) fn program<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        self.prepare(&mut command);
        command
    }

    /// A line for the shell, which finds the program on its path.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        let folder = Path::new(PROGRAM).parent().unwrap().to_owned();
        let others = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder).chain(std::env::split_paths(&others));
        command.env("PATH", std::env::join_paths(folders).unwrap());
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        for name in
            ["HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY"]
        {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.hub()).env("HF_HUB_OFFLINE", "1");
        command.env_remove("COLUMNS").env_remove("RUST_BACKTRACE");
        command.current_dir(self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Runs the program with the words of `line`.
    pub(crate) fn run(&self, line: &str) -> Ran {
        Ran::from(self.program(line.split_whitespace()).output().unwrap())
    }

    /// The same, and it has to succeed.
    #[track_caller]
    pub(crate) fn succeed(&self, line: &str) -> Ran {
        self.run(line).succeeded()
    }

    /// Runs the program, which has to refuse: with an exit code, nothing on standard output, nothing left behind, and no
    /// trace of a crash. The answer is what a person sees, for a snapshot.
    #[track_caller]
    pub(crate) fn refused(&self, line: &str) -> String {
        let before = self.listing();
        let ran = self.run(line);
        assert!(matches!(ran.code, 2..=4), "`{line}` ended with {}: {}", ran.code, ran.err);
        assert_eq!(ran.out, "", "`{line}` wrote to standard output");
        assert_eq!(self.listing(), before, "`{line}` left something behind");
        assert!(ran.err.starts_with("error: ") && !ran.err.contains("panicked"), "{}", ran.err);
        format!("$ sagellm-benchmark {line}\n{}[exit {}]\n\n", self.anonymous(&ran.err), ran.code)
    }

    /// A text without the places of this machine.
    pub(crate) fn anonymous(&self, text: &str) -> String {
        text.replace(&self.path().display().to_string(), "WORK").replace(&self.0.path().display().to_string(), "PLACE")
    }

    /// Everything that lies in the folder.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.path()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                names.push(path.strip_prefix(self.path()).unwrap().display().to_string());
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        names.sort();
        names
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    /// The lines of a `.jsonl` file.
    pub(crate) fn lines(&self, name: &str) -> Vec<Value> {
        self.text(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The records of the measured requests of a workload, by their number.
    pub(crate) fn records(&self, folder: &str, workload: &str) -> Vec<Value> {
        let lines = self.lines(&format!("{folder}/{workload}.records.jsonl"));
        let measured = |line: &Value| line["line"] == "request" && line["warmup"] == false;
        let mut records: Vec<Value> = lines.into_iter().filter(measured).collect();
        records.sort_by_key(|record| record["id"].as_u64());
        records
    }

    /// A copy of a reference model as a folder named `name`.
    pub(crate) fn model(&self, reference: &str, name: &str) -> PathBuf {
        let folder = self.file(name);
        copy(&testdata("models").join(reference), &folder);
        folder
    }

    /// A reference model in the hub's cache, under a name of the hub.
    pub(crate) fn cache(&self, reference: &str, id: &str) {
        let repository = self.hub().join("hub").join(format!("models--{}", id.replace('/', "--")));
        let revision = "0123456789abcdef0123456789abcdef01234567";
        fs::create_dir_all(repository.join("refs")).unwrap();
        fs::write(repository.join("refs/main"), revision).unwrap();
        copy(&testdata("models").join(reference), &repository.join("snapshots").join(revision));
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.err, self.out);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A program that runs, watched through what it says.
pub(crate) struct Running {
    child: Child,
    said: BufReader<ChildStderr>,
    /// All that it said so far.
    pub(crate) err: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        Self { child, said, err: String::new() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line holds all the words.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &[&str]) {
        loop {
            let from = self.err.len();
            let read = self.said.read_line(&mut self.err).unwrap();
            assert!(read > 0, "it ended without saying {words:?}: {}", self.err);
            if words.iter().all(|word| self.err[from..].contains(word)) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// The signal that ended it, or else its exit code, once it has ended.
    pub(crate) fn end_by(mut self) -> (Result<i32, i32>, String) {
        use std::os::unix::process::ExitStatusExt;
        while self.said.read_line(&mut self.err).unwrap() > 0 {}
        let status = self.child.wait().unwrap();
        (status.signal().ok_or_else(|| status.code().unwrap_or(-1)), self.err)
    }

    /// The exit code, once it has ended.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        while self.said.read_line(&mut self.err).unwrap() > 0 {}
        (self.child.wait().unwrap().code(), self.err)
    }
}

/// Sends a signal such as `-INT`.
pub(crate) fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    repository().join("testdata").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// A figure that has to be there.
#[track_caller]
pub(crate) fn number(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or_else(|| panic!("`{key}` is {:?}", figures.get(key)))
}
