//! A fake of a Configuration Manager client's messaging, written after what open clients were seen to send (headers, envelope, reversed
//! signatures, sizes with the NUL and without the line end). The vendor's client cannot run here.

use std::io::Read;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair as Signer};
use flate2::Compression;
use flate2::read::ZlibEncoder;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256};

use crate::error::LabError;

/// The boundary that most clients use.
const BOUNDARY: &str = "aAbBcCdDv1234567890VxXyYzZ";

/// A fake ConfigMgr client: an RSA key, and a certificate that it has signed itself.
pub struct FakeCcmClient {
    pair: Signer,
    /// Its certificate, DER, for signing and encryption alike.
    pub certificate: Vec<u8>,
    /// Its id, `GUID:...`; empty until it is registered.
    pub id: String,
}

/// A message, ready to be sent by `CCM_POST`.
#[derive(Clone)]
pub struct FakeCcmMessage {
    /// The content type.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl FakeCcmClient {
    /// A client with a new key.
    pub fn new() -> Result<Self, LabError> {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(|_| LabError::Key("no RSA key"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ConfigMgr Client");
        let certificate = params.self_signed(&key).map_err(|_| LabError::Key("no certificate of its own"))?;
        let pair = Signer::from_pkcs8(key.serialized_der()).map_err(|_| LabError::Key("no RSA key"))?;
        Ok(Self { pair, certificate: certificate.der().to_vec(), id: String::new() })
    }

    /// Signs as CryptoAPI does: the bytes of the signature are reversed, in hexadecimal.
    pub fn sign(&self, message: &[u8]) -> Result<String, LabError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| LabError::Key("no signature"))?;
        signature.reverse();
        Ok(hex(&signature))
    }

    /// `ClientToken` and `ClientTokenSignature` for a GET; `at` is written like `2026-01-02T03:04:05Z`.
    pub fn token(&self, at: &str) -> Result<(String, String), LabError> {
        let value = format!("{};{at};2", self.id);
        let signature = self.sign(&with_nul(&value))?;
        Ok((value, signature))
    }

    /// A registration for a device of this name.
    pub fn registration(&self, name: &str) -> Result<FakeCcmMessage, LabError> {
        let certificate = hex(&self.certificate);
        let data = format!(
            "<Data HashAlgorithm=\"1.2.840.113549.1.1.11\" SMSID=\"\" RequestType=\"Registration\" TimeStamp=\"2026-01-02T03:04:05Z\">\r\n\
             <AgentInformation AgentIdentity=\"CCMSetup.exe\" AgentVersion=\"5.00.9128.1007\" AgentType=\"0\" />\r\n<Certificates>\
             <Encryption Encoding=\"HexBinary\" KeyType=\"1\">{certificate}</Encryption>\
             <Signing Encoding=\"HexBinary\" KeyType=\"1\">{certificate}</Signing></Certificates><DiscoveryProperties>\
             <Property Name=\"Netbios Name\" Value=\"{name}\" /><Property Name=\"FQ Name\" Value=\"{name}.corp.example\" />\
             </DiscoveryProperties></Data>"
        );
        let signature = self.sign(&utf16(&data))?;
        let body = format!(
            "<ClientRegistrationRequest>{data}<Signature><SignatureValue>{signature}</SignatureValue></Signature></ClientRegistrationRequest>"
        );
        self.message("MP_ClientRegistration", "Sync", &body, false)
    }

    /// A message to an endpoint of the management point, signed.
    pub fn signed(&self, endpoint: &str, mode: &str, body: &str) -> Result<FakeCcmMessage, LabError> {
        self.message(endpoint, mode, body, true)
    }

    fn message(&self, endpoint: &str, mode: &str, body: &str, signed: bool) -> Result<FakeCcmMessage, LabError> {
        let plain = with_nul(body);
        let payload = deflated(&[&plain, b"\r\n".as_slice()].concat());
        let auth = if signed { self.client_auth(&payload)? } else { String::new() };
        let header = format!(
            "<Msg ReplyCompression=\"zlib\" SchemaVersion=\"1.1\"><Body Type=\"ByteRange\" Length=\"{length}\" Offset=\"0\" /><CorrelationID>\
             {{00000000-0000-0000-0000-000000000000}}</CorrelationID><Hooks>{auth}<Hook3 Name=\"zlib-compress\" /></Hooks>\
             <ID>{{5DD100CD-DF1D-45F5-BA17-A327F43465F8}}</ID><Payload Type=\"inline\" /><Priority>0</Priority><Protocol>http</Protocol>\
             <ReplyMode>{mode}</ReplyMode><ReplyTo>direct:PC-1:SccmMessaging</ReplyTo><SentTime>2026-01-02T03:04:05Z</SentTime><SourceID>{id}</SourceID>\
             <SourceHost>PC-1</SourceHost><TargetAddress>mp:{endpoint}</TargetAddress><TargetEndpoint>{endpoint}</TargetEndpoint>\
             <TargetHost>mp1.corp.example</TargetHost><Timeout>60000</Timeout></Msg>",
            length = plain.len(),
            id = self.id,
        );
        let mut message = Vec::new();
        for (kind, content) in
            [("text/plain; charset=UTF-16", [&[0xff, 0xfe], utf16(&header).as_slice()].concat()), ("application/octet-stream", payload)]
        {
            message.extend_from_slice(format!("--{BOUNDARY}\r\ncontent-type: {kind}\r\n\r\n").as_bytes());
            message.extend_from_slice(&content);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        Ok(FakeCcmMessage { content_type: format!("multipart/mixed; boundary=\"{BOUNDARY}\""), body: message })
    }

    fn client_auth(&self, payload: &[u8]) -> Result<String, LabError> {
        Ok(format!(
            "<Hook2 Name=\"clientauth\"><Property Name=\"AuthSenderMachine\">PC-1</Property><Property Name=\"PublicKey\">{}</Property>\
             <Property Name=\"ClientIDSignature\">{}</Property><Property Name=\"PayloadSignature\">{}</Property>\
             <Property Name=\"ClientCapabilities\">NonSSL</Property><Property Name=\"HashAlgorithm\">1.2.840.113549.1.1.11</Property></Hook2>",
            hex(&self.public_key_blob()),
            self.sign(&with_nul(&self.id))?,
            self.sign(payload)?,
        ))
    }

    fn public_key_blob(&self) -> Vec<u8> {
        let key: &<Signer as aws_lc_rs::signature::KeyPair>::PublicKey = self.pair.public_key();
        let modulus = key.modulus().big_endian_without_leading_zero().to_vec();
        let mut blob = vec![6, 2, 0, 0, 0, 0xa4, 0, 0];
        blob.extend_from_slice(b"RSA1");
        blob.extend_from_slice(&(modulus.len() as u32 * 8).to_le_bytes());
        blob.extend_from_slice(&65_537_u32.to_le_bytes());
        blob.extend(modulus.iter().rev());
        blob
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn with_nul(text: &str) -> Vec<u8> {
    [utf16(text).as_slice(), &[0, 0]].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::new();
    // Reading from memory into memory cannot fail.
    let _ = ZlibEncoder::new(plain, Compression::default()).read_to_end(&mut deflated);
    deflated
}
