//! What the command line changes about a workload.

use sagellm_core::{Arrival, Mode, RampShape};

use crate::{Decoding, PlanError, Spec};

/// About one request a day: below it, a run would hardly end.
const SLOWEST: f64 = 1e-5;

/// A rate that changes, as vLLM's `--ramp-up-*` options say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// `--ramp-up-strategy`.
    pub shape: RampShape,
    /// `--ramp-up-start-rps`, in requests per second.
    pub from_rate: f64,
    /// `--ramp-up-end-rps`, in requests per second.
    pub to_rate: f64,
}

/// Changes to a workload. `None` leaves the workload's own value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `--mode`. Batch offers everything at time zero, without the workload's own cap on concurrency.
    pub mode: Option<Mode>,
    /// `--num-prompts`: measured requests.
    pub num_prompts: Option<u32>,
    /// `--max-concurrency`: requests in flight at most.
    pub max_concurrency: Option<u32>,
    /// `--request-rate` in requests per second: an open loop, without the workload's own cap on concurrency. Infinite
    /// means that everything is due at once.
    pub request_rate: Option<f64>,
    /// `--burstiness`: shape of the gamma distribution of the gaps; 1 (a Poisson process) unless given.
    pub burstiness: Option<f64>,
    /// `--ramp-up-strategy`: an open loop whose rate changes over the duration, else until the last request.
    pub ramp: Option<Ramp>,
    /// `--num-warmups`.
    pub num_warmups: Option<u32>,
    /// `--duration` in seconds, after which nothing more is sent.
    pub duration_s: Option<f64>,
    /// `--seed` of prompts, offsets and sampling.
    pub seed: Option<u64>,
    /// `--temperature`.
    pub temperature: Option<f32>,
    /// `--top-p`.
    pub top_p: Option<f32>,
    /// `--top-k`.
    pub top_k: Option<u32>,
    /// `--ignore-eos`.
    pub ignore_eos: Option<bool>,
}

impl Overrides {
    /// The workload with these changes.
    ///
    /// # Errors
    /// [`PlanError::Value`] for a value out of range and [`PlanError::Contradiction`] for options that cannot be honoured
    /// together; both name the option.
    pub fn apply(&self, spec: Spec) -> Result<Spec, PlanError> {
        self.check()?;
        let mode = self.mode.unwrap_or(spec.mode);
        let arrival = match self.request_rate {
            Some(rate) if rate.is_finite() => match self.burstiness {
                Some(burstiness) if burstiness != 1.0 => Arrival::Gamma { rate, burstiness },
                _ => Arrival::Poisson { rate },
            },
            Some(_) => Arrival::Immediate,
            None if self.ramp.is_some() => {
                let over_s = self.duration_s.or(spec.duration_s);
                let burstiness = self.burstiness.unwrap_or(1.0);
                let ramp = self.ramp.map(|Ramp { shape, from_rate, to_rate }| Arrival::Ramp {
                    from_rate,
                    to_rate,
                    over_s,
                    shape,
                    burstiness,
                });
                ramp.unwrap_or_default()
            }
            None if mode == Mode::Batch => Arrival::Immediate,
            None => spec.arrival,
        };
        // The built-in cap makes the closed loop that a batch or an arrival process takes the place of.
        let own_cap = if mode == Mode::Batch || self.request_rate.is_some() || self.ramp.is_some() {
            None
        } else {
            spec.max_concurrency
        };
        Ok(Spec {
            mode,
            arrival,
            max_concurrency: self.max_concurrency.or(own_cap),
            // A duration takes the place of the workload's own number.
            num_prompts: self.num_prompts.or(if self.duration_s.is_some() { None } else { spec.num_prompts }),
            num_warmups: self.num_warmups.or(spec.num_warmups),
            duration_s: self.duration_s.or(spec.duration_s),
            seed: self.seed.unwrap_or(spec.seed),
            sampling: Decoding {
                temperature: self.temperature.unwrap_or(spec.sampling.temperature),
                top_p: self.top_p.unwrap_or(spec.sampling.top_p),
                top_k: self.top_k.unwrap_or(spec.sampling.top_k),
                ignore_eos: self.ignore_eos.unwrap_or(spec.sampling.ignore_eos),
            },
            ..spec
        })
    }

    fn check(&self) -> Result<(), PlanError> {
        for (option, value) in [("--num-prompts", self.num_prompts), ("--max-concurrency", self.max_concurrency)] {
            if value == Some(0) {
                return Err(PlanError::Value { option, value: "0".into(), range: "at least 1" });
            }
        }
        if let Some(rate) = self.request_rate {
            if rate.is_nan() || rate < SLOWEST {
                let range = "a number of requests per second of at least 0.00001, or `inf`";
                return Err(PlanError::Value { option: "--request-rate", value: rate.to_string(), range });
            }
            if self.mode == Some(Mode::Batch) {
                return Err(PlanError::Contradiction {
                    option: "--request-rate",
                    circumstance: "in batch mode, where everything is offered at once",
                    hint: "leave it out, or use `--mode traffic`",
                });
            }
        }
        if let Some(burstiness) = self.burstiness {
            if !burstiness.is_finite() || burstiness <= 0.0 {
                let range = "a number above 0 (1 is a Poisson process)";
                return Err(PlanError::Value { option: "--burstiness", value: burstiness.to_string(), range });
            }
            if !self.request_rate.is_some_and(f64::is_finite) && self.ramp.is_none() {
                return Err(PlanError::Contradiction {
                    option: "--burstiness",
                    circumstance: "without a finite request rate",
                    hint: "give the rate too, such as `--request-rate 2`",
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sagellm_core::{Exit, UserError};

    fn stress() -> Spec {
        crate::builtin("stress").unwrap().remove(0)
    }

    fn changed(overrides: Overrides) -> Spec {
        overrides.apply(stress()).unwrap()
    }

    fn refused(overrides: Overrides) -> String {
        let error = overrides.apply(stress()).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        error.to_string()
    }

    #[test]
    fn nothing_changes_nothing() {
        assert_eq!(changed(Overrides::default()), stress());
    }

    #[test]
    fn plain_values_are_taken_over() {
        let workload = changed(Overrides {
            num_prompts: Some(7),
            max_concurrency: Some(3),
            num_warmups: Some(0),
            seed: Some(42),
            ..Overrides::default()
        });
        let Spec { num_prompts, max_concurrency, num_warmups, seed, .. } = workload;
        assert_eq!((num_prompts, max_concurrency, num_warmups, seed), (Some(7), Some(3), Some(0), 42));
    }

    #[test]
    fn a_rate_opens_the_loop() {
        let rate = Overrides { request_rate: Some(2.5), ..Overrides::default() };
        let workload = changed(rate.clone());
        assert_eq!(workload.arrival, Arrival::Poisson { rate: 2.5 });
        assert_eq!(workload.max_concurrency, None);
        let workload = changed(Overrides { burstiness: Some(0.5), max_concurrency: Some(4), ..rate });
        assert_eq!(workload.arrival, Arrival::Gamma { rate: 2.5, burstiness: 0.5 });
        assert_eq!(workload.max_concurrency, Some(4));
    }

    #[test]
    fn an_infinite_rate_makes_everything_due_at_once() {
        let workload = changed(Overrides { request_rate: Some(f64::INFINITY), ..Overrides::default() });
        assert_eq!((workload.arrival, workload.max_concurrency), (Arrival::Immediate, None));
    }

    #[test]
    fn a_batch_has_only_the_cap_that_was_asked_for() {
        let batch = Overrides { mode: Some(Mode::Batch), ..Overrides::default() };
        let workload = changed(batch.clone());
        assert_eq!((workload.mode, workload.max_concurrency), (Mode::Batch, None));
        assert_eq!(changed(Overrides { max_concurrency: Some(2), ..batch }).max_concurrency, Some(2));
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let none = Overrides::default;
        assert_eq!(
            refused(Overrides { num_prompts: Some(0), ..none() }),
            "`--num-prompts 0` is not possible: it must be at least 1"
        );
        assert!(refused(Overrides { max_concurrency: Some(0), ..none() }).starts_with("`--max-concurrency 0`"));
        for rate in [0.0, -1.0, 1e-300, f64::NAN, f64::NEG_INFINITY] {
            let message = refused(Overrides { request_rate: Some(rate), ..none() });
            assert!(message.starts_with("`--request-rate ") && message.contains("is not possible"), "{message}");
        }
        for burstiness in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let message = refused(Overrides { request_rate: Some(1.0), burstiness: Some(burstiness), ..none() });
            assert!(message.starts_with("`--burstiness "), "{message}");
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_refused_with_a_hint() {
        let batch = Overrides { mode: Some(Mode::Batch), request_rate: Some(1.0), ..Overrides::default() };
        let error = batch.apply(stress()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`--request-rate` has no meaning in batch mode, where everything is offered at once"
        );
        assert_eq!(error.hint().unwrap(), "leave it out, or use `--mode traffic`");
        for request_rate in [None, Some(f64::INFINITY)] {
            let message = refused(Overrides { request_rate, burstiness: Some(2.0), ..Overrides::default() });
            assert_eq!(message, "`--burstiness` has no meaning without a finite request rate");
        }
    }
}
