//! Requests to a server and its answers, as bytes.

use std::time::Duration;

use onnx_file::text::Shown;
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error, http::Response};

use super::address::Address;
use crate::model::opened::ModelError;

/// Environment variable that holds a bearer token.
const TOKEN: &str = "RESNEXT_KSERVE_TOKEN";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Most bytes of a description.
const MOST_METADATA: u64 = 4 << 20;
/// Most bytes of an answer.
const MOST_ANSWER: u64 = 1 << 30;
/// The header that says where JSON ends and bytes begin.
const HEADER_LENGTH: &str = "Inference-Header-Content-Length";
/// Busy servers are asked again after this long, and then after twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// How often a request is sent. Inference changes nothing, but an answer that is lost may have cost the server its time:
/// only what was certainly not begun is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tries {
    One,
    Few,
}

/// An answer to tensors.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Bytes of JSON before the tensors'.
    pub(super) header: Option<usize>,
}

impl Answer {
    /// Whether it says that the request's form is not understood.
    pub(super) fn refuses_form(&self) -> bool {
        matches!(self.status, 400 | 411 | 415 | 422)
    }
}

pub(super) struct Client {
    agent: Agent,
    address: Address,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(address: &Address, timeout: Duration) -> Result<Self, ModelError> {
        let token = std::env::var(TOKEN).ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        if let Some(token) = &token {
            let unavailable = |text: String| Err(ModelError::Unavailable(text));
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return unavailable(format!("what {TOKEN} holds is no token"));
            }
            if !address.keeps_secrets() {
                return unavailable(format!("{TOKEN} would be sent unencrypted to {address}; use https, or unset it"));
            }
        }
        let agent = Agent::config_builder()
            .https_only(address.is_secure())
            .http_status_as_error(false)
            // Tensors go where the user says, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(if address.keeps_secrets() && !address.is_secure() { None } else { ureq::Proxy::try_from_env() })
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(timeout))
            .no_delay(true)
            .user_agent(concat!("resnext-run/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(root_certificates()).build())
            .build()
            .new_agent();
        Ok(Self { agent, address: address.clone(), token })
    }

    /// Name and version of the server; empty where it does not say.
    pub(super) fn server(&self) -> String {
        let Ok(about) = self.get(&self.address.server_url()) else { return String::new() };
        let part = |key: &str| about.get(key).and_then(Value::as_str).map(|text| Shown(text).to_string());
        [part("name"), part("version")].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// The JSON at `url`.
    pub(super) fn get(&self, url: &str) -> Result<Value, ModelError> {
        let mut response = self.repeated(Tries::Few, || {
            let request = self.agent.get(url);
            match &self.token {
                Some(token) => request.header("Authorization", format!("Bearer {token}")).call(),
                None => request.call(),
            }
        })?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MOST_METADATA).read_to_vec();
        let body = body.map_err(|error| self.error(&error))?;
        if status != 200 {
            return Err(ModelError::Unavailable(format!("{}: {}", self.address, refusal(status, &body))));
        }
        let bad = |error| ModelError::Failed(format!("{} describes its model in no JSON: {error}", self.address));
        serde_json::from_slice(&body).map_err(bad)
    }

    /// Sends a request of `header` bytes of JSON and tensors behind it, or of JSON alone.
    pub(super) fn infer(&self, header: Option<usize>, body: &[u8], tries: Tries) -> Result<Answer, ModelError> {
        let url = self.address.infer_url();
        let mut response = self.repeated(tries, || {
            let mut request = self.agent.post(&url);
            request = match header {
                Some(length) => {
                    request.header("Content-Type", "application/octet-stream").header(HEADER_LENGTH, length.to_string())
                }
                None => request.header("Content-Type", "application/json"),
            };
            if let Some(token) = &self.token {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            request.send(body)
        })?;
        let status = response.status().as_u16();
        let header = response.headers().get(HEADER_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.body_mut().with_config().limit(MOST_ANSWER).read_to_vec();
        Ok(Answer { status, body: body.map_err(|error| self.error(&error))?, header })
    }

    /// Sends again where no connection came about, or the server says that it is busy: a prediction changes nothing, so
    /// that one which was begun all the same does no harm.
    fn repeated(
        &self,
        tries: Tries,
        send: impl Fn() -> Result<Response<ureq::Body>, Error>,
    ) -> Result<Response<ureq::Body>, ModelError> {
        let left = if tries == Tries::Few { 2 } else { 0 };
        for attempt in 0..left {
            match send() {
                Ok(response) if response.status().as_u16() == 503 => {}
                Err(Error::ConnectionFailed) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Ok(response) => return Ok(response),
                Err(error) => return Err(self.error(&error)),
            }
            std::thread::sleep(PAUSE * (1 << attempt));
        }
        send().map_err(|error| self.error(&error))
    }

    fn error(&self, error: &Error) -> ModelError {
        let text = format!("{}: {}", self.address, Shown(error));
        match error {
            Error::Timeout(_) => ModelError::TimedOut(text),
            Error::BodyExceedsLimit(_) => ModelError::Failed(text),
            _ => ModelError::Unavailable(text),
        }
    }
}

/// What a server says that did not do as asked.
pub(super) fn refusal(status: u16, body: &[u8]) -> String {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let said = said.as_ref().and_then(|said| said.get("error").or(said.get("detail"))).map(|said| match said {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let said = said.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned());
    let short: String = said.chars().take(500).collect();
    let fix = match status {
        401 | 403 => format!("; a token goes into {TOKEN}"),
        404 => "; the server has no such model, or none that is ready".into(),
        _ => String::new(),
    };
    format!("the server answers {status}: {}{fix}", Shown(short.trim()))
}

/// The system's; Mozilla's, compiled in, where the system has none.
fn root_certificates() -> RootCerts {
    let native = rustls_native_certs::load_native_certs().certs;
    if native.is_empty() {
        return RootCerts::WebPki;
    }
    native.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).into()
}
