//! Frames and heads of the tunnel, at both ends.

pub(crate) fn check(input: &[u8]) {
    cmg_tunnel::fuzzing::check(input);
}
