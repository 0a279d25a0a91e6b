//! The state of a TCP connection as the kernel keeps it (`TCP_INFO`, `struct tcp_info` of `linux/tcp.h`).

/// Counters and estimates of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpState {
    /// Segments with data that were received.
    pub data_segments_in: u32,
    /// Of these, segments that came out of order: those before them were lost or overtaken.
    pub out_of_order_in: u32,
    /// Segments that were transmitted again.
    pub retransmitted: u32,
    /// Smallest round trip seen, in microseconds; 0 before the first.
    pub min_round_trip_us: u32,
    /// Smoothed round trip, in microseconds.
    pub round_trip_us: u32,
}

/// Asks the kernel about a connection; `None` where it does not answer, or is too old to count segments (before Linux 5.4).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library reads the newer fields")]
pub fn tcp_state(socket: &impl std::os::fd::AsRawFd) -> Option<TcpState> {
    /// Up to and including `tcpi_rcv_ooopack`.
    const LENGTH: usize = 228;
    let mut raw = [0_u8; 256];
    let mut length = raw.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into the buffer of that length, and says how many.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            raw.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status != 0 || (length as usize) < LENGTH {
        return None;
    }
    let at = |offset: usize| u32::from_ne_bytes([raw[offset], raw[offset + 1], raw[offset + 2], raw[offset + 3]]);
    Some(TcpState {
        round_trip_us: at(68),
        retransmitted: at(100),
        // Before the first measurement it is all ones.
        min_round_trip_us: Some(at(148)).filter(|&least| least != u32::MAX).unwrap_or(0),
        data_segments_in: at(152),
        out_of_order_in: at(224),
    })
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub fn tcp_state<S>(_socket: &S) -> Option<TcpState> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn segments_are_counted_as_they_come() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut writer, _) = listener.accept().unwrap();
        writer.set_nodelay(true).unwrap();
        for sent in 1..=3 {
            writer.write_all(b"x").unwrap();
            reader.read_exact(&mut [0]).unwrap();
            let state = tcp_state(&reader).unwrap();
            assert_eq!((state.data_segments_in, state.out_of_order_in, state.retransmitted), (sent, 0, 0));
            assert!(state.min_round_trip_us < 1_000_000, "{state:?}");
        }
        writer.write_all(b"y").unwrap();
        writer.write_all(b"z").unwrap();
        reader.read_exact(&mut [0; 2]).unwrap();
        assert_eq!(tcp_state(&reader).unwrap().data_segments_in, 5, "whether or not they were read together");
    }
}
