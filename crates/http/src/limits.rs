//! How many files this process may have open.

use crate::HttpError;

/// What the program opens beside its connections: journal, results, logs, event queues, the server's metrics.
const OTHER_FILES: u64 = 64;

/// Raises the soft limit of open files to the hard one and checks that `connections` fit. Gives how many would.
///
/// # Errors
/// When they do not.
pub fn make_room_for(connections: usize) -> Result<usize, HttpError> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let system = |errno: nix::Error| HttpError::System(errno.into());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(system)?;
    // Some systems refuse the hard limit as a soft one; what counts is whether the connections fit.
    let limit = if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() { soft } else { hard };
    check(connections as u64, limit)?;
    Ok(usize::try_from(limit - OTHER_FILES).unwrap_or(usize::MAX))
}

fn check(wanted: u64, limit: u64) -> Result<(), HttpError> {
    let needed = wanted.saturating_add(OTHER_FILES);
    if needed > limit { Err(HttpError::OpenFiles { wanted, needed, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use sagellm_core::UserError;

    use super::*;

    #[test]
    fn the_limit_is_named() {
        check(960, 1024).unwrap();
        let error = check(961, 1024).unwrap_err();
        assert_eq!(error.to_string(), "961 connections need 1025 open files, but this process may open only 1024");
        assert!(error.hint().unwrap().contains("ulimit -Hn 1025"));
    }

    #[test]
    fn the_soft_limit_is_raised() {
        use nix::sys::resource::{Resource, getrlimit};
        make_room_for(1).unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
        assert!(make_room_for(usize::MAX / 2).is_err());
    }
}
