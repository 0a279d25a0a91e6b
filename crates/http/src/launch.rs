//! Starts a server, and leaves none behind.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sagellm_core::redact::{hide_in_command, hide_in_quote};
use sagellm_core::{Clock, Exit, UserError, plain};
use thiserror::Error;

use crate::{Target, port};

/// How long a server may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(15);
/// Time between looks at a server that is ending.
const POLL: Duration = Duration::from_millis(20);
/// Lines of its log that are shown when it dies.
const TAIL_LINES: usize = 15;
/// Bytes of its log in which those lines are looked for.
const TAIL_BYTES: u64 = 8 << 10;

/// Why a server cannot be started, or does not run any more.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// A command that cannot be used.
    #[error("cannot use the command `{}`: {why}", hide_in_command(.command, &mut |_| ()))]
    Command {
        /// As given.
        command: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A program that cannot be started.
    #[error("cannot start `{program}`: {source}")]
    Spawn {
        /// Its name.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// A log that cannot be written.
    #[error("cannot write the server's log `{}`: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No port is free.
    #[error("cannot find a free port: {0}")]
    Port(io::Error),
    /// It ended by itself.
    #[error("the server ended {how}; the end of its log `{}`:{}", log.display(), indented(.tail))]
    Died {
        /// With which status, or by which signal.
        how: String,
        /// Where its output is.
        log: PathBuf,
        /// The last lines of it.
        tail: Vec<String>,
    },
}

fn indented(lines: &[String]) -> String {
    if lines.is_empty() {
        return " (it is empty)".into();
    }
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

impl UserError for LaunchError {
    fn exit(&self) -> Exit {
        match self {
            Self::Command { .. } => Exit::Usage,
            Self::Log { .. } => Exit::Input,
            Self::Spawn { .. } | Self::Port(_) | Self::Died { .. } => Exit::Backend,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Command { .. } => Some("such as --launch 'vllm serve MODEL --port {port}'".into()),
            Self::Spawn { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("is it installed, and on the PATH?".into())
            }
            _ => None,
        }
    }
}

/// A server that runs in a process group of its own, so that signals to this program do not reach it. It is stopped, with
/// every process of its group, when this is dropped.
#[derive(Debug)]
pub struct Launched {
    leader: Mutex<Leader>,
    group: Pid,
    port: u16,
    _claim: port::Claim,
    command: Vec<String>,
    log: PathBuf,
    grace: Duration,
}

/// The process that was started.
#[derive(Debug)]
struct Leader {
    child: Child,
    /// Whether its group was ended after it: the number may be somebody else's since.
    over: bool,
}

impl Launched {
    /// Starts a command, whose words may be quoted as in a shell; no shell runs it. `{port}`, which has to occur, becomes
    /// a free port, and `{model}` the model. Output and errors go to the file `log`.
    ///
    /// # Errors
    /// When the command, the log or a port cannot be had.
    pub fn start(command: &str, model: Option<&str>, log: &Path) -> Result<Self, LaunchError> {
        let words = words(command, model)?;
        let claim = port::claim().map_err(LaunchError::Port)?;
        let port = claim.port;
        let words: Vec<String> = words.iter().map(|word| word.replace("{port}", &port.to_string())).collect();

        let no_log = |source| LaunchError::Log { path: log.into(), source };
        let output = File::create(log).map_err(no_log)?;
        let errors = output.try_clone().map_err(no_log)?;
        let (program, arguments) = words.split_first().ok_or_else(|| wrong(command, "it is empty"))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|source| LaunchError::Spawn { program: program.clone(), source })?;
        // A process id fits: the system's own type has 32 bits and a sign.
        let group = Pid::from_raw(child.id().cast_signed());
        let leader = Mutex::new(Leader { child, over: false });
        Ok(Self { leader, group, port, _claim: claim, command: words, log: log.into(), grace: GRACE })
    }

    /// Where it will listen.
    pub fn target(&self) -> Target {
        Target { https: false, host: "127.0.0.1".into(), port: self.port, base_path: String::new() }
    }

    /// Its process, which may have children.
    pub fn pid(&self) -> u32 {
        self.group.as_raw().cast_unsigned()
    }

    /// The words that it was started with.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it ended, with the end of its log.
    pub fn check(&self) -> Result<(), LaunchError> {
        let mut leader = self.leader();
        let status = match leader.child.try_wait() {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => ended(status),
            Err(error) => format!("in a way that cannot be told ({error})"),
        };
        self.end_group(&mut leader);
        let tail = tail(&self.log).unwrap_or_default();
        Err(LaunchError::Died { how: status, log: self.log.clone(), tail })
    }

    /// Asks it to end, and ends it by force when that takes longer than 15 s. Of one that has ended by itself, what it left
    /// of its group is ended.
    pub fn stop(&self) {
        let clock = Clock::start();
        let mut leader = self.leader();
        if matches!(leader.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGTERM);
            while matches!(leader.child.try_wait(), Ok(None)) && Duration::from_nanos(clock.now()) < self.grace {
                std::thread::sleep(POLL);
            }
        }
        self.end_group(&mut leader);
        // After SIGKILL it does end; when waiting fails, somebody else has taken its status.
        let _ = leader.child.wait();
    }

    /// What is left of the group would go on without its leader.
    fn end_group(&self, leader: &mut Leader) {
        if !std::mem::replace(&mut leader.over, true) {
            self.signal(Signal::SIGKILL);
        }
    }

    fn leader(&self) -> MutexGuard<'_, Leader> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To the whole group. It fails when there is nobody left, which is what a signal is for here.
    fn signal(&self, signal: Signal) {
        let _ = killpg(self.group, signal);
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.stop();
    }
}

fn wrong(command: &str, why: &'static str) -> LaunchError {
    LaunchError::Command { command: command.into(), why }
}

/// The words of a command, with the model filled in. Words are cut first: a model's path may hold spaces.
fn words(command: &str, model: Option<&str>) -> Result<Vec<String>, LaunchError> {
    let words = shlex::split(command).ok_or_else(|| wrong(command, "a quote is not closed"))?;
    if !words.iter().any(|word| word.contains("{port}")) {
        return Err(wrong(command, "it does not say `{port}`, so the server could not be found"));
    }
    if words.iter().all(|word| !word.contains("{model}")) {
        return Ok(words);
    }
    let model = model.ok_or_else(|| wrong(command, "it says `{model}`, but no --model is given"))?;
    Ok(words.into_iter().map(|word| word.replace("{model}", model)).collect())
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("with status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("by signal {signal}"),
            Err(_) => format!("by signal {signal}"),
        },
        (None, None) => "without a status".into(),
    }
}

/// The last lines of a log, fit for a terminal.
fn tail(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    if start > 0 && lines.len() > 1 {
        lines.remove(0); // most likely half a line
    }
    let last = lines.split_off(lines.len().saturating_sub(TAIL_LINES));
    Ok(last.into_iter().map(|line| hide_in_quote(&without_sequences(line))).collect())
}

/// Removes colors and other control sequences, which many servers write.
fn without_sequences(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            // ESC [ parameters letter, or ESC and one more.
            if chars.next() == Some('[') {
                chars.by_ref().find(|char| ('@'..='~').contains(char));
            }
        } else if char == '\t' {
            out.push(' ');
        } else if char != '\r' {
            out.push(char);
        }
    }
    plain(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sagellm_core::Failure;

    fn launch(command: &str) -> (tempfile::TempDir, Launched) {
        let folder = tempfile::tempdir().unwrap();
        let launched = Launched::start(command, None, &folder.path().join("server.log")).unwrap();
        (folder, launched)
    }

    fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
        let clock = Clock::start();
        while !done() {
            assert!(clock.now() < 10_000_000_000, "{what} did not happen within 10 s");
            std::thread::sleep(POLL);
        }
    }

    /// Whether a process runs; one that waits to be reaped does not.
    fn runs(pid: u32) -> bool {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => !stat.rsplit(") ").next().unwrap().starts_with('Z'),
            Err(_) => false,
        }
    }

    fn child_of(launched: &Launched) -> u32 {
        let mut pid = None;
        wait_for("the child's start", || {
            pid = std::fs::read_to_string(launched.log()).unwrap().trim().parse().ok();
            pid.is_some()
        });
        pid.unwrap()
    }

    #[test]
    fn a_server_that_dies_shows_the_end_of_its_log() {
        let (_folder, launched) = launch(
            r#"sh -c 'for n in $(seq 30); do echo line $n; done; printf "\033[31mno such model\033[0m\n" >&2; exit 3' {port}"#,
        );
        wait_for("the end", || launched.check().is_err());
        let failure = Failure::from(launched.check().unwrap_err());
        assert_eq!(failure.exit, Exit::Backend);
        let lines: Vec<&str> = failure.message.lines().collect();
        assert!(lines[0].starts_with("the server ended with status 3; the end of its log `"), "{}", lines[0]);
        assert_eq!(lines.len(), 1 + TAIL_LINES);
        assert_eq!((lines[1], lines[TAIL_LINES]), ("  line 17", "  no such model"));
    }

    #[test]
    fn a_server_that_is_killed_says_so() {
        let (_folder, launched) = launch("sleep {port}");
        launched.check().unwrap();
        killpg(launched.group, Signal::SIGKILL).unwrap();
        wait_for("the end", || launched.check().is_err());
        let message = launched.check().unwrap_err().to_string();
        assert!(message.starts_with("the server ended by signal SIGKILL; the end of its log `"), "{message}");
        assert!(message.ends_with("`: (it is empty)"), "{message}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_of_its_group_is_left_when_it_is_dropped() {
        let (_folder, launched) = launch("sh -c 'sleep 300 & echo $!; wait' {port}");
        let (pid, child) = (launched.pid(), child_of(&launched));
        assert!(runs(pid) && runs(child));
        drop(launched);
        wait_for("the end of both", || !runs(pid) && !runs(child));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nor_when_its_leader_died_first() {
        let (_folder, launched) = launch("sh -c 'sleep 300 & echo $!' {port}");
        let child = child_of(&launched);
        wait_for("the leader's end", || launched.check().is_err());
        wait_for("the child's end", || !runs(child));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nor_when_its_leader_died_and_nobody_looked() {
        let (_folder, launched) = launch("sh -c 'sleep 300 & echo $!' {port}");
        let (pid, child) = (launched.pid(), child_of(&launched));
        wait_for("the leader's end", || !runs(pid));
        assert!(runs(child));
        launched.stop();
        wait_for("the child's end", || !runs(child));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn one_that_does_not_listen_is_ended_by_force() {
        let (_folder, mut launched) = launch("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' {port}");
        let pid = child_of(&launched);
        launched.grace = Duration::from_millis(200);
        launched.stop();
        wait_for("the end", || !runs(pid));
        launched.stop();
    }

    #[test]
    fn words_are_quoted_as_in_a_shell_and_filled_in() {
        let words = words(r#"serve {model} --port={port} --x '{"a": 1}'"#, Some("my model")).unwrap();
        assert_eq!(words, ["serve", "my model", "--port={port}", "--x", r#"{"a": 1}"#]);
        let (_folder, launched) = launch("sleep {port}");
        assert_eq!(launched.command()[1], launched.target().port.to_string());
        assert_eq!(launched.target().url("/health"), format!("http://127.0.0.1:{}/health", launched.port));
    }

    #[test]
    fn commands_that_cannot_work_are_refused() {
        for (command, why) in [
            ("vllm serve 'm {port}", "a quote is not closed"),
            ("vllm serve m", "it does not say `{port}`, so the server could not be found"),
            ("vllm serve {model} --port {port}", "it says `{model}`, but no --model is given"),
        ] {
            let error = words(command, None).unwrap_err();
            assert_eq!(error.to_string(), format!("cannot use the command `{command}`: {why}"));
            assert_eq!(error.exit(), Exit::Usage);
        }
        let folder = tempfile::tempdir().unwrap();
        let missing = Launched::start("no-such-server-1 {port}", None, &folder.path().join("log")).unwrap_err();
        assert!(missing.to_string().starts_with("cannot start `no-such-server-1`: "));
        assert_eq!(missing.hint().unwrap(), "is it installed, and on the PATH?");
        let nowhere = Launched::start("sleep {port}", None, &folder.path().join("no/log")).unwrap_err();
        assert_eq!(nowhere.exit(), Exit::Input);
    }
}
