//! Fetching from elsewhere: bounded in size and time, no proxy, at most three redirects, and not from inside unless that is allowed.
//!
//! Somebody who may write an address into the configuration, or who answers at one, could otherwise make the site server ask what only it
//! can reach. So every address is judged: literal ones, those that a name resolves to, and those of each redirect.
//!
//! Who is believed over `https`: the certificates in the system's bundle file (`SSL_CERT_FILE`, else the places of the distributions), and
//! those that a caller adds, such as the authorities of a trust for its own revocation lists. There is no bundle in the program.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cmg_credentials::tls::{provider, server_client};
use futures_util::{StreamExt, stream};
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use rustls::{ClientConfig, RootCertStore};

/// The longest that a fetch may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many are asked at one time: one that does not answer holds up few others, and four of the largest lists fit into memory.
const AT_ONCE: usize = 4;

/// Redirects that are followed.
const REDIRECTS: usize = 3;

/// Where systems keep the certificates that they believe.
const BUNDLES: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// Which addresses may be asked, on every step of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of the internet.
    Internet,
    /// Those of own networks too, but not this machine and not its links: whoever answers inside could otherwise send the site server to
    /// what listens for itself alone, or to the metadata of a cloud.
    OwnNetworks,
    /// All, since the administrator has written one of this machine.
    Everywhere,
}

impl Reach {
    /// What may be asked on the way from the address `written` by an administrator, who may have allowed own networks too.
    pub fn of(allow_private_addresses: bool, written: &str) -> Self {
        let is_local = || Url::parse(written).is_ok_and(|url| names_this_machine(&url));
        match allow_private_addresses {
            false => Self::Internet,
            true if is_local() => Self::Everywhere,
            true => Self::OwnNetworks,
        }
    }

    fn judge(self, address: IpAddr) -> Result<(), String> {
        match self {
            Self::Internet if is_inside(address) => {
                Err(format!("is the address {address} of an own network; set allow_private_addresses where that is meant"))
            }
            Self::OwnNetworks if is_local(address) => {
                Err(format!("is the address {address} of this machine or its links, which is asked only where it is written as such"))
            }
            Self::Internet | Self::OwnNetworks | Self::Everywhere => Ok(()),
        }
    }
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchFailed {
    /// The address cannot be used.
    #[error("{0}")]
    Url(String),
    /// Nobody answered, or not as HTTP has it.
    #[error("{url} could not be fetched: {cause}")]
    Unreachable {
        /// The address.
        url: String,
        /// Everything that is known about it.
        cause: String,
    },
    /// Something else than 200 was answered.
    #[error("{url} answered {status}")]
    Status {
        /// The address.
        url: String,
        /// What was answered.
        status: u16,
    },
    /// The answer is larger than it may be.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// How large it may be.
        limit: usize,
    },
}

/// Fetches.
pub struct Fetcher {
    roots: Vec<Vec<u8>>,
    /// Hosts that are at a place of their own, whatever their names resolve to.
    places: Arc<BTreeMap<String, SocketAddr>>,
}

impl Fetcher {
    /// Believes whom the system believes.
    pub fn of_system() -> Self {
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let bundle = named.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()));
        let bytes = bundle.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let roots = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).map(|der| der.to_vec()).collect();
        Self::believing(roots)
    }

    /// Believes these roots, DER, and no others.
    pub fn believing(roots: Vec<Vec<u8>>) -> Self {
        Self { roots, places: Arc::default() }
    }

    /// Believes these roots too.
    pub fn and(&self, more: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { roots: self.roots.iter().cloned().chain(more).collect(), places: Arc::clone(&self.places) }
    }

    /// Finds these hosts at these places, as a host table does: whoever names a place means it.
    pub fn finding(self, places: impl IntoIterator<Item = (String, SocketAddr)>) -> Self {
        Self { places: Arc::new(places.into_iter().collect()), ..self }
    }

    /// Whether an address has the form of one that may be asked.
    pub fn judge_url(text: &str, only_https: bool) -> Result<Url, FetchFailed> {
        let refused = |what: &str| FetchFailed::Url(format!("\"{text}\" {what}"));
        let url = Url::parse(text).map_err(|_| refused("is no address"))?;
        match url.scheme() {
            "https" => {}
            "http" if !only_https => {}
            _ if only_https => return Err(refused("does not begin with https://")),
            _ => return Err(refused("begins neither with http:// nor with https://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("holds a user name or password"));
        }
        Ok(url)
    }

    /// What is at an `https` address.
    pub async fn https(&self, url: &str, limit: usize, reach: Reach) -> Result<Vec<u8>, FetchFailed> {
        self.fetch(url, limit, reach, true).await
    }

    /// What is at an `http` or `https` address; for what proves itself.
    pub async fn any(&self, url: &str, limit: usize, reach: Reach) -> Result<Vec<u8>, FetchFailed> {
        self.fetch(url, limit, reach, false).await
    }

    /// Whether an `https` address may be asked, as far as it shows by itself.
    pub fn judge(text: &str, reach: Reach) -> Result<Url, FetchFailed> {
        let url = Self::judge_url(text, true)?;
        judge_host(&url, reach).map_err(|what| FetchFailed::Url(format!("\"{text}\" {what}")))?;
        Ok(url)
    }

    /// A client for a conversation over `https`; no redirect is followed. Each address is for [`Fetcher::judge`].
    pub fn asking(&self, reach: Reach) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
        self.client(reach, true, Policy::none())
    }

    /// Posts a form to an `https` address, which must not redirect: what is sent is for whoever is asked, and nobody else.
    pub async fn post_form(
        &self,
        text: &str,
        form: &[(&str, &str)],
        basic: Option<Basic<'_>>,
        limit: usize,
        reach: Reach,
    ) -> Result<Posted, FetchFailed> {
        let url = Self::judge(text, reach)?;
        let client = self.asking(reach).map_err(|error| unreachable(text, &*error))?;
        let mut request = client.post(url).header("content-type", "application/x-www-form-urlencoded").body(encoded(form));
        if let Some(Basic { name, secret }) = basic {
            // RFC 6749, 2.3.1: both are encoded as in forms.
            let pair = |text| encoded(&[("", text)]).trim_start_matches('=').to_owned();
            request = request.basic_auth(pair(name), Some(pair(secret)));
        }
        let response = request.send().await.map_err(|error| unreachable(text, &error.without_url()))?;
        let status = response.status().as_u16();
        Ok(Posted { status, body: body(response, text, limit).await? })
    }

    async fn fetch(&self, text: &str, limit: usize, reach: Reach, only_https: bool) -> Result<Vec<u8>, FetchFailed> {
        let url = Self::judge_url(text, only_https)?;
        judge_host(&url, reach).map_err(|what| FetchFailed::Url(format!("\"{text}\" {what}")))?;
        let client = self.client(reach, only_https, redirects(reach, only_https)).map_err(|error| unreachable(text, &*error))?;
        let response = client.get(url).send().await.map_err(|error| unreachable(text, &error.without_url()))?;
        match response.status().as_u16() {
            200 => body(response, text, limit).await,
            status => Err(FetchFailed::Status { url: text.to_owned(), status }),
        }
    }

    fn client(
        &self,
        reach: Reach,
        only_https: bool,
        redirects: Policy,
    ) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
        let builder = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(redirects)
            .referer(false)
            .timeout(PATIENCE)
            .user_agent(concat!("opencmg-site/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Judging { reach, places: Arc::clone(&self.places) }));
        let roots = self.usable_roots();
        if only_https && roots.is_empty() {
            return Err("the system has no bundle of certificates: name one in SSL_CERT_FILE".into());
        }
        Ok(builder.tls_backend_preconfigured(tls(&roots)?).build()?)
    }

    /// Bundles hold certificates that no client can use.
    fn usable_roots(&self) -> Vec<Vec<u8>> {
        let is_usable = |der: &&Vec<u8>| RootCertStore::empty().add(CertificateDer::from(der.as_slice())).is_ok();
        self.roots.iter().filter(is_usable).cloned().collect()
    }
}

/// A client's name and secret, as Basic has them.
pub struct Basic<'b> {
    /// The name.
    pub name: &'b str,
    /// The secret.
    pub secret: &'b str,
}

/// What was answered to a form.
pub struct Posted {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

fn unreachable(url: &str, error: &(dyn std::error::Error + 'static)) -> FetchFailed {
    FetchFailed::Unreachable { url: url.to_owned(), cause: cmg_process::log::chain(error) }
}

/// The body of an answer, bounded.
async fn body(mut response: reqwest::Response, url: &str, limit: usize) -> Result<Vec<u8>, FetchFailed> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(url, &error.without_url()))? {
        if bytes.len() + chunk.len() > limit {
            return Err(FetchFailed::TooLarge { url: url.to_owned(), limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Pairs as a form has them.
fn encoded(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form").expect("it is an address");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

/// Follows a few redirects, each judged like the first address.
fn redirects(reach: Reach, only_https: bool) -> Policy {
    Policy::custom(move |attempt: Attempt<'_>| {
        let judged = match attempt.previous().len() > REDIRECTS {
            true => Err("redirects too often".to_owned()),
            false => Fetcher::judge_url(attempt.url().as_str(), only_https)
                .map_err(|error| error.to_string())
                .and_then(|url| judge_host(&url, reach)),
        };
        match judged {
            Ok(()) => attempt.follow(),
            Err(what) => attempt.error(what),
        }
    })
}

/// Does all of it, a few at one time, and gives what came of each, in order.
pub async fn side_by_side<T>(work: Vec<impl Future<Output = T>>) -> Vec<T> {
    stream::iter(work).buffered(AT_ONCE).collect().await
}

/// Who believes nobody speaks plain HTTP only.
fn tls(roots: &[Vec<u8>]) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    if roots.is_empty() {
        let config = ClientConfig::builder_with_provider(Arc::clone(provider())).with_safe_default_protocol_versions()?;
        return Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let config = server_client("roots", roots, None).map_err(|problem| problem.to_string())?;
    Ok(ClientConfig::clone(&config))
}

fn judge_host(url: &Url, reach: Reach) -> Result<(), String> {
    literal(url).map_or(Ok(()), |address| reach.judge(address))
}

/// The address that stands in a URL instead of a name.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn names_this_machine(url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default();
    name == "localhost" || name.ends_with(".localhost") || literal(url).is_some_and(is_local)
}

/// Resolves names, and leaves out addresses that may not be asked.
struct Judging {
    reach: Reach,
    places: Arc<BTreeMap<String, SocketAddr>>,
}

impl Resolve for Judging {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, place) = (self.reach, self.places.get(name.as_str()).copied());
        Box::pin(async move {
            if let Some(place) = place {
                return Ok(Box::new(std::iter::once(place)) as Addrs);
            }
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (mut allowed, mut refused) = (Vec::new(), None);
            for address in found {
                match reach.judge(address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(what) => refused = Some(what),
                }
            }
            match refused.filter(|_| allowed.is_empty()) {
                Some(what) => Err(format!("{} {what}", name.as_str()).into()),
                None => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether an address is of this machine, or of what is linked to it without a router.
fn is_local(address: IpAddr) -> bool {
    match embedded(address) {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local(),
    }
}

/// ::a.b.c.d, ::ffff:a.b.c.d, 64:ff9b::a.b.c.d and 2002:a.b.c.d:: reach the address that they hold.
fn embedded(address: IpAddr) -> IpAddr {
    let held = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => held(high, low),
        _ => address,
    }
}

/// Whether an address is none of the internet: this machine, own networks, link-local, shared, reserved, many receivers.
fn is_inside(address: IpAddr) -> bool {
    match embedded(address) {
        IpAddr::V4(v4) => is_inside_v4(v4),
        // Global unicast is 2000::/3; documentation is in it.
        IpAddr::V6(v6) => matches!(v6.segments(), [first, second, ..] if first & 0xe000 != 0x2000 || (first == 0x2001 && second == 0xdb8)),
    }
}

fn is_inside_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0)
        || (a == 198 && (18..20).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_networks_are_inside_however_they_are_written() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
        ] {
            assert!(is_inside(text.parse().unwrap()), "{text}");
        }
        for text in ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "172.32.0.1", "100.128.0.1"] {
            assert!(!is_inside(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_address_says_how_it_is_asked() {
        for (text, only_https) in
            [("ftp://a", false), ("http://a", true), ("a", false), ("https://u:p@a", false), ("file:///etc/passwd", false)]
        {
            assert!(Fetcher::judge_url(text, only_https).is_err(), "{text}");
        }
        assert!(Fetcher::judge_url("http://a/b.crl", false).is_ok());
    }

    #[test]
    fn this_machine_and_its_links_are_local_however_they_are_written() {
        for text in ["127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0", "::1", "::", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
        {
            assert!(is_local(text.parse().unwrap()), "{text}");
        }
        for text in ["10.1.2.3", "192.168.1.1", "fd00::1", "8.8.8.8"] {
            assert!(!is_local(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn an_address_inside_is_not_asked_unless_that_is_allowed() {
        let fetcher = Fetcher::believing(Vec::new());
        for url in ["http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "http://2130706433:1/", "http://0x7f.1:1/"] {
            let refused = fetcher.any(url, 10, Reach::of(false, url)).await.unwrap_err().to_string();
            assert!(refused.contains("own network"), "{url}: {refused}");
            let refused = fetcher.any(url, 10, Reach::of(true, "http://pki.corp.example/")).await.unwrap_err().to_string();
            assert!(refused.contains("this machine"), "{url}: {refused}");
            let tried = fetcher.any(url, 10, Reach::of(true, url)).await.unwrap_err().to_string();
            assert!(!tried.contains("own network") && !tried.contains("this machine"), "{url}: {tried}");
        }
        assert_eq!(Reach::of(true, "http://10.1.2.3/ca.crl"), Reach::OwnNetworks);
    }
}
