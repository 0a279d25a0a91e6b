//! The ends of the answers, and their second tokens.

use super::Figures;
use crate::endings::Endings;
use crate::registry::Stat;

pub(super) fn answers(figures: &mut Figures, endings: &Endings) {
    let undefined = "no request succeeded";
    let share = endings.length_share();
    figures.set("output_length_share", share, undefined);
    figures.set("shorter_answers", share.map(|_| endings.shorter as f64), undefined);
    figures.describe("ttst", &Stat::VISIBLE, &endings.second, "no response has a second arrival");
    figures.describe("handoff_excess", &Stat::VISIBLE, &endings.excess, "no response has three arrivals");
}
