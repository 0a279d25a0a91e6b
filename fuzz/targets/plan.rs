//! A plan. It is read to its end twice with the same result, or the line that is wrong is named.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sagellm_fuzz::data::DataFile;
use sagellm_plan::PlanFile;

static FILE: LazyLock<DataFile> = LazyLock::new(|| DataFile::new("plan.jsonl"));

fuzz_target!(|bytes: &[u8]| {
    let Some(plan) = FILE.check(bytes, |path| PlanFile::open(&path)) else { return };
    for (nth, outline) in plan.outlines().enumerate() {
        let requests = plan.requests(nth).expect("it was read before");
        assert_eq!(requests.filter(|request| request.is_ok()).count() as u64, outline.requests);
    }
});
