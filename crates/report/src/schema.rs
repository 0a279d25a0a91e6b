//! JSON schemas of everything that is persisted.

use sagellm_core::PlanLine;
use sagellm_core::journal::Line;
use schemars::{JsonSchema, schema_for};

use crate::compare::Comparison;
use crate::sweep::Sweep;
use crate::{Error, Manifest, Summary, WorkloadSummary};

/// File name and content of every schema.
///
/// # Errors
/// None that a user can cause.
pub fn schemas() -> Result<Vec<(&'static str, String)>, Error> {
    Ok(vec![
        ("benchmark_summary.schema.json", schema::<Summary>()?),
        ("workload_metrics.schema.json", schema::<WorkloadSummary>()?),
        ("manifest.schema.json", schema::<Manifest>()?),
        ("records.schema.json", schema::<Line>()?),
        ("sweep.schema.json", schema::<Sweep>()?),
        ("plan.schema.json", schema::<PlanLine>()?),
        ("comparison.schema.json", schema::<Comparison>()?),
    ])
}

fn schema<T: JsonSchema>() -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(&schema_for!(T))?;
    text.push('\n');
    Ok(text)
}
