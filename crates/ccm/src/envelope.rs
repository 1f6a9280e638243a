//! The envelope of all messages: a header that says for whom, and a body.

use std::io::Read;

use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use roxmltree::Node;

use crate::signature::{ClientKey, public_key_blob};
use crate::xml::{attribute, escaped, find, of_hex, parse, text_of};
use crate::{Fault, LARGEST_INFLATED, multipart, utf16};

/// The content types of the two parts.
const HEADER_TYPE: &str = "text/plain; charset=UTF-16";
const BODY_TYPE: &str = "application/octet-stream";

/// SHA-256 with RSA: the one way of signing that counts.
const SHA256_RSA: &str = "1.2.840.113549.1.1.11";

/// What the first part of a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The message's id, which its answer repeats.
    pub id: String,
    /// Who sends it: `GUID:...` once registered. Believed only after [`Envelope::verify`].
    pub source_id: String,
    /// For which endpoint of the management point, such as `MP_PolicyManager`.
    pub target_endpoint: String,
    /// Whether the sender waits for an answer.
    pub wants_answer: bool,
    /// How it is signed; none: not at all.
    pub auth: Option<ClientAuth>,
}

/// How a message is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// The body is.
    Payload {
        /// The sender's public key, as a PUBLICKEYBLOB in hexadecimal.
        public_key: String,
        /// Over the sender's id.
        id_signature: String,
        /// Over the second part as it was sent.
        payload_signature: String,
        /// The OID of the way of signing.
        algorithm: String,
    },
    /// Who and when are, but not the body.
    Token {
        /// `GUID:...;2026-01-02T03:04:05Z;2`.
        value: String,
        /// Over the value.
        signature: String,
    },
}

/// A message, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Its header.
    pub header: Header,
    /// Its body: one document of XML.
    pub body: String,
    /// The second part as it was sent, which signatures are over.
    payload: Vec<u8>,
}

impl Envelope {
    /// Takes a request apart. The body may be compressed or not.
    pub fn read(content_type: &str, request: &[u8]) -> Result<Self, Fault> {
        let parts = multipart::parts(request, multipart::boundary(content_type)?);
        let [header, payload] = parts[..] else { return Err(Fault::Parts) };
        let text = utf16::decode(header)?;
        let document = parse(&text)?;
        let message = find(document.root(), "Msg").ok_or(Fault::Missing("Msg"))?;
        let inflated = inflated(payload)?;
        let start = find(message, "Body").and_then(|body| attribute(body, "Offset")).and_then(|offset| offset.parse().ok()).unwrap_or(0);
        let body = utf16::decode(inflated.get(start..).unwrap_or(&inflated))?;
        Ok(Self { header: Header::of(message)?, body, payload: payload.to_vec() })
    }

    /// Whether the client with this key has signed the message, all of it or, in the form with a token, who sends it and when.
    pub fn verify(&self, key: &ClientKey) -> Result<(), Fault> {
        match self.header.auth.as_ref().ok_or(Fault::Missing("clientauth"))? {
            ClientAuth::Payload { public_key, id_signature, payload_signature, algorithm } => {
                if algorithm != SHA256_RSA {
                    return Err(Fault::Malformed("HashAlgorithm"));
                }
                if of_hex(public_key) != Some(public_key_blob(key)) {
                    return Err(Fault::Signature("PublicKey"));
                }
                key.verify_text(&upper_case_id(&self.header.source_id), id_signature, "ClientIDSignature")?;
                key.verify(&self.payload, payload_signature, "PayloadSignature")
            }
            ClientAuth::Token { value, signature } => {
                let who = value.split(';').next().unwrap_or_default();
                if !same_id(who, &self.header.source_id) {
                    return Err(Fault::Signature("ClientToken"));
                }
                key.verify_text(value, signature, "ClientToken")
            }
        }
    }
}

/// Whether two ids are one: letter case, braces and the word before do not matter.
fn same_id(one: &str, other: &str) -> bool {
    bare_id(one).eq_ignore_ascii_case(bare_id(other))
}

fn bare_id(id: &str) -> &str {
    let id = id.trim().trim_start_matches('{').trim_end_matches('}');
    match id.get(..5) {
        Some(word) if word.eq_ignore_ascii_case("GUID:") => &id[5..],
        _ => id,
    }
}

/// The id is signed with its digits in upper case.
fn upper_case_id(id: &str) -> String {
    format!("GUID:{}", bare_id(id).to_ascii_uppercase())
}

impl Header {
    fn of(message: Node<'_, '_>) -> Result<Self, Fault> {
        let needed = |name: &'static str| text_of(message, name).map(str::to_owned).ok_or(Fault::Missing(name));
        Ok(Self {
            id: needed("ID")?,
            source_id: text_of(message, "SourceID").unwrap_or_default().to_owned(),
            target_endpoint: needed("TargetEndpoint")?,
            wants_answer: !text_of(message, "ReplyMode").is_some_and(|mode| mode.eq_ignore_ascii_case("async")),
            auth: auth(message)?,
        })
    }
}

fn auth(message: Node<'_, '_>) -> Result<Option<ClientAuth>, Fault> {
    let hook = message.descendants().find(|node| attribute(*node, "Name").is_some_and(|name| name.eq_ignore_ascii_case("clientauth")));
    let Some(hook) = hook else { return Ok(None) };
    let property = |name: &str| {
        let found = hook.children().find(|node| attribute(*node, "Name").is_some_and(|own| own.eq_ignore_ascii_case(name)));
        found.and_then(|node| node.text()).map(str::trim)
    };
    if let Some(token) = property("Token") {
        let line = |name: &str| {
            let lines = token.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(own, _)| own.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
        };
        let value = line("ClientToken").ok_or(Fault::Missing("ClientToken"))?;
        let signature = line("ClientTokenSignature").ok_or(Fault::Missing("ClientTokenSignature"))?;
        return Ok(Some(ClientAuth::Token { value, signature }));
    }
    let needed = |name: &'static str| property(name).map(str::to_owned).ok_or(Fault::Missing(name));
    Ok(Some(ClientAuth::Payload {
        public_key: needed("PublicKey")?,
        id_signature: needed("ClientIDSignature")?,
        payload_signature: needed("PayloadSignature")?,
        algorithm: needed("HashAlgorithm")?,
    }))
}

/// Inflates what is compressed; boot media send their bodies as they are.
fn inflated(payload: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut inflated = Vec::new();
    let read = ZlibDecoder::new(payload).take(LARGEST_INFLATED as u64 + 1).read_to_end(&mut inflated);
    match read {
        Ok(length) if length > LARGEST_INFLATED => Err(Fault::TooLarge),
        Ok(_) => Ok(inflated),
        Err(_) => Ok(payload.to_vec()),
    }
}

fn deflated(text: &str) -> Vec<u8> {
    let plain = utf16::with_nul(text);
    let mut deflated = Vec::new();
    // Reading from memory into memory cannot fail.
    let _ = ZlibEncoder::new(plain.as_slice(), Compression::fast()).read_to_end(&mut deflated);
    deflated
}

/// The answer to a message: its content type and its body. `from` is the management point's name.
pub fn reply(to: &Header, from: &str, body: &str) -> (String, Vec<u8>) {
    let length = (body.encode_utf16().count() + 1) * 2;
    let header = answer_header(to, from, &format!("<Body Type=\"ByteRange\" Offset=\"0\" Length=\"{length}\"/>"));
    let parts: [(&str, &[u8]); 2] = [(HEADER_TYPE, &utf16::with_mark(&header)), (BODY_TYPE, &deflated(body))];
    (multipart::content_type(), multipart::write(&parts))
}

/// The answer to a message whose sender waits for none. An empty one would be asked for again.
pub fn no_reply(to: &Header, from: &str) -> (String, Vec<u8>) {
    let header = answer_header(to, from, "<Body Type=\"NoReply\"/>");
    (multipart::content_type(), multipart::write(&[(HEADER_TYPE, &utf16::with_mark(&header))]))
}

fn answer_header(to: &Header, from: &str, body: &str) -> String {
    format!(
        "<Msg ReplyCompression=\"zlib\" SchemaVersion=\"1.1\">{body}<CorrelationID>{id}</CorrelationID><Hooks><Hook3 Name=\"zlib-compress\"/>\
         </Hooks><ID>{id}</ID><Payload Type=\"inline\"/><Priority>0</Priority><Protocol>http</Protocol><ReplyMode>Sync</ReplyMode>\
         <SourceHost>{host}</SourceHost><TargetAddress>{target}</TargetAddress></Msg>",
        id = escaped(&to.id),
        host = escaped(from),
        target = escaped(&to.source_id),
    )
}
