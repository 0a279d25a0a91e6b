//! A workload made concrete: which requests, and when.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::tagged::{self, Tagged};
use crate::{Failure, Request, Workload};

/// The measured requests of a plan by ascending offset, made or read one at a time, so that a plan of a million requests
/// takes no more memory than one of ten.
pub type Requests = Box<dyn Iterator<Item = Result<Request, Failure>> + Send>;

/// Makes a request for a warm-up: as long as the measured request at the place given, counted from 0, with its offset and a
/// prompt of its own. `None` when no measured request has that place.
pub type Warmups = Box<dyn FnMut(u64) -> Result<Option<Request>, Failure> + Send>;

/// The exact requests of a workload.
pub struct Plan {
    /// What the requests were made from.
    pub workload: Workload,
    /// What is sent before the measured ones.
    pub warmups: Warmups,
    /// The measured requests.
    pub requests: Requests,
}

impl Plan {
    /// A plan whose requests are at hand, without a warm-up.
    pub fn of(workload: Workload, requests: Vec<Request>) -> Self {
        Self { workload, warmups: Box::new(|_| Ok(None)), requests: Box::new(requests.into_iter().map(Ok)) }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("workload", &self.workload).finish_non_exhaustive()
    }
}

/// One line of `plan.jsonl`. A header comes first; each workload is followed by its requests.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum PlanLine {
    /// The first line.
    Header(PlanHeader),
    /// What the requests below were made from.
    Workload(Workload),
    /// A measured request.
    Request(Request),
}

impl<'de> Tagged<'de> for PlanLine {
    const TAGS: &'static [&'static str] = &["header", "workload", "request"];

    fn rest<D: Deserializer<'de>>(tag: &str, rest: D) -> Result<Option<Self>, D::Error> {
        Ok(Some(match tag {
            "header" => Self::Header(PlanHeader::deserialize(rest)?),
            "workload" => Self::Workload(Workload::deserialize(rest)?),
            "request" => Self::Request(Request::deserialize(rest)?),
            _ => return Ok(None),
        }))
    }
}

impl<'de> Deserialize<'de> for PlanLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tagged::read(deserializer)
    }
}

/// What a plan as a whole was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanHeader {
    /// [`SCHEMA_VERSION`](crate::SCHEMA_VERSION).
    pub schema_version: u32,
    /// The generator that prompts and offsets were drawn with.
    pub generator: String,
    /// Fingerprint of the tokenizer whose ids the prompts hold.
    pub tokenizer: String,
    /// The files that prompts were taken from.
    pub data: Vec<DataFile>,
}

/// A file that prompts were taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DataFile {
    /// Its name, without the folder.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}
