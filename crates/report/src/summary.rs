//! The summary of a run: `benchmark_summary.json`.

use std::borrow::Cow;
use std::fmt;

use sagellm_core::SCHEMA_VERSION;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::judge::asked::check_asked;
use crate::judge::client::check_processor;
use crate::validity::{Code, Finding, Validity};
use crate::{Error, Manifest, WorkloadSummary};

/// All that is to be said of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Version of this format.
    pub schema_version: u32,
    /// The workloads by name, in the order in which they ran.
    pub workloads: Workloads,
    /// Sums over the workloads.
    pub overall: Overall,
    /// The verdict on the run: valid when every workload is.
    pub validity: Validity,
    /// Where the run came from; `null` when its manifest is missing.
    pub environment: Option<Manifest>,
}

/// Sums over the workloads of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overall {
    /// Workloads with results.
    pub total_workloads: u64,
    /// Measured requests.
    pub total_requests: u64,
    /// Those that succeeded.
    pub successful_requests: u64,
    /// Those that failed.
    pub failed_requests: u64,
    /// Prompt tokens of successful requests.
    pub total_input_tokens: u64,
    /// Output tokens of successful requests.
    pub total_output_tokens: u64,
}

/// Workload summaries by name, in the order in which they ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workloads(Vec<WorkloadSummary>);

impl Summary {
    /// Puts the workloads of a run together. `findings` are what was noticed while they were gathered.
    pub(crate) fn assemble(
        mut workloads: Vec<WorkloadSummary>,
        environment: Option<Manifest>,
        findings: Validity,
    ) -> Self {
        let mut validity = findings;
        match &environment {
            Some(manifest) => {
                for workload in &mut workloads {
                    note_synthetic(manifest, workload);
                }
                check_processor(manifest, &mut workloads);
                check_manifest(manifest, &workloads, &mut validity);
                check_settings(manifest, &mut validity);
                check_asked(manifest, &mut workloads, &mut validity);
            }
            None => validity.warn(Finding::new(
                Code::NoManifest,
                "there is no `manifest.json`: machine, model and command are not known",
                "keep the files of a run together",
            )),
        }
        if workloads.is_empty() {
            let remedy = "run it again, and let it end";
            validity.reject(Finding::new(Code::Unfinished, "no workload of this run has results", remedy));
        }
        for workload in &workloads {
            validity.absorb(&workload.details.validity);
        }
        Self {
            schema_version: SCHEMA_VERSION,
            overall: Overall::of(&workloads),
            workloads: Workloads(workloads),
            validity,
            environment,
        }
    }
}

impl Summary {
    /// The workload of this name alone, with what is said of it and of the run as a whole; all of them without a name.
    ///
    /// # Errors
    /// [`Error::NoWorkload`], with the names that there are.
    pub fn only(mut self, name: Option<&str>) -> Result<Self, Error> {
        let Some(name) = name else { return Ok(self) };
        let names = || self.workloads.iter().map(|workload| workload.name().to_owned()).collect();
        if self.workloads.get(name).is_none() {
            return Err(Error::NoWorkload { name: name.to_owned(), names: names() });
        }
        self.workloads.0.retain(|workload| workload.name() == name);
        self.overall = Overall::of(&self.workloads.0);
        let concerns = |finding: &Finding| finding.workload.as_deref().is_none_or(|of| of == name);
        let mut validity = Validity::default();
        self.validity.reasons.into_iter().filter(concerns).for_each(|finding| validity.reject(finding));
        self.validity.warnings.into_iter().filter(concerns).for_each(|finding| validity.warn(finding));
        self.validity.notes.into_iter().filter(concerns).for_each(|finding| validity.note(finding));
        self.validity = validity;
        Ok(self)
    }
}

fn note_synthetic(manifest: &Manifest, workload: &mut WorkloadSummary) {
    let model = &manifest.backend.model;
    if model.synthetic {
        let mut finding = Finding::new(
            Code::SyntheticWeights,
            format!(
                "the weights of `{}` are synthetic (random numbers): the speed is real, the text is not",
                model.name
            ),
            "give a real model with `--model` where the text matters",
        );
        finding.workload = Some(workload.name().to_owned());
        workload.details.validity.warn(finding);
    }
}

/// What the manifest knows and the journals cannot: workloads that never began.
fn check_manifest(manifest: &Manifest, workloads: &[WorkloadSummary], validity: &mut Validity) {
    let begun = |name: &String| workloads.iter().any(|workload| workload.name() == name);
    let missing: Vec<&str> = manifest.hashes.plans.keys().filter(|name| !begun(name)).map(String::as_str).collect();
    let remedy = "run it again, and let it end";
    if !missing.is_empty() {
        let code = if manifest.interrupted { Code::Interrupted } else { Code::Unfinished };
        let message = format!("the run ended before these workloads began: {}", missing.join(", "));
        validity.reject(Finding::new(code, message, remedy));
    } else if !manifest.finished {
        validity.reject(Finding::new(Code::Unfinished, "the run did not end properly", remedy));
    }
    for fault in &manifest.faults {
        let remedy = "report it, with the command line, and run it again";
        validity.reject(Finding::new(Code::InternalFault, format!("internal fault: {fault}"), remedy));
    }
}

/// Settings of the backend and of the machine that a reader must know of.
fn check_settings(manifest: &Manifest, validity: &mut Validity) {
    if manifest.backend.settings.get("tls_insecure").is_some_and(|value| value == "true") {
        validity.warn(Finding::new(
            Code::TlsInsecure,
            "the server's certificate was not checked: anyone could have answered",
            "leave out `--insecure`, and name the authority with `--ca-cert`",
        ));
    }
    if let Some(governor) = manifest.host.governor.as_ref().filter(|governor| *governor != "performance") {
        validity.warn(Finding::new(
            Code::PowerGovernor,
            format!("the processors' frequency governor is `{governor}`: their speed changes with the load"),
            "set it to `performance` while measuring: `cpupower frequency-set -g performance`",
        ));
    }
}

impl Overall {
    fn of(workloads: &[WorkloadSummary]) -> Self {
        let sum = |key| workloads.iter().filter_map(|workload| workload.get(key)).sum::<f64>() as u64;
        Self {
            total_workloads: workloads.len() as u64,
            total_requests: sum("total_requests"),
            successful_requests: sum("successful_requests"),
            failed_requests: sum("failed_requests"),
            total_input_tokens: sum("total_input_tokens"),
            total_output_tokens: sum("total_output_tokens"),
        }
    }
}

impl Workloads {
    /// The summaries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, WorkloadSummary> {
        self.0.iter()
    }

    /// The summary of the workload with this name.
    pub fn get(&self, name: &str) -> Option<&WorkloadSummary> {
        self.0.iter().find(|workload| workload.name() == name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Workloads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|workload| (workload.name(), workload)))
    }
}

impl<'de> Deserialize<'de> for Workloads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName;
        impl<'de> Visitor<'de> for ByName {
            type Value = Workloads;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("workloads by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Workloads, A::Error> {
                let mut workloads = Workloads::default();
                while let Some((name, workload)) = map.next_entry::<String, WorkloadSummary>()? {
                    if name != workload.name() {
                        return Err(A::Error::custom(format!("`{name}` holds workload `{}`", workload.name())));
                    }
                    if workloads.get(&name).is_some() {
                        return Err(A::Error::custom(format!("workload `{name}` is there twice")));
                    }
                    workloads.0.push(workload);
                }
                Ok(workloads)
            }
        }
        deserializer.deserialize_map(ByName)
    }
}

impl JsonSchema for Workloads {
    fn schema_name() -> Cow<'static, str> {
        "Workloads".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let workload = generator.subschema_for::<WorkloadSummary>();
        json_schema!({ "type": "object", "additionalProperties": workload })
    }
}
