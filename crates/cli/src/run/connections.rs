//! How many connections a run needs, and when.

use sagellm_plan::{Outline, PlanFile};

/// Connections that are opened ahead at most.
const MOST_AHEAD: u64 = 1024;
/// Connections that are opened ahead for an arrival process without a cap, and kept idle beside those in use.
const OPEN_LOOP: u64 = 64;

/// The connections of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connections {
    /// Known to be needed at once. An arrival process without a cap may need more.
    pub(super) at_once: usize,
    /// Opened before the first request.
    pub(super) ahead: usize,
    /// Kept idle while requests come that nothing but their times holds back.
    pub(super) reserve: usize,
}

impl Connections {
    /// Enough for each workload of a plan.
    pub(super) fn of(plan: &PlanFile) -> Self {
        let most = |of: fn(&Outline) -> u64| usize::try_from(plan.outlines().map(of).max().unwrap_or(0));
        let most = |of| most(of).unwrap_or(usize::MAX);
        Self { at_once: most(at_once), ahead: most(ahead), reserve: most(reserve) }
    }
}

fn at_once(outline: &Outline) -> u64 {
    let wanted = match outline.workload.max_concurrency {
        Some(cap) => u64::from(cap),
        None => outline.at_once.max(OPEN_LOOP),
    };
    wanted.clamp(1, outline.requests.max(1))
}

fn ahead(outline: &Outline) -> u64 {
    at_once(outline).min(MOST_AHEAD)
}

fn reserve(outline: &Outline) -> u64 {
    match outline.workload.max_concurrency {
        None if outline.at_once < outline.requests => ahead(outline),
        _ => 0,
    }
}
