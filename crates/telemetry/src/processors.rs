//! What all processors of the machine did, whoever made them.

/// Ticks of `/proc/stat` per second: the kernel's `USER_HZ`, which is the same on every machine.
const TICKS: f64 = 100.0;

/// Fewest ticks of all processors together from which a share can be told: one more or less is then half a percent.
const FEWEST_TICKS: u64 = 200;

/// Processor time of the whole machine since it was started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Processors {
    /// Spent on programs, also on those of other virtual machines on the same hardware.
    busy: u64,
    all: u64,
}

impl Processors {
    /// As it is now. Linux only.
    pub(crate) fn now() -> Result<Self, String> {
        const FILE: &str = "/proc/stat";
        let text = std::fs::read_to_string(FILE).map_err(|_| "this system does not tell what its processors do")?;
        Self::parse(&text).ok_or_else(|| format!("`{FILE}` holds no processor time"))
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user and nice.
    /// Interrupts are left out, since they come from what is measured as well, and no process is charged with them.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
        (ticks.len() >= 4).then(|| Self { busy: at(0) + at(1) + at(2) + at(7), all: ticks.iter().sum() })
    }

    /// The share of all processor time since `before` that went to others than those who used `own_seconds`.
    pub(crate) fn share_of_others(&self, before: &Self, own_seconds: f64) -> Result<f64, String> {
        let (busy, all) = (self.busy.saturating_sub(before.busy), self.all.saturating_sub(before.all));
        if all < FEWEST_TICKS {
            return Err("the run is too short for the ticks in which the system counts processor time".into());
        }
        Ok(((busy as f64 - own_seconds * TICKS) / all as f64).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_what_is_left() {
        let before = Processors::parse("cpu  100 10 50 1000 20 7 3 5 40 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(before, Processors { busy: 165, all: 1195 });
        // 400 ticks later 150 of them busy, of which 1.2 s were our own.
        let after = Processors::parse("cpu  200 10 90 1240 20 10 10 15 40 0\n").unwrap();
        assert_eq!(after.share_of_others(&before, 1.2), Ok(30.0 / 400.0));
        assert_eq!(after.share_of_others(&before, 9.0), Ok(0.0));
        assert!(after.share_of_others(&after, 0.0).unwrap_err().contains("too short"));
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        for text in ["", "cpu0 1 2 3 4\n", "cpu 1 2\n", "cpu a b c d\n"] {
            assert_eq!(Processors::parse(text), None, "{text}");
        }
    }
}
