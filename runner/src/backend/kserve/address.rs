//! Where a served model is: `kserve=http://HOST:PORT/NAME`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// What `--ep` begins with for a served model.
pub const PREFIX: &str = "kserve=";

/// A model on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Scheme, host, port and what comes before `/v2`.
    base: String,
    /// The model's name.
    pub name: String,
    /// Its version, where one is asked for.
    version: Option<String>,
    secure: bool,
    loopback: bool,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no served model: {reason}; write kserve=http://HOST:PORT/NAME, or .../NAME/versions/1")]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = |reason| AddressError { text: text.escape_debug().to_string(), reason };
        let url = text.strip_prefix(PREFIX).unwrap_or(text);
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("it has no http://"))?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            "grpc" | "grpcs" => return Err(bad("gRPC is not spoken here, and servers of it speak HTTP as well")),
            _ => return Err(bad("only http and https are spoken")),
        };
        if rest.contains(['?', '#', '@']) || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("it may have no user, query or fragment; a token goes into RESNEXT_KSERVE_TOKEN"));
        }
        let mut parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
        let host = parts.first().copied().unwrap_or_default().to_owned();
        let version = match parts[..] {
            [.., "versions", version] if parts.len() > 3 => Some(version.to_owned()),
            _ => None,
        };
        if version.is_some() {
            parts.truncate(parts.len() - 2);
        }
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        let (name, before) = parts.split_last().ok_or_else(|| bad("it names no model"))?;
        // The address of a model as the protocol has it is understood, too.
        let before = before.strip_suffix(&["v2", "models"]).unwrap_or(before);
        if host.is_empty() || before.is_empty() {
            return Err(bad("it names no model"));
        }
        let is_fine = |part: &str| plain(part) && part != "..";
        let known = before[1..].iter().chain([name]).all(|part| is_fine(part));
        if !known || !version.as_deref().is_none_or(is_fine) {
            return Err(bad("names are of letters, digits, '_', '.' and '-'"));
        }
        let only = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
        // A name may begin like an address and lead anywhere.
        let loopback = matches!(only, "localhost" | "[::1]")
            || only.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        let base = format!("{scheme}://{}", before.join("/"));
        Ok(Self { base, name: (*name).to_owned(), version, secure, loopback })
    }
}

impl Address {
    /// Where the server says what it is.
    pub(super) fn server_url(&self) -> String {
        format!("{}/v2", self.base)
    }

    /// Where it says what it serves.
    pub(super) fn model_url(&self) -> String {
        let version = self.version.as_ref().map_or_else(String::new, |version| format!("/versions/{version}"));
        format!("{}/v2/models/{}{version}", self.base, self.name)
    }

    /// Where tensors go.
    pub(super) fn infer_url(&self) -> String {
        format!("{}/infer", self.model_url())
    }

    /// Whether a secret may be sent there: nobody between reads it.
    pub(super) fn keeps_secrets(&self) -> bool {
        self.secure || self.loopback
    }

    /// Whether only encrypted connections will do.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_ref().map_or_else(String::new, |version| format!("/versions/{version}"));
        write!(f, "{PREFIX}{}/{}{version}", self.base, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_a_prefix_a_name_and_a_version_are_told_apart() {
        for (text, url) in [
            ("kserve=http://127.0.0.1:8000/shapes", "http://127.0.0.1:8000/v2/models/shapes"),
            ("kserve=https://h/a/b/shapes/versions/3", "https://h/a/b/v2/models/shapes/versions/3"),
            ("http://h:1/v2/models/m", "http://h:1/v2/models/m"),
            ("kserve=http://h/m/", "http://h/v2/models/m"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.model_url(), url, "{text}");
            assert_eq!(address.infer_url(), format!("{url}/infer"));
        }
        let shown: Address = "kserve=http://h/m".parse().unwrap();
        assert_eq!(shown.to_string(), "kserve=http://h/m");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "kserve=h/m",
            "kserve=http://h",
            "kserve=http://h/",
            "kserve=http:///m",
            "kserve=ftp://h/m",
            "kserve=grpc://h/m",
            "kserve=http://u:p@h/m",
            "kserve=http://h/m?x",
            "kserve=http://h/a b",
            "kserve=http://h/../m",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_go_over_encrypted_connections_or_stay_on_this_machine() {
        let keeps = |text: &str| text.parse::<Address>().unwrap().keeps_secrets();
        assert!(keeps("https://h/m") && keeps("http://localhost:1/m") && keeps("http://127.0.0.1/m"));
        for other in ["h", "127x.example", "127.example", "127.0.0.1.example:80", "localhost.example", "0.0.0.0"] {
            assert!(!keeps(&format!("http://{other}/m")), "{other}");
        }
    }
}
