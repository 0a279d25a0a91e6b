//! A plan as a file: `plan.jsonl`, and its hash.

use sagellm_core::{Plan, PlanLine, SCHEMA_VERSION};
use sha2::{Digest, Sha256};

/// What prompts and offsets are drawn with.
const GENERATOR: &str = "chacha8";

/// The plans of a run as `plan.jsonl`.
///
/// # Errors
/// None that a user can cause.
pub fn to_jsonl(plans: &[Plan]) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    let header = PlanLine::Header { schema_version: SCHEMA_VERSION, generator: GENERATOR.into() };
    write_line(&mut text, &header)?;
    for plan in plans {
        write_plan(&mut text, plan)?;
    }
    Ok(text)
}

/// SHA-256 over the lines of one plan as [`to_jsonl`] writes them: equal exactly when the requests are.
///
/// # Errors
/// None that a user can cause.
pub fn hash(plan: &Plan) -> Result<String, serde_json::Error> {
    let mut text = Vec::new();
    write_plan(&mut text, plan)?;
    Ok(Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_plan(text: &mut Vec<u8>, plan: &Plan) -> Result<(), serde_json::Error> {
    write_line(text, &PlanLine::Workload(plan.workload.clone()))?;
    for request in &plan.warmups {
        write_line(text, &PlanLine::Warmup(request.clone()))?;
    }
    for request in &plan.requests {
        write_line(text, &PlanLine::Request(request.clone()))?;
    }
    Ok(())
}

fn write_line(text: &mut Vec<u8>, line: &PlanLine) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    fn plan() -> Plan {
        let workload = builtin("short").unwrap().remove(0);
        let model =
            sagellm_model::open("synthetic:tiny", &sagellm_model::OpenOptions::default(), &sagellm_core::NoProgress);
        crate::build(&workload, &model.unwrap().tokenizer, 1024, &crate::Decoding::default()).unwrap()
    }

    #[test]
    fn the_file_reads_back_as_the_plan() {
        let plan = plan();
        let text = String::from_utf8(to_jsonl(std::slice::from_ref(&plan)).unwrap()).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str::<PlanLine>(line).unwrap());
        assert!(matches!(lines.next(), Some(PlanLine::Header { schema_version: SCHEMA_VERSION, .. })));
        let Some(PlanLine::Workload(workload)) = lines.next() else { panic!("a workload follows") };
        let (mut warmups, mut requests) = (Vec::new(), Vec::new());
        for line in lines {
            match line {
                PlanLine::Warmup(request) => warmups.push(request),
                PlanLine::Request(request) => requests.push(request),
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(Plan { workload, warmups, requests }, plan);
    }

    #[test]
    fn the_hash_tells_plans_apart() {
        let plan = plan();
        let mut other = plan.clone();
        other.requests[3].max_tokens += 1;
        assert_eq!(hash(&plan).unwrap(), hash(&plan.clone()).unwrap());
        assert_ne!(hash(&plan).unwrap(), hash(&other).unwrap());
    }
}
