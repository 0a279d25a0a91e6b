//! Energy of the processors, as their own counters tell it (RAPL: Linux's `powercap`, of Intel and AMD).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sagellm_core::{Nanos, seconds};

/// Where the kernel shows the counters.
pub(crate) const POWERCAP: &str = "/sys/class/powercap";

/// Time between two readings at most, so that no counter goes round twice unseen.
const READ_EVERY: Nanos = 10_000_000_000;

/// More than one package or its memory takes.
const MOST_WATTS: f64 = 1000.0;

/// Adds up what all packages and their memory use from when it is made.
#[derive(Debug)]
pub(crate) struct Meter {
    counters: Vec<Counter>,
    joules: f64,
    read_at: Nanos,
    /// Why the sum is not known.
    lost: Option<String>,
}

#[derive(Debug)]
struct Counter {
    path: PathBuf,
    /// It begins again at 0 after so many microjoules.
    range: u64,
    last: u64,
}

impl Meter {
    /// Reads the counters under `root` for the first time.
    pub(crate) fn new(root: &Path, now: Nanos) -> Result<Self, String> {
        const NONE: &str = "the system shows no energy counters of its processors (usual in virtual machines)";
        let mut counters = Vec::new();
        for entry in fs::read_dir(root).map_err(|_| NONE)?.flatten() {
            let folder = entry.path();
            // `intel-rapl:0` is a package, whoever made it, `intel-rapl:0:1` a part of it. `intel-rapl-mmio:0` is the
            // same package again.
            let is_rapl = entry.file_name().to_string_lossy().starts_with("intel-rapl:");
            let name = fs::read_to_string(folder.join("name")).unwrap_or_default();
            // The cores are a part of the package, memory is not; `psys` would count both again.
            if is_rapl && (name.starts_with("package") || name.trim() == "dram") {
                counters.push(Counter::new(&folder)?);
            }
        }
        match counters.is_empty() {
            true => Err(NONE.into()),
            false => Ok(Self { counters, joules: 0.0, read_at: now, lost: None }),
        }
    }

    /// Adds what was used since the last reading.
    pub(crate) fn read(&mut self, now: Nanos) {
        let waited = seconds(now.saturating_sub(self.read_at));
        self.read_at = now;
        for counter in &mut self.counters {
            match counter.used(waited) {
                Ok(microjoules) => self.joules += microjoules as f64 / 1e6,
                Err(reason) => self.lost = Some(reason),
            }
        }
    }

    /// What was used up to the last reading.
    pub(crate) fn joules(&self) -> Result<f64, String> {
        self.lost.clone().map_or(Ok(self.joules), Err)
    }

    pub(crate) fn is_due(&self, now: Nanos) -> bool {
        now.saturating_sub(self.read_at) >= READ_EVERY
    }
}

impl Counter {
    fn new(folder: &Path) -> Result<Self, String> {
        let path = folder.join("energy_uj");
        let range = read(&folder.join("max_energy_range_uj"))?;
        Ok(Self { last: read(&path)?, path, range })
    }

    /// Microjoules since the last reading, `waited` seconds ago.
    fn used(&mut self, waited: f64) -> Result<u64, String> {
        let now = read(&self.path)?;
        let last = std::mem::replace(&mut self.last, now);
        if waited * MOST_WATTS * 1e6 > self.range as f64 {
            return Err(format!("an energy counter was not read for {waited:.0} s, and may have gone round unseen"));
        }
        Ok(if now >= last { now - last } else { (self.range - last.min(self.range)).saturating_add(now) })
    }
}

fn read(path: &Path) -> Result<u64, String> {
    let failed = |why: &str| format!("`{}` {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => failed("may be read by root only"),
        _ => failed(&format!("cannot be read: {error}")),
    })?;
    text.trim().parse().map_err(|_| failed("holds no number"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    /// A folder that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static MADE: AtomicU32 = AtomicU32::new(0);
            let name = format!("sagellm-energy-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn domain(root: &Path, folder: &str, name: &str, microjoules: u64) {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        fs::write(folder.join("max_energy_range_uj"), "262143328850\n").unwrap();
        fs::write(folder.join("energy_uj"), format!("{microjoules}\n")).unwrap();
    }

    #[test]
    fn packages_and_their_memory_are_added_up_once() {
        let root = Scratch::new();
        let parts = [
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:1", "dram"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0"),
        ];
        let set = |microjoules| parts.iter().for_each(|(folder, name)| domain(&root.0, folder, name, microjoules));
        set(5_000_000);
        let mut meter = Meter::new(&root.0, 0).unwrap();
        assert_eq!(meter.joules(), Ok(0.0));
        set(7_000_000);
        meter.read(SECOND);
        set(7_500_000);
        meter.read(2 * SECOND);
        assert_eq!(meter.joules(), Ok(3.0 * 2.5), "two packages and the memory of one");
    }

    #[test]
    fn a_counter_that_goes_round_goes_on() {
        let root = Scratch::new();
        domain(&root.0, "intel-rapl:0", "package-0", 262_143_000_000);
        let mut meter = Meter::new(&root.0, 0).unwrap();
        domain(&root.0, "intel-rapl:0", "package-0", 671_150);
        meter.read(SECOND);
        assert_eq!(meter.joules(), Ok(1.0));
        // At a kilowatt it goes round in 262 s.
        meter.read(300 * SECOND);
        assert_eq!(
            meter.joules().unwrap_err(),
            "an energy counter was not read for 299 s, and may have gone round unseen"
        );
    }

    #[test]
    fn what_cannot_be_read_has_a_reason() {
        let root = Scratch::new();
        for root in [root.0.to_owned(), root.0.join("none")] {
            assert!(Meter::new(&root, 0).unwrap_err().contains("shows no energy counters"));
        }
        domain(&root.0, "intel-rapl:0", "package-0", 1);
        let counter = root.0.join("intel-rapl:0/energy_uj");
        fs::write(&counter, "much").unwrap();
        assert!(Meter::new(&root.0, 0).unwrap_err().ends_with("energy_uj` holds no number"));
        fs::write(&counter, "1").unwrap();
        let mut meter = Meter::new(&root.0, 0).unwrap();
        fs::remove_file(&counter).unwrap();
        meter.read(SECOND);
        assert!(meter.joules().unwrap_err().contains("energy_uj` cannot be read"));
    }
}
