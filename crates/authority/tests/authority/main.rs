//! What is issued verifies with the parts that members and gateways verify with; what is not in order is refused.
mod enrolment;
mod handshakes;
mod openssl;
mod site;
mod vault;
