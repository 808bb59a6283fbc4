//! Where Langfuse is: the URL a user writes, taken apart for a callout.

use std::fmt;

/// Path of Langfuse's OTLP receiver below its base URL (facts: <https://langfuse.com/docs/opentelemetry/get-started>).
const OTLP_PATH: &str = "/api/public/otel/v1/traces";
/// Path of the legacy ingestion API below the base URL.
const INGESTION_PATH: &str = "/api/public/ingestion";
/// Ends of a URL that name an API of Langfuse rather than its base; the last is what the predecessor documented.
const API_PATHS: [&str; 4] = [OTLP_PATH, "/api/public/otel", INGESTION_PATH, "/api/public"];

/// A Langfuse server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// TLS or not.
    pub https: bool,
    /// Host as written, with the port unless it is the scheme's: the `:authority` of a callout.
    pub authority: String,
    /// Host with its port always: the default upstream (WasmX) or cluster name (Envoy).
    pub host_and_port: String,
    /// Path of the base URL, without a slash at its end.
    pub base_path: String,
    /// Path of an OTLP receiver that is not Langfuse's own, such as an OpenTelemetry Collector's (`/v1/traces`,
    /// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>).
    pub receiver: Option<String>,
}

/// Why a URL is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointError {
    /// It does not begin with `http://` or `https://`.
    Scheme,
    /// It has no host, or characters that no host has.
    Host,
    /// The port is not 1-65535.
    Port,
    /// It has a user name, a query or a fragment.
    Extra,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "must begin with https:// or http://, as in https://cloud.langfuse.com",
            Self::Host => "has no valid host; write it as in https://cloud.langfuse.com",
            Self::Port => "has a port that is not in 1 to 65535",
            Self::Extra => "must have no user name, query or fragment; keys have their own settings",
        })
    }
}

impl Endpoint {
    /// Takes `url` apart; accepts a base URL and the URLs of Langfuse's APIs.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let url = url.trim();
        let (https, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(EndpointError::Scheme),
        };
        if rest.contains(['?', '#', '@']) {
            return Err(EndpointError::Extra);
        }
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host_port, path) = rest.split_at(slash);
        let default_port = if https { 443 } else { 80 };
        let (host, port) = split_port(host_port)?;
        let port = port.unwrap_or(default_port);
        let authority = if port == default_port { host.to_owned() } else { format!("{host}:{port}") };
        let host_and_port = format!("{host}:{port}");
        let receiver = receiver(path).map(str::to_owned);
        Ok(Self { https, authority, host_and_port, base_path: base_path(path).to_owned(), receiver })
    }

    /// Path to which traces are posted.
    #[must_use]
    pub fn otlp_path(&self) -> String {
        self.receiver.clone().unwrap_or_else(|| format!("{}{OTLP_PATH}", self.base_path))
    }

    /// Its host is an address, for which WasmX can make no TLS connection: it has no name to ask for.
    #[must_use]
    pub fn is_tls_to_address(&self) -> bool {
        let host = self.host_and_port.rsplit_once(':').map_or("", |(host, _)| host);
        self.https && (host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok())
    }

    /// What receives the traces, for log lines: `Langfuse at https://…`.
    #[must_use]
    pub fn server(&self) -> String {
        match &self.receiver {
            Some(path) => {
                format!("the OTLP receiver at {}://{}{path}", if self.https { "https" } else { "http" }, self.authority)
            }
            None => format!("Langfuse at {}", self.base_url()),
        }
    }

    /// Path to which legacy batches are posted.
    #[must_use]
    pub fn ingestion_path(&self) -> String {
        format!("{}{INGESTION_PATH}", self.base_path)
    }

    /// The base URL, for log lines.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("{}://{}{}", if self.https { "https" } else { "http" }, self.authority, self.base_path)
    }
}

/// `upstream` is an address that WasmX takes: `host`, `host:port`, `[v6]:port` or `unix:/path`. It leaks a connection for
/// every call to what is none.
#[must_use]
pub fn is_address(upstream: &str) -> bool {
    upstream.strip_prefix("unix:").map_or_else(|| split_port(upstream).is_ok(), |path| path.starts_with('/'))
}

/// The path, if it is that of an OTLP receiver and not of Langfuse.
fn receiver(path: &str) -> Option<&str> {
    let path = path.trim_end_matches('/');
    (path.ends_with("/v1/traces") && !path.ends_with(OTLP_PATH)).then_some(path)
}

fn base_path(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    let cut = API_PATHS.iter().find_map(|api| path.strip_suffix(api)).unwrap_or(path);
    cut.trim_end_matches('/')
}

fn split_port(host_port: &str) -> Result<(&str, Option<u16>), EndpointError> {
    let after_bracket = host_port.rfind(']').unwrap_or(0);
    let colon = host_port.get(after_bracket..).and_then(|rest| rest.find(':')).map(|at| at + after_bracket);
    let (host, port) = match colon.and_then(|at| Some((host_port.get(..at)?, host_port.get(at + 1..)?))) {
        Some((host, port)) => (host, Some(port)),
        None => (host_port, None),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let known =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (bracketed && "[]:%".contains(c));
    if host.is_empty() || !host.chars().all(known) {
        return Err(EndpointError::Host);
    }
    match port.map(str::parse::<u16>) {
        None => Ok((host, None)),
        Some(Ok(port)) if port > 0 => Ok((host, Some(port))),
        Some(_) => Err(EndpointError::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_and_api_urls_name_the_same_server() {
        for url in [
            "https://cloud.langfuse.com",
            "https://cloud.langfuse.com/",
            "https://cloud.langfuse.com:443/api/public/ingestion",
            " https://cloud.langfuse.com/api/public/otel/v1/traces",
            "https://cloud.langfuse.com/api/public/otel/",
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(endpoint.base_url(), "https://cloud.langfuse.com", "{url}");
            assert_eq!(endpoint.otlp_path(), "/api/public/otel/v1/traces");
            assert_eq!(endpoint.host_and_port, "cloud.langfuse.com:443");
        }
    }

    #[test]
    fn any_otlp_receiver_is_called_as_it_is_written() {
        for (url, path, server) in [
            ("http://127.0.0.1:4318/v1/traces", "/v1/traces", "the OTLP receiver at http://127.0.0.1:4318/v1/traces"),
            (
                "https://otel.example/a/v1/traces/",
                "/a/v1/traces",
                "the OTLP receiver at https://otel.example/a/v1/traces",
            ),
            ("https://x/api/public/otel/v1/traces", "/api/public/otel/v1/traces", "Langfuse at https://x"),
            ("http://x/lf/api/public/otel/v1/traces", "/lf/api/public/otel/v1/traces", "Langfuse at http://x/lf"),
            ("http://x/v1/traces2", "/v1/traces2/api/public/otel/v1/traces", "Langfuse at http://x/v1/traces2"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.otlp_path().as_str(), endpoint.server().as_str()), (path, server), "{url}");
        }
    }

    #[test]
    fn an_address_has_no_name_for_tls() {
        for (url, is) in [
            ("https://10.0.0.1", true),
            ("https://[::1]:3000/x", true),
            ("http://10.0.0.1", false),
            ("https://10.0.0.1.nip.io", false),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().is_tls_to_address(), is, "{url}");
        }
    }

    #[test]
    fn ports_paths_and_ipv6_are_kept() {
        let endpoint = Endpoint::parse("http://[::1]:3000/lf/api/public/ingestion").unwrap();
        assert_eq!((endpoint.https, endpoint.authority.as_str()), (false, "[::1]:3000"));
        assert_eq!(endpoint.otlp_path(), "/lf/api/public/otel/v1/traces");
        assert_eq!(endpoint.ingestion_path(), "/lf/api/public/ingestion");
        assert_eq!(Endpoint::parse("http://langfuse").unwrap().host_and_port, "langfuse:80");
    }

    #[test]
    fn addresses_for_wasmx() {
        for good in ["langfuse", "langfuse:3000", "10.0.0.1:80", "[::1]:443", "unix:/run/lf.sock"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "http://host", "host:99999", "host:0", " host", "a b", ":80", "outbound|443||lf", "unix:x"] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn what_a_callout_cannot_use_is_refused() {
        for (url, error) in [
            ("cloud.langfuse.com", EndpointError::Scheme),
            ("ftp://x", EndpointError::Scheme),
            ("https://", EndpointError::Host),
            ("https://a b", EndpointError::Host),
            ("https://x:0", EndpointError::Port),
            ("https://x:99999", EndpointError::Port),
            ("https://pk:sk@x", EndpointError::Extra),
            ("https://x/?key=1", EndpointError::Extra),
        ] {
            assert_eq!(Endpoint::parse(url), Err(error), "{url}");
        }
    }
}
