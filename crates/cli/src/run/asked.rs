//! What requests say of how tokens are chosen, held against what a server takes: nothing of it is left out in silence.

use std::collections::BTreeMap;

use sagellm_core::{Exit, Failure, Request, Sampling};
use sagellm_http::{Profile, RequestFields};
use sagellm_plan::PlanFile;

use super::setup::Wanted;
use crate::args::RunArgs;

/// What the requests of a run say beside prompt and length.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// What some of them say of sampling.
    pub(super) sampling: Sampling,
    /// Whether some go on past an end of sequence.
    pub(super) ignore_eos: bool,
    /// Fields that somebody relies on, with their values.
    relied_on: Vec<(&'static str, String)>,
}

impl Asked {
    pub(super) fn of(args: &RunArgs, wanted: &Wanted) -> Result<Self, Failure> {
        let said: Vec<(Sampling, bool)> = match wanted {
            Wanted::Specs(specs) => specs
                .iter()
                .map(|spec| &spec.sampling)
                .map(|it| {
                    let (temperature, top_p, top_k) = (it.temperature, it.top_p, it.top_k);
                    (Sampling { temperature, top_p, top_k, ..Sampling::default() }, it.ignore_eos)
                })
                .collect(),
            Wanted::Plan(plan) => {
                firsts(plan)?.into_iter().map(|request| (request.sampling, request.ignore_eos)).collect()
            }
        };
        let mut sampling = Sampling::default();
        for (said, _) in &said {
            sampling.temperature = sampling.temperature.max(said.temperature);
            sampling.top_p = sampling.top_p.min(said.top_p);
            sampling.top_k = sampling.top_k.max(said.top_k);
        }
        let given = &args.workload.sampling;
        let relied_on = [
            (
                "temperature",
                given.temperature.is_some() || sampling.temperature != 0.0,
                sampling.temperature.to_string(),
            ),
            ("top_p", sampling.top_p != 1.0, sampling.top_p.to_string()),
            ("top_k", sampling.top_k != 0, sampling.top_k.to_string()),
            // It is the default, and where it cannot be had the run does without it, and says so.
            ("ignore_eos", given.ignore_eos == Some(true), "true".into()),
        ];
        Ok(Self {
            sampling,
            ignore_eos: said.iter().any(|(_, ignore_eos)| *ignore_eos),
            relied_on: relied_on.into_iter().filter(|(_, is, _)| *is).map(|(name, _, value)| (name, value)).collect(),
        })
    }

    /// Refuses what servers of this kind do not read.
    pub(super) fn check_profile(&self, profile: &Profile, fields: &RequestFields) -> Result<(), Failure> {
        let Some((name, value)) = self.left_out(fields) else { return Ok(()) };
        let message = format!("`{}` servers do not read `{name}`", profile.name);
        Err(Failure::new(Exit::Usage, message).with_hint(format!(
            "send it anyway with `--extra-body '{{\"{name}\": {value}}}'`, or name the server's kind, such as \
             `--backend vllm`"
        )))
    }

    /// Refuses what the probe found this server not to take.
    pub(super) fn check_probe(&self, fields: &RequestFields, found: &BTreeMap<String, String>) -> Result<(), Failure> {
        let Some((name, _)) = self.left_out(fields) else { return Ok(()) };
        let noted = [format!("probe.{name}"), "probe.optional_fields".into()];
        let why = noted.iter().find_map(|note| found.get(note)).map_or("it has no effect", String::as_str);
        let option = name.replace('_', "-");
        let message = format!("the server does not take `{name}`: {why}");
        Err(Failure::new(Exit::Usage, message).with_hint(format!("leave `--{option}` out, and it is not asked for")))
    }

    /// The first field that somebody relies on and that would not be sent.
    fn left_out(&self, fields: &RequestFields) -> Option<&(&'static str, String)> {
        self.relied_on.iter().find(|(name, _)| {
            let sent = match *name {
                "temperature" => fields.temperature,
                "top_p" => fields.top_p,
                "top_k" => fields.top_k,
                _ => fields.ignore_eos,
            };
            !sent && !fields.extra_body.contains_key(*name)
        })
    }
}

/// The first request of each workload of a plan. All of a workload say the same but for prompt and length.
pub(super) fn firsts(plan: &PlanFile) -> Result<Vec<Request>, Failure> {
    let first = |nth| plan.requests(nth)?.next().transpose();
    (0..plan.outlines().count()).filter_map(|nth| first(nth).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use sagellm_http::{EndpointType, Profile};

    use super::*;

    #[test]
    fn what_somebody_relies_on_is_not_left_out() {
        let openai = Profile::named("openai").unwrap();
        let mut fields = openai.fields(EndpointType::Completions);
        let asked = |names: &[&'static str]| Asked {
            sampling: Sampling::default(),
            ignore_eos: true,
            relied_on: names.iter().map(|name| (*name, "5".into())).collect(),
        };
        asked(&["temperature", "top_p"]).check_profile(openai, &fields).unwrap();
        let failure = asked(&["top_p", "top_k"]).check_profile(openai, &fields).unwrap_err();
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Usage, "`openai` servers do not read `top_k`"));
        assert!(failure.hint.unwrap().contains(r#"`--extra-body '{"top_k": 5}'`"#));
        fields.extra_body.insert("top_k".into(), 5.into());
        asked(&["top_k"]).check_profile(openai, &fields).unwrap();
    }

    #[test]
    fn what_the_server_at_hand_does_not_take_is_told_with_its_words() {
        let vllm = Profile::named("vllm").unwrap();
        let mut fields = vllm.fields(EndpointType::Completions);
        let found = BTreeMap::from([("probe.top_k".to_owned(), "refused: top_k is unknown".to_owned())]);
        let asked = Asked { sampling: Sampling::default(), ignore_eos: true, relied_on: vec![("top_k", "5".into())] };
        asked.check_probe(&fields, &found).unwrap();
        fields.top_k = false;
        let failure = asked.check_probe(&fields, &found).unwrap_err();
        assert_eq!(failure.message, "the server does not take `top_k`: refused: top_k is unknown");
        assert_eq!(failure.hint.as_deref(), Some("leave `--top-k` out, and it is not asked for"));
    }
}
