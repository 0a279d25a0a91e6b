//! The file that SGLang's `bench_serving` reads.

use std::borrow::Cow;
use std::path::Path;

use sagellm_core::{Message, Request, Workload};
use serde::Serialize;

use super::{Summary, load, words};

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OpenAi<'a> {
    messages: Cow<'a, [Message]>,
    max_tokens: u32,
    temperature: f32,
    top_p: f32,
}

pub(super) fn openai(request: &Request) -> OpenAi<'_> {
    let messages = match &request.prompt.messages[..] {
        [] => Cow::Owned(vec![Message { role: "user".into(), content: request.prompt.text.clone() }]),
        messages => Cow::Borrowed(messages),
    };
    OpenAi {
        messages,
        max_tokens: request.max_tokens,
        temperature: request.sampling.temperature,
        top_p: request.sampling.top_p,
    }
}

pub(super) fn arguments(path: &Path, workload: &Workload, summary: &Summary) -> Vec<String> {
    let mut options = words(["--dataset-name", "openai", "--backend", "sglang-oai-chat"]);
    options.extend(["--dataset-path".to_owned(), path.display().to_string()]);
    options.extend(["--num-prompts".to_owned(), summary.requests.to_string()]);
    options.extend(load(workload));
    if !summary.ignore_eos {
        options.push("--disable-ignore-eos".into());
    }
    options
}
