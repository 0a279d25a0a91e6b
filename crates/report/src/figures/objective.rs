//! The figures of the service level objective and of the steady window.

use sagellm_core::{Limited, OutcomeKind, seconds};

use super::{Figures, value_of};
use crate::registry::Stat;
use crate::sample::Sample;

pub(super) fn goodput(figures: &mut Figures, sample: &Sample) {
    const KEYS: [&str; 3] = ["slo_attainment_ttft", "slo_attainment_tbt", "slo_attainment_e2e"];
    let Some(goodput) = &sample.goodput else {
        let reason = "no limits were set with `--goodput`";
        for key in ["goodput_rps", "slo_attainment"].into_iter().chain(KEYS) {
            figures.set(key, None, reason);
        }
        return;
    };
    let window = sample.throughput.window.map(|(first, last)| seconds(last - first));
    let rate = window.filter(|window| *window > 0.0).map(|window| goodput.good as f64 / window);
    figures.set("goodput_rps", rate, "no request was sent, or the window has no length");
    let judged = sample.count(OutcomeKind::Success) + sample.failed();
    let share = |kept: u64| (judged > 0).then(|| kept as f64 / judged as f64);
    figures.set("slo_attainment", share(goodput.good), "no request succeeded or failed");
    for ((key, limited), kept) in KEYS.into_iter().zip(Limited::ALL).zip(goodput.kept) {
        match goodput.slo.limit(limited) {
            Some(_) => figures.set(key, share(kept), "no request succeeded or failed"),
            None => figures.set(key, None, "no limit of it was set"),
        }
    }
}

pub(super) fn steady(figures: &mut Figures, sample: &Sample) {
    let steady = sample.steady.as_ref();
    let why = steady.err().map(|why| why.reason()).unwrap_or_default();
    let steady = steady.ok();
    let mut set = |key: &str, value: Option<f64>| figures.set(key, value, &why);
    set("steady_start_s", steady.map(|it| it.start_s));
    set("steady_time_s", steady.map(|it| it.length_s));
    set("steady_requests", steady.map(|it| it.ended as f64));
    set("steady_request_throughput_rps", steady.map(|it| it.ended as f64 / it.length_s));
    set("steady_output_throughput_tps", steady.map(|it| it.output_tokens as f64 / it.length_s));
    for quantity in ["ttft", "tbt", "e2e"] {
        let values = steady.map(|it| match quantity {
            "ttft" => &it.ttft,
            "tbt" => &it.tbt,
            _ => &it.e2e,
        });
        let reason = match (values, quantity) {
            (None, _) => &why,
            (Some(_), "tbt") => "every answer to a request sent in the steady window came in one chunk",
            (Some(_), _) => "no successful request with a token was sent in the steady window",
        };
        let sorted = values.map(|values| (values, values.ascending()));
        for stat in Stat::STEADY {
            let value = sorted.as_ref().and_then(|(values, ascending)| value_of(stat, values, ascending));
            figures.set(&format!("steady_{}", stat.key(quantity)), value, reason);
        }
    }
    let little = steady.and_then(|it| it.little);
    let reason = if steady.is_some() { "nothing was in flight in the steady window" } else { &why };
    figures.set("littles_law_residual", little, reason);
}
