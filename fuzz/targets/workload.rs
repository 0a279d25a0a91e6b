//! A workload file, whose language the first byte chooses. It is read, or place and field are named.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sagellm_fuzz::data::DataFile;
use sagellm_plan::read_workloads;

static FILES: LazyLock<[DataFile; 3]> = LazyLock::new(|| ["w.yaml", "w.toml", "w.json"].map(DataFile::new));

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    FILES[usize::from(*choice) % FILES.len()].check(bytes, |path| read_workloads(&path));
});
