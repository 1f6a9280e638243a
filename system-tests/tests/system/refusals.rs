//! Every reason for which the gateway says no, each with what the client is told, what the log says and what is counted.

mod certificates;
mod framing;
mod inside;
mod limits;
mod places;
mod proofs;
mod tokens;
