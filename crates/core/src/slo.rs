//! Limits that a request must keep to be of use: the service level objective.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Exit, UserError};

/// Limits in milliseconds, at least one. A request is good when it succeeds and keeps all that are set: vLLM's goodput.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Slo {
    /// Most time to the first token.
    pub ttft_ms: Option<f64>,
    /// Most time per token after the first chunk: what vLLM calls TPOT.
    pub tbt_ms: Option<f64>,
    /// Most time to the last token.
    pub e2e_ms: Option<f64>,
}

/// What a limit is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Time to the first token.
    Ttft,
    /// Time per token after the first chunk.
    Tbt,
    /// Time to the last token.
    E2e,
}

/// One part of an objective: a limit such as `ttft:200`, or a preset such as `mlperf:llama2-70b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective(Part);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Limit(Limited, f64),
    Preset(&'static Preset),
}

/// Limits of MLPerf Inference for the server scenario, where they hold for the 99th percentile: TTFT, and what it calls
/// TPOT, in milliseconds.
#[derive(Debug, PartialEq)]
struct Preset {
    name: &'static str,
    ttft_ms: f64,
    tbt_ms: f64,
}

const PRESETS: [Preset; 7] = [
    Preset { name: "mlperf:llama2-70b", ttft_ms: 2000.0, tbt_ms: 200.0 },
    Preset { name: "mlperf:llama2-70b-interactive", ttft_ms: 450.0, tbt_ms: 40.0 },
    Preset { name: "mlperf:llama3.1-8b", ttft_ms: 2000.0, tbt_ms: 100.0 },
    Preset { name: "mlperf:llama3.1-8b-interactive", ttft_ms: 500.0, tbt_ms: 30.0 },
    Preset { name: "mlperf:llama3.1-405b", ttft_ms: 6000.0, tbt_ms: 175.0 },
    Preset { name: "mlperf:llama3.1-405b-interactive", ttft_ms: 4500.0, tbt_ms: 80.0 },
    Preset { name: "mlperf:deepseek-r1", ttft_ms: 2000.0, tbt_ms: 80.0 },
];

/// What is wrong with an objective.
#[derive(Debug, thiserror::Error)]
pub enum SloError {
    /// It is neither a limit nor a preset.
    #[error("`{0}` is neither a limit (`ttft:MS`, `tbt:MS` or `tpot:MS`, `e2e:MS` or `e2el:MS`) nor a preset ({presets})", presets = presets())]
    Unknown(String),
    /// The limit is not a positive number.
    #[error("the limit in `{0}` is no positive number of milliseconds")]
    NoNumber(String),
    /// The same is limited twice.
    #[error("{0} has two limits")]
    Twice(&'static str),
}

fn presets() -> String {
    PRESETS.map(|preset| format!("`{}`", preset.name)).join(", ")
}

impl UserError for SloError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(_) | Self::NoNumber(_) => "limits are milliseconds, as in `ttft:200`".into(),
            Self::Twice(_) => "leave one of them out; a preset has limits for TTFT and TBT".into(),
        })
    }
}

impl FromStr for Objective {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        if let Some(preset) = PRESETS.iter().find(|preset| preset.name == text) {
            return Ok(Self(Part::Preset(preset)));
        }
        let (name, limit) = text.split_once(':').ok_or_else(|| SloError::Unknown(text.into()))?;
        let limited = match name {
            "ttft" => Limited::Ttft,
            // The second names are vLLM's.
            "tbt" | "tpot" => Limited::Tbt,
            "e2e" | "e2el" => Limited::E2e,
            _ => return Err(SloError::Unknown(text.into())),
        };
        match limit.parse::<f64>() {
            Ok(limit) if limit.is_finite() && limit > 0.0 => Ok(Self(Part::Limit(limited, limit))),
            _ => Err(SloError::NoNumber(text.into())),
        }
    }
}

impl Slo {
    /// The objective that `parts` make together; `None` of none.
    ///
    /// # Errors
    /// When two of them limit the same.
    pub fn of(parts: &[Objective]) -> Result<Option<Self>, SloError> {
        let mut slo = Self::default();
        for Objective(part) in parts {
            match part {
                Part::Limit(limited, limit) => slo.set(*limited, *limit)?,
                Part::Preset(preset) => {
                    slo.set(Limited::Ttft, preset.ttft_ms)?;
                    slo.set(Limited::Tbt, preset.tbt_ms)?;
                }
            }
        }
        Ok((!parts.is_empty()).then_some(slo))
    }

    /// Whether there is a limit, and each is a positive number.
    pub fn is_sound(&self) -> bool {
        let mut limits = Limited::ALL.into_iter().filter_map(|limited| self.limit(limited)).peekable();
        limits.peek().is_some() && limits.all(|limit| limit.is_finite() && limit > 0.0)
    }

    fn set(&mut self, limited: Limited, limit: f64) -> Result<(), SloError> {
        let place = match limited {
            Limited::Ttft => &mut self.ttft_ms,
            Limited::Tbt => &mut self.tbt_ms,
            Limited::E2e => &mut self.e2e_ms,
        };
        match place.replace(limit) {
            Some(_) => Err(SloError::Twice(limited.title())),
            None => Ok(()),
        }
    }

    /// The limit that is set for one of them, in milliseconds.
    pub fn limit(&self, limited: Limited) -> Option<f64> {
        match limited {
            Limited::Ttft => self.ttft_ms,
            Limited::Tbt => self.tbt_ms,
            Limited::E2e => self.e2e_ms,
        }
    }
}

impl fmt::Display for Slo {
    /// As one would type it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = Limited::ALL.into_iter().filter_map(|limited| Some((limited, self.limit(limited)?)));
        for (place, (limited, limit)) in limits.enumerate() {
            let space = if place > 0 { " " } else { "" };
            write!(out, "{space}{}:{limit}", limited.name())?;
        }
        Ok(())
    }
}

impl Limited {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ttft, Self::Tbt, Self::E2e];

    /// As it stands in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tbt => "tbt",
            Self::E2e => "e2e",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Tbt => "TBT",
            Self::E2e => "E2E",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Slo>, SloError> {
        let parts: Result<Vec<Objective>, _> = text.split_whitespace().map(str::parse).collect();
        Slo::of(&parts?)
    }

    #[test]
    fn limits_and_presets() {
        let slo = parse("ttft:200 tpot:50.5 e2el:5000").unwrap().unwrap();
        assert_eq!((slo.ttft_ms, slo.tbt_ms, slo.e2e_ms), (Some(200.0), Some(50.5), Some(5000.0)));
        assert_eq!(slo.to_string(), "ttft:200 tbt:50.5 e2e:5000");
        let preset = parse("mlperf:llama3.1-8b-interactive e2e:9000").unwrap().unwrap();
        assert_eq!(preset.to_string(), "ttft:500 tbt:30 e2e:9000");
        assert_eq!(parse("").unwrap(), None);
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for (text, wanted) in [
            ("ttft", "`ttft` is neither a limit (`ttft:MS`,"),
            ("mlperf:gpt", "`mlperf:gpt` is neither a limit (`ttft:MS`,"),
            ("ttft:0", "the limit in `ttft:0` is no positive number of milliseconds"),
            ("ttft:nan", "the limit in `ttft:nan` is no positive number of milliseconds"),
            ("ttft:5 ttft:6", "TTFT has two limits"),
            ("tbt:5 tpot:6", "TBT has two limits"),
            ("mlperf:deepseek-r1 tbt:1", "TBT has two limits"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().starts_with(wanted), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
