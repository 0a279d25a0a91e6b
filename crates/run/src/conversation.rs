//! Conversations that are going on: each turn waits for the answer to the one before, and carries it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use sagellm_core::{Answer, Message, Nanos, Prepared, Prompt, Request};

/// The conversations of which a turn is in flight or waits for its time.
#[derive(Debug, Default)]
pub(crate) struct Conversations {
    /// By the request in flight.
    asked: HashMap<u64, Talk>,
    /// Turns that wait, the earliest first, by when they are due and their number.
    waiting: BinaryHeap<Reverse<(Nanos, u64)>>,
    thinking: HashMap<u64, (Prepared, Talk)>,
}

#[derive(Debug)]
struct Talk {
    /// What the turn in flight asks, the conversation before it included.
    asked: Prompt,
    later: VecDeque<Request>,
}

impl Conversations {
    /// Takes note of a first turn that is sent, and what follows it.
    pub(crate) fn begin(&mut self, first: &Request, later: VecDeque<Request>) {
        if !later.is_empty() {
            self.asked.insert(first.id, Talk { asked: first.prompt.clone(), later });
        }
    }

    /// Makes the turn after an answer. `false` when there is none, and the conversation is over.
    pub(crate) fn answered(&mut self, id: u64, at: Nanos, answer: &Answer) -> bool {
        let Some(mut talk) = self.asked.remove(&id) else { return false };
        let Some(next) = talk.later.pop_front() else { return false };
        let due = at.saturating_add(next.offset_ns);
        let prompt = continued(talk.asked, answer, &next.prompt);
        talk.asked = prompt.clone();
        let request = Arc::new(Request { prompt, ..next });
        self.waiting.push(Reverse((due, request.id)));
        self.thinking.insert(request.id, (request, talk));
        true
    }

    /// Gives up a conversation of which a turn failed; the turns that will not be sent.
    pub(crate) fn give_up(&mut self, id: u64) -> VecDeque<Request> {
        self.asked.remove(&id).map_or_else(VecDeque::new, |talk| talk.later)
    }

    /// Gives up all conversations; the turns that will not be sent, and when they are due, where the answer before them has
    /// come.
    pub(crate) fn give_up_all(&mut self) -> Vec<(Request, Option<Nanos>)> {
        let due: HashMap<u64, Nanos> = self.waiting.drain().map(|Reverse((due, id))| (id, due)).collect();
        let thinking = self.thinking.drain().flat_map(|(_, (next, talk))| {
            std::iter::once(Arc::unwrap_or_clone(next)).chain(talk.later).collect::<Vec<_>>()
        });
        let mut unsent: Vec<Request> = thinking.collect();
        unsent.extend(self.asked.drain().flat_map(|(_, talk)| talk.later));
        unsent.sort_unstable_by_key(|request| request.id);
        let with_time = |request: Request| {
            let due = due.get(&request.id).copied();
            (request, due)
        };
        unsent.into_iter().map(with_time).collect()
    }

    /// Whether no turn will follow anything that is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.waiting.is_empty()
    }

    /// Conversations in which somebody thinks about the next turn.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// When the next turn is due.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        self.waiting.peek().map(|Reverse((due, _))| *due)
    }

    /// The next turn, to be sent now, and when it was due.
    pub(crate) fn next(&mut self) -> Option<(Prepared, Nanos)> {
        let Reverse((due, id)) = self.waiting.pop()?;
        let (request, talk) = self.thinking.remove(&id)?;
        if !talk.later.is_empty() {
            self.asked.insert(id, talk);
        }
        Some((request, due))
    }
}

/// What was asked, what was answered, and what is asked now, as one prompt.
fn continued(asked: Prompt, answer: &Answer, next: &Prompt) -> Prompt {
    let said = answer.text.as_deref().unwrap_or_default();
    let token_ids = match (asked.token_ids, &answer.token_ids, &next.token_ids) {
        (Some(mut ids), Some(answer), Some(next)) => {
            ids.extend(answer);
            ids.extend(next);
            Some(ids)
        }
        // Nobody counted the answer: the backend will count the whole.
        _ => None,
    };
    let mut messages = asked.messages;
    if !next.messages.is_empty() {
        messages.push(Message { role: "assistant".into(), content: said.into() });
        messages.extend_from_slice(&next.messages);
    }
    Prompt { text: asked.text + said + &next.text, token_ids, messages }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sagellm_core::Sampling;

    fn turn(id: u64, offset_ns: Nanos, text: &str, ids: &[u32]) -> Request {
        let messages = vec![Message { role: "user".into(), content: text.into() }];
        Request {
            id,
            offset_ns,
            session: Some(0),
            prompt: Prompt { text: text.into(), token_ids: Some(ids.to_vec()), messages },
            max_tokens: 1,
            sampling: Sampling::default(),
            ignore_eos: true,
            keep_answer: true,
        }
    }

    #[test]
    fn a_turn_carries_all_that_was_said_before() {
        let mut talks = Conversations::default();
        let later = [turn(1, 50, " And?", &[3]), turn(2, 0, " So?", &[4])];
        talks.begin(&turn(0, 0, "Why?", &[1]), later.into());
        let answer = Answer { text: Some(" Because.".into()), token_ids: Some(vec![2]) };
        assert!(talks.answered(0, 100, &answer));
        assert_eq!((talks.waiting(), talks.next_due()), (1, Some(150)));
        let (second, due) = talks.next().unwrap();
        assert_eq!((second.id, due), (1, 150));
        assert_eq!(second.prompt.text, "Why? Because. And?");
        assert_eq!(second.prompt.token_ids, Some(vec![1, 2, 3]));

        assert!(talks.answered(1, 200, &Answer { text: Some(" No.".into()), token_ids: None }));
        let (third, _) = talks.next().unwrap();
        assert_eq!(third.prompt.text, "Why? Because. And? No. So?");
        assert_eq!(third.prompt.token_ids, None, "the answer was not tokenized");
        let said: Vec<&str> = third.prompt.messages.iter().map(|message| message.content.as_str()).collect();
        assert_eq!(said, ["Why?", " Because.", " And?", " No.", " So?"]);
        assert!(!talks.answered(2, 300, &Answer::default()), "nothing follows");
    }

    #[test]
    fn a_conversation_that_is_given_up_names_what_is_not_sent() {
        let ids = |requests: Vec<Request>| -> Vec<u64> { requests.iter().map(|request| request.id).collect() };
        let mut talks = Conversations::default();
        talks.begin(&turn(0, 0, "", &[]), [turn(1, 0, "", &[]), turn(2, 0, "", &[])].into());
        talks.begin(&turn(3, 0, "", &[]), [turn(4, 0, "", &[])].into());
        assert_eq!(ids(talks.give_up(3).into()), [4]);
        talks.answered(0, 7, &Answer::default());
        let all = talks.give_up_all();
        assert_eq!(all.iter().map(|(request, due)| (request.id, *due)).collect::<Vec<_>>(), [(1, Some(7)), (2, None)]);
        assert_eq!((talks.waiting(), talks.next()), (0, None));
    }
}
