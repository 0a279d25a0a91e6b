//! Waiting until a server answers.

use std::time::Duration;

use sagellm_core::{Clock, Failure};

use super::ProbeError;
use crate::{BlockingClient, Profile};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Time between attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// Waits until requests are served: nobody listening, 503 while a model loads and other faults of the server pass.
///
/// `go_on` is asked between attempts and may end the wait.
pub(super) fn wait(
    client: &BlockingClient,
    profile: &Profile,
    timeout: Duration,
    go_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<(), ProbeError> {
    let clock = Clock::start();
    // A name that is unknown now is taken for a typing error.
    client.resolve().map_err(|error| ProbeError::Stopped(error.into()))?;
    let mut path = profile.health.unwrap_or(profile.models);
    loop {
        go_on().map_err(ProbeError::Stopped)?;
        let url = client.target().shown(path);
        let left = timeout.saturating_sub(Duration::from_nanos(clock.now()));
        let last = match client.get(path, ATTEMPT.min(left.max(PAUSE))) {
            Ok(answer) if answer.is_success() => return Ok(()),
            Ok(answer) => match answer.status {
                _ if answer.location.is_some() && path != profile.models => {
                    path = profile.models;
                    continue;
                }
                _ if let Some(moved) = ProbeError::moved(&url, &answer) => return Err(moved),
                status @ (401 | 403) => return Err(ProbeError::Access { url, status }),
                // Not every server has a place for its health; then the list of models has to tell it.
                404 | 405 | 501 if path != profile.models => {
                    path = profile.models;
                    continue;
                }
                // Nor does every one list its models: it answers, and that has to do.
                404 | 405 | 501 => return Ok(()),
                status => match answer.message() {
                    message if message.is_empty() => format!("status {status}"),
                    message => format!("status {status}: {message}"),
                },
            },
            Err(why) if why.may_pass() => why.to_string(),
            Err(why) => return Err(ProbeError::NoAnswer { url, why }),
        };
        let waited = Duration::from_nanos(clock.now());
        if waited + PAUSE > timeout {
            return Err(ProbeError::NotReady { url, waited: timeout, last });
        }
        std::thread::sleep(PAUSE);
    }
}
