//! Whether what was offered is what the plan wanted.

use super::{Judge, MOST_DISTURBANCE, percent};
use crate::validity::Code;

/// Largest deviation of the rate of arrivals.
const MOST_RATE: f64 = 0.02;
/// Largest deviation of the number of prompt tokens.
const MOST_PROMPT: f64 = 0.02;
/// The tokens that a chat template adds are the same for every prompt, but for one that joins at either end.
const MOST_JOINED: i64 = 2;

impl Judge<'_> {
    pub(super) fn stimulus(&mut self) {
        self.arrivals();
        self.prompts();
    }

    /// A cap on concurrency holds requests back on purpose; what waits for it is told elsewhere.
    fn arrivals(&mut self) {
        if self.sample.held_back() {
            return;
        }
        let both = |key: &str| self.summary.get(&format!("planned_{key}")).zip(self.summary.get(key));
        let mut wrong = Vec::new();
        if let Some((planned, sent)) = both("arrival_rate_rps")
            && (sent - planned).abs() > MOST_RATE * planned
        {
            wrong.push(format!("{sent:.3} requests/s instead of {planned:.3}"));
        }
        // By Kingman's formula the wait in a queue grows with the sum of the squared CVs of arrivals and service times,
        // the latter up to 1: so this is how far waits are bent. Dispersion is the squared CV over longer times.
        let bent = |planned: f64, sent: f64| (sent - planned).abs() > MOST_DISTURBANCE * (1.0 + planned);
        if let Some((planned, sent)) = both("arrival_cv")
            && bent(planned * planned, sent * sent)
        {
            wrong.push(format!("gaps with a CV of {sent:.3} instead of {planned:.3}"));
        }
        if let Some((planned, sent)) = both("arrival_dispersion")
            && bent(planned, sent)
        {
            wrong.push(format!("a dispersion per second of {sent:.3} instead of {planned:.3}"));
        }
        if !wrong.is_empty() {
            let message = format!("requests were not sent in the pattern of the plan: {}", wrong.join(", "));
            self.reject(Code::Arrivals, message, &self.help_client());
        }
    }

    fn prompts(&mut self) {
        let prompts = &self.sample.stimulus.prompts;
        let Some(share) = prompts.discrepancy().filter(|share| *share > MOST_PROMPT) else { return };
        let (least, most) = prompts.range.unwrap_or_default();
        if least > 0 && most - least <= MOST_JOINED {
            let message = format!("the server added {least} to {most} tokens to every prompt: {} more", percent(share));
            let remedy = "expect it of `--endpoint-type chat`, whose template adds them; `completions` sends prompts as \
                          they are";
            self.warn(Code::PromptsLonger, message, remedy.into());
            return;
        }
        let message = format!(
            "the prompts of {} requests are not as long as planned: the server counted {} tokens instead of {}, {} off",
            prompts.requests,
            prompts.counted,
            prompts.planned,
            percent(share)
        );
        self.reject(Code::PromptLength, message, "give the tokenizer of the model that is served with `--tokenizer`");
    }
}
