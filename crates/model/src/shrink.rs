//! Files that become shorter while they are mapped.
//!
//! Reading a page that the file no longer has raises SIGBUS, which cannot be returned as an error: the thread that reads is
//! anywhere inside of the kernels. The handler writes the message of an error, and ends the process with its exit code.

use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sagellm_core::{Exit, UserError};

use crate::ModelError;

/// Mapped addresses, and what is written when one of them cannot be read.
static MAPPED: Mutex<Vec<(Range<usize>, Box<str>)>> = Mutex::new(Vec::new());

/// Watches a mapping for as long as it exists.
pub(crate) struct Watched(Range<usize>);

impl Watched {
    /// Watches the mapping of the file at `path`. The first call installs the handler.
    pub(crate) fn new(path: &Path, bytes: &[u8]) -> Self {
        let start = bytes.as_ptr().addr();
        let range = start..start + bytes.len();
        let error = ModelError::damaged(path, "the file became shorter while it was in use");
        let message = format!("\nerror: {error}\nhint: {}\n", error.hint().unwrap_or_default());
        MAPPED.lock().unwrap_or_else(PoisonError::into_inner).push((range.clone(), message.into()));
        #[cfg(unix)]
        handler::install();
        Self(range)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = mapped.iter().position(|(range, _)| *range == self.0) {
            mapped.swap_remove(place);
        }
    }
}

#[cfg(unix)]
mod handler {
    use std::sync::{Once, OnceLock};

    use nix::libc;
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

    use super::{Exit, MAPPED};

    /// What was done on SIGBUS before: the standard library reports stack overflows by it on some systems.
    static FORMER: OnceLock<SigAction> = OnceLock::new();

    /// Attempts to take the list of mappings, which another thread may be changing.
    const ATTEMPTS: usize = 1_000_000;

    #[expect(unsafe_code, reason = "the one way to report that a mapped file cannot be read any more")]
    pub(super) fn install() {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
            let action = SigAction::new(SigHandler::SigAction(on_bus_error), flags, SigSet::empty());
            // SAFETY: the handler calls only what is allowed in one: it allocates nothing, waits for no lock, and either
            // ends the process or puts the former action back.
            if let Ok(former) = unsafe { sigaction(Signal::SIGBUS, &action) } {
                let _ = FORMER.set(former);
            }
        });
    }

    #[expect(unsafe_code, reason = "a handler of signals is called with a raw pointer, and may call little else")]
    extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the system passes valid information with SA_SIGINFO, and SIGBUS has an address.
        let address = unsafe { (*info).si_addr() }.addr();
        for _ in 0..ATTEMPTS {
            let Ok(mapped) = MAPPED.try_lock() else {
                std::hint::spin_loop();
                continue;
            };
            if let Some((_, message)) = mapped.iter().find(|(range, _)| range.contains(&address)) {
                // SAFETY: the message is valid for reads of its length; both calls are allowed in a handler.
                unsafe {
                    libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
                    libc::_exit(Exit::Input.code().into());
                }
            }
            break;
        }
        // Not of a model: the read is tried again, and fails as it would have without this handler.
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: it was the action before.
        let _ = unsafe { sigaction(Signal::SIGBUS, FORMER.get().unwrap_or(&default)) };
    }
}
