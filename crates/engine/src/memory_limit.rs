//! How much memory this process may use. A system that lets it ask for more kills it without a word when it uses that.
//!
//! Everything is read from files of Linux; on other systems nothing is known, and nothing refused.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::EngineError;

/// What limits the memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// The limit of its cgroup, such as that of a container.
    Cgroup,
    /// `ulimit -v`.
    AddressSpace,
    /// `ulimit -d`.
    DataSize,
    /// The memory and swap space of the machine.
    Machine,
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cgroup => "the memory limit of its cgroup",
            Self::AddressSpace => "`ulimit -v`",
            Self::DataSize => "`ulimit -d`",
            Self::Machine => "the memory of this machine with its swap space",
        })
    }
}

/// A number of bytes as people write it.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}

/// What is about to be loaded, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    /// Memory that will be written to.
    pub(crate) used: u64,
    /// Memory that is asked for besides, most of which will not be written to.
    pub(crate) reserved: u64,
}

/// Refuses to load what needs more memory, on top of what this process has now, than it may use.
pub(crate) fn check(need: Need) -> Result<(), EngineError> {
    check_at(Path::new("/"), need)
}

fn check_at(root: &Path, need: Need) -> Result<(), EngineError> {
    let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let (resident, size, data) = (field(&status, "RssAnon:"), field(&status, "VmSize:"), field(&status, "VmData:"));
    let limits = fs::read_to_string(root.join("proc/self/limits")).unwrap_or_default();
    let asked = need.used.saturating_add(need.reserved);
    let known = [
        (cgroup(root), resident, need.used, MemoryLimit::Cgroup),
        (soft_limit(&limits, "Max address space"), size, asked, MemoryLimit::AddressSpace),
        (soft_limit(&limits, "Max data size"), data, asked, MemoryLimit::DataSize),
        (machine(root), resident, need.used, MemoryLimit::Machine),
    ];
    for (limit, now, more, by) in known {
        let need = more.saturating_add(now.unwrap_or(0));
        if let Some(limit) = limit.filter(|limit| need > *limit) {
            return Err(EngineError::MemoryLimit { need, limit, by });
        }
    }
    Ok(())
}

/// Bytes of a line such as `VmSize:   1234 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes of a line such as `Max data size   unlimited   unlimited   bytes`.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    Some(field(&text, "MemTotal:")? + field(&text, "SwapTotal:").unwrap_or(0))
}

/// The least limit of the cgroup of this process and of those that it is in.
fn cgroup(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut least: Option<u64> = None;
    for group in groups.lines() {
        let mut fields = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let places: &[(&str, &str)] = match controllers {
            "" => &[("sys/fs/cgroup", "memory.max"), ("sys/fs/cgroup/unified", "memory.max")],
            _ if controllers.split(',').any(|name| name == "memory") => {
                &[("sys/fs/cgroup/memory", "memory.limit_in_bytes")]
            }
            _ => continue,
        };
        for (mount, file) in places {
            // In a container the path may be the host's, of which only the root is mounted.
            for folder in Path::new(path.trim_start_matches('/')).ancestors() {
                let text = fs::read_to_string(root.join(mount).join(folder).join(file)).unwrap_or_default();
                // `max` is no limit.
                let limit = text.trim().parse::<u64>().ok();
                least = [least, limit].into_iter().flatten().min();
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system with these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn refused(files: &[(&str, &str)], need: u64) -> Option<(u64, MemoryLimit)> {
        match check_at(system(files).path(), Need { used: need, reserved: 0 }) {
            Ok(()) => None,
            Err(EngineError::MemoryLimit { limit, by, .. }) => Some((limit, by)),
            Err(error) => panic!("{error}"),
        }
    }

    const STATUS: (&str, &str) = ("proc/self/status", "VmSize:\t 3000 kB\nVmData:\t 2000 kB\nRssAnon:\t 1000 kB\n");

    #[test]
    fn what_is_used_counts() {
        let limits = ("proc/self/limits", "Limit  Soft Limit\nMax address space   10240000   unlimited   bytes\n");
        assert_eq!(refused(&[STATUS, limits], 7_000 * 1024), None);
        let more = refused(&[STATUS, limits], 7_001 * 1024);
        assert_eq!(more, Some((10_240_000, MemoryLimit::AddressSpace)));
        let data = ("proc/self/limits", "Max data size   2048000   unlimited   bytes\n");
        assert_eq!(refused(&[STATUS, data], 1), Some((2_048_000, MemoryLimit::DataSize)));
        let none = ("proc/self/limits", "Max data size   unlimited   unlimited   bytes\n");
        assert_eq!(refused(&[STATUS, none], u64::MAX), None);
    }

    #[test]
    fn what_is_only_reserved_counts_where_the_limit_is_on_what_is_asked_for() {
        let need = Need { used: 100, reserved: 200 };
        let group = system(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "150\n")]);
        check_at(group.path(), need).unwrap();
        let limited = system(&[("proc/self/limits", "Max data size   250   unlimited   bytes\n")]);
        let error = check_at(limited.path(), need).unwrap_err().to_string();
        assert_eq!(error, "the model needs about 1 MB, but this process may use 1 MB (`ulimit -d`)");
    }

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let version_2 = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.max", "220000000\n"),
        ];
        assert_eq!(refused(&version_2, 220_000_001), Some((220_000_000, MemoryLimit::Cgroup)));
        assert_eq!(refused(&version_2, 220_000_000), None);
        let version_1 = [
            ("proc/self/cgroup", "5:cpu,memory:/x\n4:devices:/y\n0::/\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "300\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(refused(&version_1, 301), Some((300, MemoryLimit::Cgroup)));
        let container =
            [("proc/self/cgroup", "4:memory:/docker/0123\n"), ("sys/fs/cgroup/memory/memory.limit_in_bytes", "400\n")];
        assert_eq!(refused(&container, 401), Some((400, MemoryLimit::Cgroup)));
    }

    #[test]
    fn a_machine_has_its_memory_and_swap_space() {
        let meminfo = ("proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nSwapTotal:  500 kB\n");
        assert_eq!(refused(&[meminfo], 1500 * 1024), None);
        assert_eq!(refused(&[meminfo], 1501 * 1024), Some((1500 * 1024, MemoryLimit::Machine)));
    }

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!([1, 220_000_000, 540_000_000, 1_540_000_000].map(size), ["1 MB", "220 MB", "540 MB", "1.5 GB"]);
    }
}
