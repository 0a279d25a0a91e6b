//! One request inside the engine.

use sagellm_core::{EventSink, Nanos, Prepared};

use crate::draft::Courage;
use crate::kv::Content;
use crate::sampler::Sampler;

/// A request with what has been computed of it.
pub(crate) struct Sequence {
    pub(crate) request: Prepared,
    pub(crate) sink: EventSink,
    pub(crate) sampler: Sampler,
    /// Prompt, then output.
    pub(crate) tokens: Vec<u32>,
    pub(crate) prompt_len: usize,
    /// Tokens whose keys and values are in the cache.
    pub(crate) computed: usize,
    /// Blocks held, in order.
    pub(crate) blocks: Vec<u32>,
    /// Content of the full blocks among `computed`.
    pub(crate) content: Content,
    /// What may follow `tokens`, computed in the step that is under way.
    pub(crate) draft: Vec<u32>,
    pub(crate) courage: Courage,
    /// Prompt tokens that were found in the cache at first admission; `None` before it.
    pub(crate) cached: Option<usize>,
    /// When it was submitted.
    pub(crate) arrived: Nanos,
    /// When it was first admitted.
    pub(crate) admitted: Option<Nanos>,
}

impl Sequence {
    pub(crate) fn new(request: Prepared, tokens: Vec<u32>, sink: EventSink, arrived: Nanos, drafts: usize) -> Self {
        let sampler = Sampler::new(&request.sampling);
        let prompt_len = tokens.len();
        Self {
            request,
            sink,
            sampler,
            tokens,
            prompt_len,
            computed: 0,
            blocks: Vec::new(),
            content: Content::ROOT,
            draft: Vec::new(),
            courage: Courage::new(drafts),
            cached: None,
            arrived,
            admitted: None,
        }
    }

    /// Tokens still to be computed before the next can be chosen.
    pub(crate) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Output so far.
    pub(crate) fn output(&self) -> &[u32] {
        &self.tokens[self.prompt_len..]
    }
}
