//! Requests for a warm-up: as long as measured ones, with prompts that no measured one has.

use sagellm_core::{Failure, Request, Warmups, Workload};
use sagellm_model::Tokenizer;

use crate::PlanError;
use crate::artefact::{Read, ReadRequest};
use crate::sources::Text;

/// Where a tokenizer has no text of a length, one of up to this many tokens more is taken.
const LONGER: u32 = 16;

/// Makes requests like those that `read` gives, with their offsets. Their prompts are counted in tokens of `tokenizer`; `same_tokens` says
/// whether the token ids of the plan are its own, too.
pub(crate) fn make<R>(read: Read<R>, tokenizer: &Tokenizer, same_tokens: bool) -> Warmups
where
    R: Iterator<Item = ReadRequest> + Send + 'static,
{
    let mut maker = Maker {
        workload: read.workload,
        tokenizer: tokenizer.clone(),
        same_tokens,
        measured: read.requests,
        models: Vec::new(),
        conversation: None,
        made: 0,
    };
    Box::new(move |place| maker.make(place).map_err(Failure::from))
}

struct Maker<R> {
    workload: Workload,
    tokenizer: Tokenizer,
    same_tokens: bool,
    measured: R,
    /// What has been read of the measured requests, with an empty prompt, and the tokens of the prompt.
    models: Vec<(Request, u64)>,
    /// The conversation that the last one belongs to, and its tokens so far.
    conversation: Option<(u64, u64)>,
    made: u64,
}

impl<R: Iterator<Item = ReadRequest>> Maker<R> {
    fn make(&mut self, place: u64) -> Result<Option<Request>, PlanError> {
        while self.models.len() as u64 <= place {
            let Some(request) = self.measured.next() else { return Ok(None) };
            let model = self.model(request?)?;
            self.models.push(model);
        }
        let Some((model, tokens)) = self.models.get(place as usize) else { return Ok(None) };
        let id = u64::from(self.workload.num_prompts) + self.made;
        self.made += 1;
        let wanted = u32::try_from(*tokens).unwrap_or(u32::MAX).max(1);
        let Workload { name, seed, .. } = &self.workload;
        let text = |tokens| Text::plain_only(name, *seed, tokens, &self.tokenizer).plain(id as usize);
        let fitted = (wanted + 1..=wanted.saturating_add(LONGER)).fold(text(wanted), |found, more| match found {
            Err(PlanError::Prompt { .. }) => text(more),
            found => found,
        })?;
        Ok(Some(Request { id, prompt: fitted.into(), ..model.clone() }))
    }

    /// What a warm-up takes over from a measured request: all but its prompt and its conversation.
    fn model(&mut self, request: Request) -> Result<(Request, u64), PlanError> {
        let before = match self.conversation {
            Some((open, tokens)) if request.session == Some(open) => tokens,
            _ => 0,
        };
        let tokens = before + self.tokens(&request)?;
        self.conversation = request.session.map(|session| (session, tokens + u64::from(request.max_tokens)));
        Ok((Request { session: None, keep_answer: false, prompt: Default::default(), ..request }, tokens))
    }

    fn tokens(&self, request: &Request) -> Result<u64, PlanError> {
        let prompt = &request.prompt;
        if let Some(ids) = prompt.token_ids.as_ref().filter(|_| self.same_tokens) {
            return Ok(ids.len() as u64);
        }
        let messages = prompt.messages.iter().map(|message| message.content.as_str());
        let texts = messages.chain(Some(prompt.text.as_str()).filter(|_| prompt.messages.is_empty()));
        texts.map(|text| Ok(self.tokenizer.encode(text, true).map_err(PlanError::Tokenizer)?.len() as u64)).sum()
    }
}
