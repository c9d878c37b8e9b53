//! Addresses: checked, joined, compared, and printed without what may be secret in them.

use std::path::Path;

use goldfish::{Error, Result};
use ureq::http::Uri;

/// An address, checked.
pub fn parse(url: &str) -> Result<Uri> {
    let problem = |why: &str| Error::Usage(format!("{why}, found {:?}", without_secrets(url)));
    let uri: Uri = url
        .parse()
        .map_err(|e| problem(&format!("an address must be a URL ({e})")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(problem(
            "an address must begin with https:// or http:// and a host",
        ));
    }
    if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(problem("an address with a password in it is not taken"));
    }
    Ok(uri)
}

/// An address without what may be secret in it: user, password, query.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_string(),
    }
}

/// An address as it is printed and noted.
pub fn shown(uri: &Uri) -> String {
    without_secrets(&uri.to_string())
}

/// An error about an address.
pub fn about(uri: &Uri, problem: impl Into<String>) -> Error {
    Error::data(Path::new(&shown(uri)), problem)
}

/// Who answers: one origin may get the token of another only where all three are the same.
pub fn origin(uri: &Uri) -> (Option<&str>, Option<String>, Option<u16>) {
    let default = match uri.scheme_str() {
        Some("https") => Some(443),
        _ => Some(80),
    };
    let host = uri.host().map(str::to_ascii_lowercase);
    (uri.scheme_str(), host, uri.port_u16().or(default))
}

/// Where a redirect leads.
pub fn join(at: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next()?;
    let (scheme, host) = (at.scheme_str()?, at.authority()?);
    let folder = at.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let whole = match location {
        _ if location.contains("://") => location.to_string(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{host}{location}"),
        _ => format!("{scheme}://{host}{folder}/{location}"),
    };
    parse(&whole).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_redirect_leads() {
        let at = parse("https://h.org:8443/a/b?c=d").expect("a URL");
        for (location, leads) in [
            ("https://x.org/y?z", "https://x.org/y?z"),
            ("//x.org/y", "https://x.org/y"),
            ("/y#part", "https://h.org:8443/y"),
            ("y", "https://h.org:8443/a/y"),
        ] {
            assert_eq!(join(&at, location).expect("a URL").to_string(), leads);
        }
        for location in [
            "ftp://x.org/y",
            "http://",
            "https://u:p@x.org/y",
            "http://[x/",
        ] {
            assert!(join(&at, location).is_none(), "{location}");
        }
    }

    #[test]
    fn a_token_is_for_one_origin() {
        let of = |url| {
            let uri = parse(url).expect("a URL");
            format!("{:?}", origin(&uri))
        };
        assert_eq!(of("https://H.org/a"), of("https://h.org:443/b"));
        for other in ["http://h.org/a", "https://h.org:444/a", "https://x.h.org/a"] {
            assert_ne!(of("https://h.org/a"), of(other), "{other}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let uri = parse("https://h.org/a?X-Signature=s#t").expect("a URL");
        assert_eq!(shown(&uri), "https://h.org/a");
        let error = parse("https://name:secret@h.org/a?k=hidden")
            .unwrap_err()
            .to_string();
        assert!(
            !error.contains("secret") && !error.contains("hidden"),
            "{error}"
        );
        assert!(error.contains("https://h.org/a"), "{error}");
    }
}
