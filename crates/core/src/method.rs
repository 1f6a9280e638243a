//! What is known of methods.

/// Whether a request with this method, and without a body, does nothing the second time that it has not done the first: then one whose
/// answer was lost may be sent again.
pub fn may_repeat(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PROPFIND")
}
