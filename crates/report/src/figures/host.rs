//! The figures of the machine.

use sagellm_core::Measured;
use sagellm_core::journal::Close;

use super::{Figures, NO_CLOSE};

pub(super) fn compute(figures: &mut Figures, output_tokens: u64, close: Option<&Close>) {
    let unended = || Measured::unknown(NO_CLOSE);
    let energy = close.map_or_else(unended, |close| close.host.energy_joules.clone());
    figures.set_measured("other_cpu_share", &close.map_or_else(unended, |close| close.host.other_cpu_share.clone()));
    figures.set_measured("energy_joules", &energy);
    match output_tokens {
        0 => figures.set("joules_per_output_token", None, "no output token came"),
        tokens => figures.set_measured("joules_per_output_token", &energy.map(|joules| joules / tokens as f64)),
    }
}
