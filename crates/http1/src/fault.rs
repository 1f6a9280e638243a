//! Why a message is refused. One variant per reason, so that log and metric tell which.

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $variant:ident => $reason:literal,)+) => {
        /// What is wrong with a message. After a fault the connection cannot be read any further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Fault {
            /// Every fault there is, for metrics that list their labels and for tests.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The label for log and metric, in snake case.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self {
                    $(Self::$variant => $reason,)+
                }
            }
        }
    };
}

faults! {
    /// The head has more bytes than [`HeadLimits::bytes`](crate::HeadLimits::bytes).
    HeadTooLarge => "head_too_large",
    /// The head has more fields than [`HeadLimits::fields`](crate::HeadLimits::fields).
    TooManyFields => "too_many_fields",
    /// A line ends in LF without CR.
    BareLf => "bare_lf",
    /// A CR is not followed by LF.
    BareCr => "bare_cr",
    /// The request line is not three parts with one space between them.
    RequestLine => "request_line",
    /// The method is empty or not a token.
    Method => "method",
    /// The target is empty or holds a control character or a byte from 0x7f on.
    Target => "target",
    /// A version other than 1.0 and 1.1. Servers answer it with 505.
    Version => "version",
    /// The status line is not a version, a space and a status from 100 to 999.
    StatusLine => "status_line",
    /// The reason phrase holds a control character.
    ReasonPhrase => "reason_phrase",
    /// A line starts with a blank: a continuation of the line before, as old servers wrote it.
    FoldedLine => "folded_line",
    /// A field line has no colon.
    MissingColon => "missing_colon",
    /// A blank stands between a field's name and its colon.
    SpaceBeforeColon => "space_before_colon",
    /// A field name is empty or not a token.
    FieldName => "field_name",
    /// A field name longer than [`MAX_FIELD_NAME`](crate::MAX_FIELD_NAME).
    FieldNameTooLong => "field_name_too_long",
    /// A field value holds a control character.
    FieldValue => "field_value",
    /// A request of version 1.1 without Host.
    HostMissing => "host_missing",
    /// More than one Host.
    HostDuplicate => "host_duplicate",
    /// Host is not a name or an address with at most a port.
    HostInvalid => "host_invalid",
    /// Content-Length is not a row of digits.
    ContentLengthInvalid => "content_length_invalid",
    /// Content-Length does not fit into 64 bits.
    ContentLengthOverflow => "content_length_overflow",
    /// More than one Content-Length, equal or not.
    ContentLengthDuplicate => "content_length_duplicate",
    /// Transfer-Encoding is something else than exactly `chunked`.
    TransferEncodingUnsupported => "transfer_encoding_unsupported",
    /// More than one Transfer-Encoding.
    TransferEncodingDuplicate => "transfer_encoding_duplicate",
    /// Transfer-Encoding beside Content-Length.
    TransferEncodingWithContentLength => "transfer_encoding_with_content_length",
    /// Transfer-Encoding in a message of version 1.0, which has none.
    TransferEncodingInHttp10 => "transfer_encoding_in_http10",
    /// An expectation other than `100-continue`. Servers answer it with 417.
    Expectation => "expectation",
    /// An answer 101 that does not name what it switches to in Upgrade and Connection.
    SwitchWithoutUpgrade => "switch_without_upgrade",
    /// A chunk does not start with its size in hexadecimal digits alone.
    ChunkSize => "chunk_size",
    /// A chunk size of more than 16 digits.
    ChunkSizeTooLong => "chunk_size_too_long",
    /// A chunk extension holds a control character.
    ChunkExtension => "chunk_extension",
    /// A chunk extension longer than [`MAX_CHUNK_EXTENSION`](crate::MAX_CHUNK_EXTENSION).
    ChunkExtensionTooLong => "chunk_extension_too_long",
    /// The data of a chunk is not followed by CRLF.
    ChunkEnd => "chunk_end",
    /// A trailer field that decides framing, routing, identity or how the content is read.
    TrailerForbidden => "trailer_forbidden",
    /// Trailers beyond [`MAX_TRAILER_BYTES`](crate::MAX_TRAILER_BYTES) or
    /// [`MAX_TRAILER_FIELDS`](crate::MAX_TRAILER_FIELDS).
    TrailersTooLarge => "trailers_too_large",
    /// The input ended before the body did.
    Truncated => "truncated",
}

impl Fault {
    /// Whether the fields are too many or too long rather than wrong. Servers answer that with 431.
    #[must_use]
    pub fn too_large(self) -> bool {
        matches!(self, Self::HeadTooLarge | Self::TooManyFields | Self::FieldNameTooLong | Self::TrailersTooLarge)
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.reason())
    }
}

impl core::error::Error for Fault {}
