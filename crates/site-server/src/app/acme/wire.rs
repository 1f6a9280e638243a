//! HTTP for the ACME client, with the same bounds as everything that the site fetches.

use std::pin::Pin;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use cmg_api::resource::Acme;
use http::{Request, Response};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use pki_types::CertificateDer;
use pki_types::pem::PemObject;

use super::Failed;
use crate::app::fetching::{Fetcher, Reach};

/// The largest answer, in bytes: chains of certificates are the largest.
const LARGEST: usize = 256 << 10;

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
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Error::Other(Box::new(error)))? {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(Error::Str("an answer of a length that this program takes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(BytesResponse { parts, body: Box::new(Bytes::from(bytes)) })
}
