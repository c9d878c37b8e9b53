//! One request: through which proxy, along which redirects, who gets the token, and whether a failure may pass.

use std::io::Read;
use std::time::{Duration, SystemTime};

use goldfish::{Error, Result};
use ureq::http::{HeaderMap, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

use super::address::{about, join, origin, parse, shown};
use super::check::{DIGITS, Expected, is_hex};
use super::proxy;

/// Redirects that are followed.
const REDIRECTS: usize = 10;

const NOWHERE: &str = "the host was not found: is this machine online? A proxy is taken from HTTPS_PROXY or ALL_PROXY";

/// Why nothing, or not all, came.
pub enum Failure {
    /// It may go better later; the server may have said when.
    Passing { why: String, wait: Option<Duration> },
    /// It will not.
    Lasting(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Lasting(error)
    }
}

/// Asks one server, and those that it sends on to.
pub struct Client {
    /// How long nothing may come.
    pub timeout: Duration,
    /// Is sent to the server of the first address, and to no other.
    pub token: Option<String>,
}

/// What is asked for.
pub struct Request<'a> {
    pub url: &'a str,
    /// Bytes that are there already.
    pub from: u64,
    /// Of which file they are.
    pub validator: Option<&'a str>,
}

/// What came back: 200, 206 or 416.
pub struct Answer {
    pub status: u16,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// Where the body begins in the file.
    pub start: u64,
    /// Bytes of the whole file.
    pub total: Option<u64>,
    /// What the first server says of the file that it only links to, as the Hugging Face hub does.
    pub linked: Expected,
    /// Whether it is a web page.
    pub page: bool,
    body: Body,
}

impl Answer {
    pub fn reader(self) -> impl Read {
        self.body.into_reader()
    }
}

impl Client {
    /// Asks for the file of `request`, or its rest.
    pub fn get(&self, request: &Request) -> Result<Answer, Failure> {
        let first = parse(request.url)?;
        let (mut at, mut linked) = (first.clone(), Expected::default());
        for _ in 0..=REDIRECTS {
            let response = self.once(&at, origin(&at) == origin(&first), request)?;
            let (status, headers) = (response.status().as_u16(), response.headers());
            if origin(&at) == origin(&first) {
                linked = linked.or(link(headers));
            }
            match status {
                200 | 206 | 416 => {
                    let range = text(headers, "content-range");
                    let (start, total) = range.as_deref().map_or((0, None), content_range);
                    let length = text(headers, "content-length").and_then(|l| l.parse().ok());
                    let kind = text(headers, "content-type").unwrap_or_default();
                    return Ok(Answer {
                        status,
                        etag: text(headers, "etag"),
                        last_modified: text(headers, "last-modified"),
                        start,
                        total: if status == 200 { length } else { total },
                        linked,
                        page: kind
                            .trim_start()
                            .to_ascii_lowercase()
                            .starts_with("text/html"),
                        body: response.into_body(),
                    });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let location = text(headers, "location");
                    let next = location.as_deref().and_then(|to| join(&at, to));
                    let next = next.ok_or_else(|| about(&at, "redirects to no address"))?;
                    if at.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                        let to = shown(&next);
                        let why = format!(
                            "redirects to {to}, which is not encrypted: this is not followed"
                        );
                        return Err(about(&at, why).into());
                    }
                    at = next;
                }
                _ => return Err(refused(&at, status, headers, self.token.is_some())),
            }
        }
        let why = format!("redirects more than {REDIRECTS} times: the address leads nowhere");
        Err(about(&first, why).into())
    }

    fn once(
        &self,
        at: &Uri,
        own: bool,
        request: &Request,
    ) -> Result<ureq::http::Response<Body>, Failure> {
        let failed = |error: ureq::Error| self.failed(at, error);
        let agent = self.agent(at)?;
        let mut get = agent.get(at);
        if let Some(token) = self.token.as_ref().filter(|_| own) {
            get = get.header("authorization", format!("Bearer {token}"));
        }
        if request.from > 0 {
            get = get.header("range", format!("bytes={}-", request.from));
            if let Some(validator) = request.validator {
                get = get.header("if-range", validator);
            }
        }
        get.call().map_err(failed)
    }

    fn agent(&self, at: &Uri) -> Result<Agent> {
        let mut tls = TlsConfig::builder();
        if let Some(roots) = roots()? {
            tls = tls.root_certs(roots);
        }
        let time = Some(self.timeout);
        let config = Agent::config_builder()
            .user_agent(concat!("goldfish/", env!("CARGO_PKG_VERSION")))
            // What comes is the file itself and nothing that would first have to be unpacked.
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(chosen_proxy(at)?)
            .tls_config(tls.build())
            .timeout_resolve(time)
            .timeout_connect(time)
            .timeout_per_read(time)
            .timeout_per_write(time);
        Ok(config.build().new_agent())
    }

    /// What an error of the connection comes down to.
    pub fn failed(&self, at: &Uri, error: ureq::Error) -> Failure {
        let certificate = "the server's certificate is not accepted";
        let own = "where a proxy opens connections, name its certificates with SSL_CERT_FILE";
        let why = match &error {
            ureq::Error::Timeout(_) => format!("nothing came for {:?}", self.timeout),
            // An alert or a certificate of TLS; what was cut is an UnexpectedEof.
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                return about(at, format!("{certificate} ({e}); {own}")).into();
            }
            ureq::Error::Rustls(e) => {
                return about(at, format!("{certificate} ({e}); {own}")).into();
            }
            ureq::Error::Tls(e) => return about(at, format!("{certificate} ({e}); {own}")).into(),
            ureq::Error::Http(_) | ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl => {
                return about(at, format!("cannot be asked ({error})")).into();
            }
            ureq::Error::Io(e) if e.to_string().contains("failed to lookup") => NOWHERE.into(),
            ureq::Error::HostNotFound => NOWHERE.into(),
            ureq::Error::Io(e) => e.to_string(),
            _ => error.to_string(),
        };
        Failure::Passing { why, wait: None }
    }
}

/// A status that is no file.
fn refused(at: &Uri, status: u16, headers: &HeaderMap, token: bool) -> Failure {
    let said = format!("the server answers {status}");
    match status {
        408 | 425 | 429 | 500 | 502..=504 => Failure::Passing {
            why: said,
            wait: text(headers, "retry-after").and_then(|text| retry_after(&text, SystemTime::now())),
        },
        401 | 403 => {
            let what = match token {
                true => "HF_TOKEN gives no access to it",
                false => "it may want a token (HF_TOKEN), or a proxy refuses it",
            };
            about(at, format!("{said}: {what}. Choose another source with --from")).into()
        }
        404 | 410 => about(
            at,
            format!("{said}: there is no such file. Check the name, or choose another source with --from"),
        )
        .into(),
        407 => about(at, format!("{said}: the proxy wants a name and a password (http://NAME:PASSWORD@HOST)")).into(),
        _ => about(at, format!("{said}, which is no file. Choose another source with --from")).into(),
    }
}

/// `Retry-After`: seconds or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// `bytes 100-199/1000` and `bytes */1000`: where it starts and how long all is.
fn content_range(text: &str) -> (u64, Option<u64>) {
    let parse = || {
        let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        let start = range
            .split_once('-')
            .and_then(|(start, _)| start.trim().parse().ok());
        Some((start.unwrap_or(0), total.trim().parse().ok()))
    };
    parse().unwrap_or((0, None))
}

/// What the Hugging Face hub says of a file that it keeps elsewhere.
fn link(headers: &HeaderMap) -> Expected {
    let digits =
        text(headers, "x-linked-etag").map(|etag| etag.trim_matches('"').to_ascii_lowercase());
    Expected {
        size: text(headers, "x-linked-size").and_then(|size| size.parse().ok()),
        sha256: digits.filter(|digits| digits.len() == DIGITS && is_hex(digits)),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_string())
}

/// The certificates in `SSL_CERT_FILE`, where it is set; Mozilla's are built in.
fn roots() -> Result<Option<RootCerts>> {
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let path = std::path::PathBuf::from(path);
    let pem = std::fs::read(&path).map_err(Error::io(&path, "read"))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(Error::data(
            &path,
            "SSL_CERT_FILE holds no certificate (PEM)",
        )),
        false => Ok(Some(RootCerts::from(certificates))),
    }
}

fn chosen_proxy(at: &Uri) -> Result<Option<Proxy>> {
    let variable = |name: &str| std::env::var(name).ok();
    let (scheme, host) = (
        at.scheme_str().unwrap_or_default(),
        at.host().unwrap_or_default(),
    );
    let Some((name, value)) = proxy::choose(scheme, host, variable) else {
        return Ok(None);
    };
    // The value may hold a password.
    let proxy = Proxy::new(&value).map_err(|_| {
        Error::Usage(format!(
            "{name} is not a proxy's address, as in http://HOST:PORT"
        ))
    })?;
    Ok(Some(proxy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_headers_say() {
        assert_eq!(content_range("bytes 100-199/1000"), (100, Some(1000)));
        assert_eq!(content_range("bytes */1000"), (0, Some(1000)));
        assert_eq!(content_range("bytes 5-9/*"), (5, None));
        assert_eq!(content_range("lines 1-2/3"), (0, None));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_700);
        let wait = |text| retry_after(text, now).map(|d| d.as_secs());
        assert_eq!(wait("7"), Some(7));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(77));
        assert_eq!(wait("Sat, 05 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-1"), None);
    }
}
