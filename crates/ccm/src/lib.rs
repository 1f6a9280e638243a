//! Messages of Configuration Manager clients as bytes, as far as they are publicly known. No IO.
//!
//! A client sends `CCM_POST /ccm_system/request` with two parts: a header in XML that says whom the message is for, and a body in XML,
//! compressed. It signs with an RSA key whose certificate it has registered. [`Envelope::read`] takes a request apart, [`Envelope::verify`]
//! says whether the client with this certificate has signed it, and [`reply`] writes the answer. Where evidence ends, readers are lenient
//! about what does not matter (lengths, order, spelling of letters) and strict about what is signed.
//!
//! Names of elements and attributes are the protocol's own, misspellings included.

mod assignments;
mod envelope;
mod location;
mod multipart;
mod registration;
mod reports;
mod signature;
mod utf16;
mod xml;

pub use assignments::{AssignedPolicy, AssignmentsRequest, assignments_reply, policy_body};
pub use envelope::{ClientAuth, Envelope, Header, no_reply, reply};
pub use location::{ManagementPointRecord, certificate_answer, management_point_list, site_information};
pub use registration::{RegistrationReply, RegistrationRequest, RegistrationStatus};
pub use reports::{Report, ReportKind, report};
pub use signature::{ClientKey, client_token, public_key_blob};

use thiserror::Error;

/// The largest request, in bytes.
pub const LARGEST_REQUEST: usize = 4 << 20;

/// The largest body once it is inflated, in bytes.
pub const LARGEST_INFLATED: usize = 16 << 20;

/// Why a message is refused. Each is the client's own fault and none is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// The content type is not `multipart/mixed`, or names no boundary.
    #[error("the content type is not multipart/mixed with a boundary")]
    NotMultipart,
    /// There are not two parts.
    #[error("the message does not have two parts")]
    Parts,
    /// A text is not UTF-16, or is cut off.
    #[error("a text is not UTF-16")]
    Text,
    /// Inflated, the body is larger than it may be.
    #[error("the body is larger than it may be")]
    TooLarge,
    /// The XML cannot be read.
    #[error("the XML cannot be read")]
    Xml,
    /// The XML lacks something.
    #[error("the message lacks {0}")]
    Missing(&'static str),
    /// Something in the XML is not what it has to be.
    #[error("{0} cannot be read")]
    Malformed(&'static str),
    /// Another key has signed, or something was changed since.
    #[error("the signature of {0} does not count")]
    Signature(&'static str),
    /// The certificate has no RSA key of 2,048 bits or more.
    #[error("the certificate has no RSA key of 2048 bits or more")]
    WeakKey,
}
