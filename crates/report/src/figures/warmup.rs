//! What the warm-up cost.

use sagellm_core::journal::Warmup;
use sagellm_core::seconds;

use super::Figures;

pub(super) fn warmup(figures: &mut Figures, warmup: Option<&Warmup>) {
    let values = [
        ("warmup_requests", warmup.map(|it| it.requests as f64)),
        ("warmup_waves", warmup.map(|it| it.waves.len() as f64)),
        ("warmup_at_once", warmup.map(|it| it.at_once as f64)),
        ("warmup_longest_output", warmup.map(|it| it.longest_output.into())),
        ("warmup_s", warmup.map(|it| seconds(it.duration_ns))),
    ];
    for (key, value) in values {
        figures.set(key, value, "the program that wrote the journal did not keep it");
    }
}
