//! What the requests of a result meant to the server: two that meant different things are not compared unasked.

use std::collections::{BTreeMap, BTreeSet};

/// Fields that say the same by another name, or say how the answer comes but not which.
const NEUTRAL: [&str; 7] =
    ["model", "prompt", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options"];

/// What is known of the requests: by what it is about, what it was, over all runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Semantics(BTreeMap<String, BTreeSet<String>>);

impl Semantics {
    /// As the settings in a manifest have it. The CPU engine has no such settings.
    pub(super) fn of(settings: &BTreeMap<String, String>) -> Self {
        let mut known = BTreeMap::new();
        if let Some(endpoint) = settings.get("endpoint_type") {
            known.insert("endpoint".into(), BTreeSet::from([endpoint.clone()]));
        }
        if let Some(fields) = settings.get("request_fields") {
            let mut fields: BTreeSet<&str> = fields.split_whitespace().collect();
            fields.retain(|name| !NEUTRAL.contains(name));
            // An answer that does not end by itself has all of its tokens.
            if fields.contains("ignore_eos") {
                fields.remove("min_tokens");
            }
            let fields = if fields.is_empty() { "none".into() } else { Vec::from_iter(fields).join(" ") };
            known.insert("optional fields".into(), BTreeSet::from([fields]));
        }
        Self(known)
    }

    /// Whether the requests of a workload asked for answers that do not end by themselves.
    pub(super) fn heed(&mut self, workload: &str, ignore_eos: &BTreeSet<bool>) {
        let words = ignore_eos.iter().map(|asked| if *asked { "on" } else { "off" }.to_owned());
        self.0.entry(format!("ignore_eos of {workload}")).or_default().extend(words);
    }

    /// That of further runs.
    pub(super) fn add(&mut self, other: Self) {
        for (what, values) in other.0 {
            self.0.entry(what).or_default().extend(values);
        }
    }

    /// What differs, of that which both know.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let words = |values: &BTreeSet<String>| Vec::from_iter(values.iter().map(String::as_str)).join(", ");
        let differ = |(what, own): (&String, &BTreeSet<String>)| {
            let others = other.0.get(what).filter(|others| *others != own && !others.is_empty() && !own.is_empty())?;
            Some(format!("{what}: {} against {}", words(own), words(others)))
        };
        self.0.iter().filter_map(differ).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(endpoint: &str, fields: &str) -> Semantics {
        let settings = [("endpoint_type", endpoint), ("request_fields", fields), ("url", "http://h")];
        Semantics::of(&settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn names_of_servers_are_no_difference_and_meanings_are() {
        let vllm = of("completions", "model prompt max_tokens ignore_eos min_tokens temperature stream stream_options");
        let sagellm = of("completions", "model prompt max_tokens ignore_eos temperature stream");
        assert_eq!(vllm.differences(&sagellm), Vec::<String>::new());
        let chat = of("chat", "model messages max_completion_tokens temperature stream");
        assert_eq!(
            vllm.differences(&chat),
            ["endpoint: completions against chat", "optional fields: ignore_eos temperature against temperature"]
        );
        assert_eq!(vllm.differences(&Semantics::default()), Vec::<String>::new(), "not known is no difference");
        let (mut on, mut off) = (Semantics::default(), Semantics::default());
        on.heed("short_input", &BTreeSet::from([true]));
        off.heed("short_input", &BTreeSet::from([false]));
        assert_eq!(on.differences(&off), ["ignore_eos of short_input: on against off"]);
    }
}
