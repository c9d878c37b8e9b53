//! Which proxy an address is asked through: curl's rules for `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

/// The name and the value of the variable that holds for an address; none where it is asked directly.
pub fn choose(
    scheme: &str,
    host: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<(String, String)> {
    let set = |name: &str| {
        let upper = name.to_ascii_uppercase();
        let names = [name.to_string(), upper];
        names.into_iter().find_map(|name| {
            let value = variable(&name)?;
            Some((name, value.trim().to_string())).filter(|(_, value)| !value.is_empty())
        })
    };
    if set("no_proxy").is_some_and(|(_, list)| spared(host, &list)) {
        return None;
    }
    set(&format!("{scheme}_proxy")).or_else(|| set("all_proxy"))
}

/// Whether a host is in a list of names, each of which stands for those below it too.
fn spared(host: &str, list: &str) -> bool {
    let plain = |text: &str| text.trim_matches(['[', ']']).to_ascii_lowercase();
    let host = plain(host);
    list.split([',', ' ']).any(|entry| {
        let entry = entry
            .trim()
            .trim_start_matches("*.")
            .trim_start_matches('.');
        // A port in it is of no matter; more than one colon is IPv6.
        let name = match entry.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() && !plain(name).contains(':') => name,
            _ => entry,
        };
        let entry = plain(name);
        let below = || {
            host.strip_suffix(&entry)
                .is_some_and(|front| front.ends_with('.'))
        };
        !entry.is_empty() && (entry == "*" || host == entry || below())
    })
}

#[cfg(test)]
mod tests {
    use super::{choose, spared};

    #[test]
    fn the_scheme_decides_and_no_proxy_spares() {
        let variables = [
            ("https_proxy", "http://s:1"),
            ("HTTP_PROXY", "http://p:2"),
            ("ALL_PROXY", "socks5://a:3"),
            ("NO_PROXY", "localhost, .lan,10.0.0.1:80"),
        ];
        let chosen = |scheme, host| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| value.to_string())
            };
            choose(scheme, host, variable).map(|(_, value)| value)
        };
        assert_eq!(chosen("https", "h.org").as_deref(), Some("http://s:1"));
        assert_eq!(chosen("http", "h.org").as_deref(), Some("http://p:2"));
        for host in ["localhost", "a.lan", "lan", "10.0.0.1"] {
            assert_eq!(chosen("https", host), None, "{host}");
        }
        let only = |name: &str| (name == "ALL_PROXY").then(|| "socks5://a:3".to_string());
        assert!(choose("https", "h.org", only).is_some());
        assert!(
            choose("https", "h.org", |name| (name == "HTTP_PROXY")
                .then(String::new))
            .is_none()
        );
    }

    #[test]
    fn a_name_stands_for_those_below_it_and_for_no_other() {
        for (host, list, is) in [
            ("a.example.com", "example.com", true),
            ("example.com", "*.example.com", true),
            ("notexample.com", "example.com", false),
            ("example.com.evil.org", "example.com", false),
            ("anything", "*", true),
            ("[::1]", "::1", true),
            ("EXAMPLE.com", "example.COM", true),
            ("h.org", "", false),
            ("h.org", ", ,", false),
        ] {
            assert_eq!(spared(host, list), is, "{host} {list}");
        }
    }
}
