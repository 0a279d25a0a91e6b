//! Another process and its children, as the operating system sees them.

use std::collections::HashMap;

use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};

/// A process and everything that descends from it.
///
/// A child whose parent ended stays a member, so workers do not get lost.
pub(crate) struct Tree {
    system: System,
    root: Pid,
    members: HashMap<Pid, Member>,
    /// Whether the proportional size can be read, in which shared pages count once: workers share their libraries.
    pss: bool,
}

struct Member {
    /// Tells it from a later process of the same number.
    started: u64,
    /// Processor time in milliseconds when it was first seen, and last.
    cpu_first: u64,
    cpu_last: u64,
}

/// Whether a process of this number can be seen and has not ended.
pub fn process_runs(pid: u32) -> bool {
    Tree::new(pid).is_ok()
}

/// Why a tree cannot be read once its root is gone.
const ENDED: &str = "the server process ended";

impl Tree {
    /// Looks at the tree under `pid` as it is now.
    pub(crate) fn new(pid: u32) -> Result<Self, String> {
        let system = System::new().map_err(|error| error.to_string())?;
        let root = Pid::from_u32(pid);
        let mut tree = Self { system, root, members: HashMap::new(), pss: pss_bytes(root).is_some() };
        tree.look(true)?;
        Ok(tree)
    }

    /// How memory is read.
    pub(crate) fn kind(&self) -> &'static str {
        if self.pss { "pss" } else { "rss" }
    }

    /// Memory of all members in bytes, now.
    pub(crate) fn memory_bytes(&mut self) -> Result<u64, String> {
        self.look(false)?;
        let processes = self.members.keys().filter_map(|pid| self.system.process(*pid));
        // One that ends between the two looks holds nothing any more.
        let bytes = |process: &Process| if self.pss { pss_bytes(process.pid()).unwrap_or(0) } else { process.memory() };
        match processes.map(bytes).sum() {
            0 => Err("the system does not tell the memory of the server process".into()),
            sum => Ok(sum),
        }
    }

    /// Seconds of processor time that all members, also those that ended, used since the tree was made. Only what was used
    /// up to their last look is known of those.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let millis: u64 = self.members.values().map(|member| member.cpu_last.saturating_sub(member.cpu_first)).sum();
        millis as f64 / 1e3
    }

    /// Brings the members up to date.
    fn look(&mut self, first: bool) -> Result<(), String> {
        let what = ProcessRefreshKind::nothing().with_memory().with_cpu().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
        let known = self.members.get(&self.root).map(|member| member.started);
        match self.system.process(self.root) {
            Some(root) if runs(root) && known.is_none_or(|started| started == root.start_time()) => {}
            _ => return Err(ENDED.into()),
        }
        for (pid, process) in self.system.processes() {
            // What is new since the tree was made has used all of its time since then.
            let cpu_last = process.accumulated_cpu_time();
            let started = process.start_time();
            match self.members.get_mut(pid) {
                Some(member) if member.started == started => member.cpu_last = cpu_last,
                _ if descends(&self.system, self.root, process) => {
                    let cpu_first = if first { cpu_last } else { 0 };
                    self.members.insert(*pid, Member { started, cpu_first, cpu_last });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn descends(system: &System, root: Pid, process: &Process) -> bool {
    // Deeper than any tree of processes; parents cannot form a ring but for a number that was given anew meanwhile.
    const DEPTH: usize = 64;
    let parent = |process: &&Process| system.process(process.parent()?);
    std::iter::successors(Some(process), parent).take(DEPTH).any(|it| it.pid() == root)
}

/// One that waits to be reaped holds nothing.
fn runs(process: &Process) -> bool {
    !matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead)
}

/// The proportional set size, which only Linux tells and only of one's own processes.
fn pss_bytes(pid: Pid) -> Option<u64> {
    parse_rollup(&std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn parse_rollup(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that runs a script until its input is closed.
    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn wait_for_line(child: &mut Child) {
        use std::io::BufRead;
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    }

    #[test]
    fn children_belong_to_it() {
        let mut child = shell("sh -c 'echo; read x'; read y");
        wait_for_line(&mut child);
        let mut tree = Tree::new(child.id()).unwrap();
        assert_eq!(tree.members.len(), 2);
        let both = tree.memory_bytes().unwrap();
        let alone =
            if tree.pss { pss_bytes(tree.root).unwrap() } else { tree.system.process(tree.root).unwrap().memory() };
        assert!(both > alone && both < 64 << 20, "{both} bytes, of these {alone} of the shell");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(tree.memory_bytes().unwrap_err(), ENDED);
        assert!(!process_runs(child.id()) && process_runs(std::process::id()));
        assert_eq!(Tree::new(child.id()).err().unwrap(), ENDED);
    }

    #[test]
    fn one_that_waits_to_be_reaped_has_ended() {
        let mut child = shell("echo; exit 3");
        wait_for_line(&mut child);
        let mut tree = Tree::new(child.id());
        for _ in 0..100 {
            if tree.is_err() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            tree = Tree::new(child.id());
        }
        assert_eq!(tree.err().unwrap(), ENDED);
        child.wait().unwrap();
    }

    #[test]
    fn processor_time_of_children_counts_from_the_first_look() {
        // The shell waits for a line, so that the burning starts after the first look.
        let mut child = shell("echo; read x; sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo; read y'");
        let mut stdin = child.stdin.take().unwrap();
        wait_for_line(&mut child);
        let mut tree = Tree::new(child.id()).unwrap();
        assert_eq!(tree.cpu_seconds(), 0.0);
        std::io::Write::write_all(&mut stdin, b"go\n").unwrap();
        wait_for_line(&mut child);
        tree.memory_bytes().unwrap();
        let used = tree.cpu_seconds();
        assert!((0.02..30.0).contains(&used), "{used} s");
        drop(stdin);
        child.wait().unwrap();
    }

    #[test]
    fn rollups_are_in_kibibytes() {
        let text = "563fe4b52000-7ffeabf88000 ---p 00000000 00:00 0  [rollup]\nRss:  1676 kB\nPss:   304 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(parse_rollup(text), Some(304 << 10));
        assert_eq!(parse_rollup("Rss: 1 kB\n"), None);
        assert_eq!(parse_rollup("Pss: x kB\n"), None);
    }
}
