//! What only the operating system knows. Every function returns `None` (or says so) where the system does not provide it.
//!
//! - [`tcp_state`]: segments, round trips and losses of a TCP connection.
//! - [`RunDelay`]: how long the calling thread waited for a processor.
//! - [`Priority`]: nice values and real-time scheduling of the calling thread.

mod priority;
mod run_delay;
mod tcp;

pub use priority::Priority;
pub use run_delay::RunDelay;
pub use tcp::{TcpState, tcp_state};
