//! What a server says of itself.

use serde_json::Value;

use super::ProbeError;
use super::ProbeOptions;
use super::patience::Patience;
use crate::{BlockingClient, Profile};

/// A model that a server lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedModel {
    /// The name that requests say.
    pub id: String,
    /// Other names that it answers to.
    pub aliases: Vec<String>,
    /// Folder or hub id that it was loaded from, where the server tells.
    pub root: Option<String>,
    /// The model that it adapts, where it is an adapter and the server tells.
    pub parent: Option<String>,
    /// Longest sequence in tokens, where the server tells.
    pub context_length: Option<u32>,
}

/// The version, from the first place that has it. A server that does not tell is none the worse.
pub(super) fn version(client: &BlockingClient, profile: &Profile, patience: &Patience) -> Option<String> {
    profile.version.iter().find_map(|(path, pointer)| {
        let answer = client.get(path, patience.page()).ok().filter(crate::Answer::is_success)?;
        let body: Value = serde_json::from_str(&answer.body).ok()?;
        Some(body.pointer(pointer)?.as_str()?.to_owned())
    })
}

/// The models; none where the server has no such list.
pub(super) fn models(
    client: &BlockingClient,
    profile: &Profile,
    patience: &Patience,
) -> Result<Vec<ServedModel>, ProbeError> {
    let url = client.target().shown(profile.models);
    let answer = match client.get(profile.models, patience.page()) {
        Ok(answer) => answer,
        Err(why) => return Err(ProbeError::NoAnswer { url, why }),
    };
    if let Some(moved) = ProbeError::moved(&url, &answer) {
        return Err(moved);
    }
    match answer.status {
        200..=299 => list(&answer.body).map_err(|why| ProbeError::Unusable { url, why }),
        404 | 405 | 501 => Ok(Vec::new()),
        status @ (401 | 403) => Err(ProbeError::Access { url, status }),
        status => Err(ProbeError::Unusable { url, why: format!("status {status}: {}", answer.message()) }),
    }
}

fn list(body: &str) -> Result<Vec<ServedModel>, String> {
    let body: Value = serde_json::from_str(body).map_err(|error| format!("it is no JSON: {error}"))?;
    let models = body.get("data").and_then(Value::as_array).ok_or("it has no list `data`")?;
    models.iter().map(|model| served(model).ok_or_else(|| "a model has no `id`".into())).collect()
}

fn served(model: &Value) -> Option<ServedModel> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    // vLLM and SGLang, then llama.cpp.
    let length = ["/max_model_len", "/meta/n_ctx"].into_iter().find_map(|place| model.pointer(place)?.as_u64());
    Some(ServedModel {
        id: text(model.get("id")?)?,
        aliases: model.get("aliases").and_then(Value::as_array).into_iter().flatten().filter_map(text).collect(),
        root: model.get("root").and_then(text),
        parent: model.get("parent").and_then(text),
        context_length: length.and_then(|length| u32::try_from(length).ok()),
    })
}

/// The model asked for, or else the first. A server that lists none is taken at the word of the one who asks. A server
/// that was launched with a model may list it under another name, with the old one as its root.
pub(super) fn choose(
    models: &[ServedModel],
    options: &ProbeOptions,
    url: impl FnOnce() -> String,
) -> Result<ServedModel, ProbeError> {
    match (options.model.as_deref(), models) {
        (None, []) => Err(ProbeError::NoModel { url: url() }),
        (None, [first, ..]) => Ok(first.clone()),
        (Some(asked), []) => Ok(ServedModel { id: asked.into(), ..ServedModel::default() }),
        (Some(asked), models) => {
            let answers = |model: &&ServedModel| model.id == asked || model.aliases.iter().any(|alias| alias == asked);
            if let Some(model) = models.iter().find(answers) {
                return Ok(ServedModel { id: asked.into(), ..model.clone() });
            }
            let loaded = |model: &&ServedModel| model.root.as_deref() == Some(asked);
            let other = models.iter().find(loaded).or(models.first()).filter(|_| options.or_first);
            other.cloned().ok_or_else(|| ProbeError::UnknownModel {
                asked: asked.into(),
                served: models.iter().map(|model| model.id.clone()).collect(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_real_servers_are_read() {
        let vllm = list(
            r#"{"object":"list","data":[{"id":"smollm2","object":"model","owned_by":"vllm",
            "root":"models/smollm2-135m-hf","parent":null,"max_model_len":2048,"permission":[]}]}"#,
        );
        let expected = ServedModel {
            id: "smollm2".into(),
            aliases: Vec::new(),
            root: Some("models/smollm2-135m-hf".into()),
            parent: None,
            context_length: Some(2048),
        };
        assert_eq!(vllm.unwrap(), [expected]);
        let llama = list(
            r#"{"models":[{"name":"smollm2"}],"object":"list","data":[{"id":"smollm2","aliases":["small"],
            "meta":{"n_ctx":2048,"n_ctx_train":8192}}]}"#,
        )
        .unwrap();
        assert_eq!((llama[0].context_length, &llama[0].aliases), (Some(2048), &vec!["small".to_owned()]));
    }

    #[test]
    fn an_adapter_tells_its_model() {
        let models =
            list(r#"{"data":[{"id":"base","parent":null},{"id":"ad","root":"./lora","parent":"base"}]}"#).unwrap();
        assert_eq!((models[0].parent.as_deref(), models[1].parent.as_deref()), (None, Some("base")));
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        for (body, why) in
            [(r#"{"models": []}"#, "it has no list `data`"), (r#"{"data": [{"name": "x"}]}"#, "a model has no `id`")]
        {
            assert_eq!(list(body).unwrap_err(), why);
        }
        assert!(list("<html>").unwrap_err().starts_with("it is no JSON: "));
    }

    #[test]
    fn the_first_model_is_taken_unless_one_is_named() {
        let named = |id: &str, alias: &str| ServedModel {
            id: id.into(),
            aliases: vec![alias.into()],
            root: Some(format!("models/{id}")),
            ..ServedModel::default()
        };
        let models = [named("a", "x"), named("b", "y")];
        let url = || "http://h/v1/models".to_owned();
        let options = |asked: Option<&str>| ProbeOptions {
            model: asked.map(str::to_owned),
            ..ProbeOptions::new(&crate::PROFILES[0], crate::EndpointType::Completions)
        };
        let chosen = |asked| choose(&models, &options(asked), url).map(|model| model.id);
        assert_eq!(chosen(None).unwrap(), "a");
        assert_eq!(chosen(Some("b")).unwrap(), "b");
        assert_eq!(chosen(Some("y")).unwrap(), "y", "an alias is what requests say");
        let error = chosen(Some("c")).unwrap_err().to_string();
        assert_eq!(error, "the server does not serve the model `c`; it serves `a`, `b`");
        assert_eq!(choose(&[], &options(None), url).unwrap_err().to_string(), "`http://h/v1/models` lists no model");
        assert_eq!(choose(&[], &options(Some("m")), url).unwrap().id, "m");
        let launched =
            |asked| choose(&models, &ProbeOptions { or_first: true, ..options(Some(asked)) }, url).unwrap().id;
        assert_eq!((launched("b"), launched("y")), ("b".into(), "y".into()));
        assert_eq!(launched("models/b"), "b", "it was launched with this folder");
        assert_eq!(launched("c"), "a");
    }
}
