//! The machine that a run took place on.

use sagellm_core::Measured;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, System};

use crate::process::measured;

/// What of the machine bears on speed. It names neither the machine nor its user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Operating system and its version, such as `Debian GNU/Linux 13`.
    pub os: Measured<String>,
    /// Version of the kernel.
    pub kernel: Measured<String>,
    /// Architecture that the program was built for, such as `x86_64`.
    pub arch: String,
    /// The processor by its own name.
    pub cpu_model: Measured<String>,
    /// Logical processors of the machine.
    pub logical_cpus: Measured<u32>,
    /// Of these, those that this process may use (affinity and container limits).
    pub available_cpus: Measured<u32>,
    /// Memory of the machine in bytes.
    pub memory_bytes: Measured<u64>,
    /// Frequency governor of the first processor, such as `performance`.
    pub cpu_governor: Measured<String>,
    /// Runnable tasks, averaged over the last minute: other load on the machine, when read before a run.
    pub load_average: Measured<f64>,
    /// Equal for machines with the same processor model, number of processors and memory in whole GiB.
    pub fingerprint: String,
}

/// Looks at the machine, now.
pub fn host() -> Host {
    let (cpu_model, logical_cpus, memory_bytes) = match System::new() {
        Ok(mut system) => {
            system.refresh_cpu_list(CpuRefreshKind::nothing());
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
            (
                known(brand.filter(|name| !name.is_empty()), "the processor does not tell its name"),
                known(u32::try_from(system.cpus().len()).ok().filter(|n| *n > 0), "the processors could not be listed"),
                known(Some(system.total_memory()).filter(|n| *n > 0), "the size of memory could not be read"),
            )
        }
        Err(error) => {
            let reason = error.to_string();
            (Measured::unknown(&reason), Measured::unknown(&reason), Measured::unknown(&reason))
        }
    };
    let available = std::thread::available_parallelism().map_err(|error| error.to_string());
    let fingerprint = fingerprint(cpu_model.value.as_deref(), logical_cpus.value, memory_bytes.value);
    Host {
        os: measured(System::long_os_version().map_err(|error| error.to_string())),
        kernel: measured(System::kernel_version().map_err(|error| error.to_string())),
        arch: std::env::consts::ARCH.into(),
        cpu_model,
        logical_cpus,
        available_cpus: measured(available.map(|n| u32::try_from(n.get()).unwrap_or(u32::MAX))),
        memory_bytes,
        cpu_governor: governor(),
        load_average: measured(System::load_average().map(|load| load.one).map_err(|error| error.to_string())),
        fingerprint,
    }
}

fn known<T>(value: Option<T>, otherwise: &str) -> Measured<T> {
    measured(value.ok_or_else(|| otherwise.into()))
}

fn governor() -> Measured<String> {
    const FILE: &str = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    match std::fs::read_to_string(FILE) {
        Ok(name) => Measured::known(name.trim().into()),
        Err(_) => Measured::unknown("the system does not show a frequency governor (usual in virtual machines)"),
    }
}

/// FNV-1a, 64 bits, over the words. Memory counts in whole GiB, because a kernel update changes the last megabytes.
fn fingerprint(cpu_model: Option<&str>, logical_cpus: Option<u32>, memory_bytes: Option<u64>) -> String {
    let gib = memory_bytes.map(|bytes| (bytes as f64 / f64::from(1 << 30)).round());
    let words = format!("{}|{logical_cpus:?}|{gib:?}", cpu_model.unwrap_or("?"));
    let hash = words
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let host = host();
        let (logical, available) = (host.logical_cpus.value.unwrap(), host.available_cpus.value.unwrap());
        assert!(available >= 1 && available <= logical, "{available} of {logical}");
        assert!(host.memory_bytes.value.unwrap() > 1 << 28);
        assert!(host.os.value.is_some() && host.kernel.value.is_some());
        for (value, reason) in [
            (host.cpu_model.value.as_ref(), host.cpu_model.reason.as_ref()),
            (host.cpu_governor.value.as_ref(), host.cpu_governor.reason.as_ref()),
        ] {
            assert_ne!(value.is_some(), reason.is_some(), "either a value or a reason");
            assert!(value.is_none_or(|text| !text.is_empty()));
        }
        let text = serde_json::to_string(&host).unwrap();
        assert_eq!(serde_json::from_str::<Host>(&text).unwrap(), host);
    }

    #[test]
    fn the_fingerprint_is_of_the_hardware_and_stays() {
        let print = |model, cpus, memory| fingerprint(Some(model), Some(cpus), Some(memory));
        let base = print("CPU X", 8, 16 << 30);
        assert_eq!(base, "4574d1afcc49c2f6");
        assert_eq!(base, print("CPU X", 8, (16 << 30) - (100 << 20)), "a few megabytes less");
        assert_ne!(base, print("CPU Y", 8, 16 << 30));
        assert_ne!(base, print("CPU X", 4, 16 << 30));
        assert_ne!(base, print("CPU X", 8, 32 << 30));
        assert_ne!(base, fingerprint(None, Some(8), Some(16 << 30)));
    }
}
