//! HTTP for the ACME client, with the same bounds as everything that the site fetches.

use std::pin::Pin;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use cmg_api::resource::Acme;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use pki_types::CertificateDer;
use pki_types::pem::PemObject;

use super::Failed;
use crate::app::fetching::{Fetcher, Reach};

/// The largest answer, in bytes: chains of certificates are the largest.
const LARGEST: usize = 256 << 10;

/// The longest pause that a server may ask for, in seconds: as long as it is waited for at all.
const LONGEST_PAUSE: u64 = 180;

/// Asks one ACME server.
pub(super) struct Wire {
    client: reqwest::Client,
    reach: Reach,
}

impl Wire {
    /// Believes whom the order says, or whom the system believes.
    pub(super) fn new(acme: &Acme) -> Result<Self, Failed> {
        let ders = acme.directory_authorities.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()));
        let roots: Vec<Vec<u8>> = ders.filter_map(Result::ok).map(|der| der.to_vec()).collect();
        let fetcher = if roots.is_empty() { Fetcher::of_system() } else { Fetcher::believing(roots) };
        let reach = Reach::of(acme.allow_private_addresses, &acme.directory);
        let client = fetcher.asking(reach).map_err(|error| Failed::Said(format!("the ACME server cannot be asked: {error}")))?;
        Ok(Self { client, reach })
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Wire {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let (client, reach) = (self.client.clone(), self.reach);
        Box::pin(async move {
            let failed = |error: Box<dyn std::error::Error + Send + Sync>| Error::Other(error);
            let (parts, body) = request.into_parts();
            // Every address comes from the server's own directory and answers.
            Fetcher::judge(&parts.uri.to_string(), reach).map_err(|error| failed(error.into()))?;
            let body = to_bytes(Body::new(body), LARGEST).await.map_err(|error| failed(error.into()))?;
            let request = reqwest::Request::try_from(Request::from_parts(parts, body)).map_err(|error| failed(error.into()))?;
            let response = client.execute(request).await.map_err(|error| failed(error.into()))?;
            read(response).await
        })
    }
}

async fn read(mut response: reqwest::Response) -> Result<BytesResponse, Error> {
    let (mut parts, ()) = Response::new(()).into_parts();
    (parts.status, parts.headers) = (response.status(), std::mem::take(response.headers_mut()));
    leave_out_long_pauses(&mut parts.headers);
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Error::Other(Box::new(error)))? {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(Error::Str("an answer of a length that this program takes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(BytesResponse { parts, body: Box::new(Bytes::from(bytes)) })
}

/// Leaves out a pause that is no few seconds: the client would add any number to the time of day, and panic where that has no end.
/// A date is left out as well; without a pause the client asks at a pace of its own.
fn leave_out_long_pauses(headers: &mut HeaderMap) {
    let pause = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    if pause.is_none_or(|pause| pause > LONGEST_PAUSE) {
        headers.remove(RETRY_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_ask_for_a_pause_without_end() {
        let kept = |value: &str| {
            let mut headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            leave_out_long_pauses(&mut headers);
            headers.contains_key(RETRY_AFTER)
        };

        assert!(kept("0") && kept("180"));
        for long in ["181", "18446744073709551615", "99999999999999999999", "-1", "Fri, 31 Dec 9999 23:59:59 GMT", ""] {
            assert!(!kept(long), "{long}");
        }
    }
}
