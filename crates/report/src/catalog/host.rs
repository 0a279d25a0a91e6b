//! The entries about the machine.

use super::List;
use crate::registry::{Better, Group, Unit};

impl List {
    pub(super) fn host(&mut self) {
        self.add(
            Group::Host,
            "other_cpu_share",
            Unit::Share,
            Better::Lower,
            "share of the processor time of the whole machine, idle time included, that went to others than this program \
             and the server: other programs, and other virtual machines",
            "the system does not tell, the server's process is not known (it would be taken for others), or the run is \
             too short for the system's ticks",
        );
        const NO_ENERGY: &str = "the processors show no counters (usual in virtual machines), only root may read them, \
                                 or the server's process is not known and may run elsewhere";
        self.add(
            Group::Host,
            "energy_joules",
            Unit::Joules,
            Better::Lower,
            "energy of all processor packages and their memory over the window (RAPL), whoever used it; accelerators are \
             not part of it",
            NO_ENERGY,
        );
        self.add(
            Group::Host,
            "joules_per_output_token",
            Unit::Joules,
            Better::Lower,
            "energy_joules / total_output_tokens",
            &format!("no output token came, or {NO_ENERGY}"),
        );
    }
}
