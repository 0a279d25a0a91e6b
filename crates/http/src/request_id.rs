//! Names of requests, by which a server's log can be matched with the records.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Names the requests of one client in the header `x-request-id`.
///
/// The names are UUIDs (RFC 9562, version 4 by their look), because some servers refuse any other: llama.cpp's Python
/// server answers 400. The last group is the request's number; what comes before is drawn for each client, because some
/// servers refuse a name that another client's request has at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIds {
    prefix: String,
}

impl RequestIds {
    /// Names that no other client uses.
    pub fn draw() -> Self {
        let drawn = RandomState::new().build_hasher().finish();
        let (first, second, third) = (drawn >> 32, drawn >> 16 & 0xffff, drawn & 0xfff);
        Self { prefix: format!("{first:08x}-{second:04x}-4{third:03x}-8000-") }
    }

    /// What all names begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name of a request.
    pub fn of(&self, request: u64) -> String {
        format!("{}{}", self.prefix, last_group(request))
    }
}

/// Twelve hexadecimal digits; numbers beyond have their lowest ones.
pub(crate) fn last_group(request: u64) -> String {
    format!("{:012x}", request & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_uuids_of_their_own() {
        let (one, other) = (RequestIds::draw(), RequestIds::draw());
        assert_ne!(one, other);
        for (id, end) in [(0, "-000000000000"), (255, "-0000000000ff"), (u64::MAX, "-ffffffffffff")] {
            let name = one.of(id);
            assert!(name.starts_with(one.prefix()) && name.ends_with(end), "{name}");
            let groups: Vec<_> = name.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{name}");
            assert!(name.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{name}");
            assert_eq!((&name[14..15], &name[19..20]), ("4", "8"), "version and variant");
        }
    }
}
