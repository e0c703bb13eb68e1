//! HTTP: from a server into a partial file, in as many tries as make sense.
//!
//! What a try brought stays, and the next asks for the rest. No validator ties the parts together but the one that
//! counts: the digest of the whole. Where parts do not fit, all is fetched once more from the start.

use std::io::Read as _;
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::http::header::{CONTENT_RANGE, HeaderMap};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Error, ResponseExt as _, Timeout};

use super::error::{ByHand, HubError, Kept};
use super::partial::Partial;
use super::request::{Entry, Event, Hub, SLACK, TIMEOUT_VARIABLE};
use onnx_file::digest;

/// To find the server's address, and again to connect to it.
const CONNECT: Duration = Duration::from_secs(20);

/// As many as the tries that bring next to nothing, after the first.
const RETRIES: u32 = 2;

/// A try that brings less counts as having brought nothing, so that a server that hands out bytes one at a time is
/// given up.
const WORTHWHILE: u64 = 1 << 20;

/// As many tries in all, whatever they bring.
const MOST_TRIES: u32 = 200;

/// Bytes a second that a server must send on average over a while, [`PATIENCE`] times as long as it may fall silent: one
/// that hands out single bytes is never silent, and never done.
const LEAST_RATE: u64 = 1024;

const PATIENCE: u32 = 4;

const REDIRECTS: u32 = 5;

/// Fills `partial` with the file of `entry`, its digest checked.
pub(super) fn download(
    entry: &Entry,
    hub: &Hub,
    partial: &mut Partial,
    on: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    let url = format!("{}/{}", hub.base_url, entry.file_name);
    on(Event::Started { url: &url, file: partial.destination(), resumed: partial.len() });
    Download { entry, hub, agent: agent(hub), url, partial, on, joined: false, reached: false }.run()
}

fn agent(hub: &Hub) -> Agent {
    Agent::config_builder()
        .https_only(hub.base_url.starts_with("https://"))
        .http_status_as_error(false)
        .max_redirects(REDIRECTS)
        .save_redirect_history(true)
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(hub.stall))
        .timeout_per_read(Some(hub.stall))
        .user_agent(concat!("resnext-build/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(root_certificates()).build())
        .build()
        .new_agent()
}

/// The system's, so that a company's own proxy is trusted as everywhere else on the machine; Mozilla's, compiled in,
/// where the system has none.
fn root_certificates() -> RootCerts {
    let native = rustls_native_certs::load_native_certs().certs;
    if native.is_empty() {
        return RootCerts::WebPki;
    }
    native.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).into()
}

struct Download<'a> {
    entry: &'a Entry,
    hub: &'a Hub,
    agent: Agent,
    url: String,
    partial: &'a mut Partial,
    on: &'a mut dyn FnMut(Event<'_>),
    /// Whether the partial file was put together from more than one response.
    joined: bool,
    /// Whether the server was ever reached.
    reached: bool,
}

/// Why a try came to nothing.
enum Fault {
    /// Another may do better.
    Again(String),
    /// No other will.
    Final(HubError),
}

/// How a response ended.
#[derive(PartialEq)]
enum End {
    /// Where it said it would.
    Whole,
    /// With the connection: nobody can tell whether more was to come.
    Open,
}

impl Download<'_> {
    fn run(mut self) -> Result<(), HubError> {
        let (mut failures, mut restarted) = (0, false);
        // The most that was ever there: what is fetched anew is no progress.
        let mut most = self.partial.len();
        let mut tries = 0;
        loop {
            tries += 1;
            let reason = match self.attempt() {
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Again(reason)) => reason,
                Ok(end) => {
                    let Some(found) = self.mismatch()? else { return Ok(()) };
                    if end == End::Open && self.partial.len() + SLACK < self.entry.bytes {
                        "the connection ended early".into()
                    } else if self.joined && !restarted {
                        restarted = true;
                        self.clear()?;
                        "the parts of an interrupted download do not fit".into()
                    } else {
                        return Err(self.refuse(found));
                    }
                }
            };
            failures = if self.partial.len() >= most + WORTHWHILE { 1 } else { failures + 1 };
            most = most.max(self.partial.len());
            if failures > RETRIES || tries >= MOST_TRIES {
                return Err(self.give_up(reason));
            }
            let pause = self.hub.pause * failures;
            (self.on)(Event::Retrying { reason: &reason, pause });
            std::thread::sleep(pause);
        }
    }

    /// One request, for all that is missing.
    fn attempt(&mut self) -> Result<End, Fault> {
        let offset = self.partial.len();
        let mut request = self.agent.get(&self.url).header("Accept-Encoding", "identity");
        if offset > 0 {
            request = request.header("Range", format!("bytes={offset}-"));
        }
        let response = request.call().map_err(|error| self.fault(&error))?;
        self.reached = true;
        self.refuse_decryption(response.get_redirect_history().unwrap_or_default())?;
        let status = response.status();
        match status.as_u16() {
            200 => self.clear().map_err(Fault::Final)?,
            206 if offset > 0 && range_start(response.headers()) == Some(offset) => self.joined = true,
            416 if range_total(response.headers()) == Some(offset) => {
                self.joined = true;
                return Ok(End::Whole);
            }
            206 | 416 if offset > 0 => {
                self.clear().map_err(Fault::Final)?;
                return Err(Fault::Again(format!("the server cannot go on from byte {offset}")));
            }
            408 | 429 | 500..=599 => return Err(Fault::Again(format!("the server answers {status}"))),
            _ => return Err(Fault::Final(self.give_up(format!("the server answers {status}")))),
        }
        self.receive(response.into_body())
    }

    fn receive(&mut self, body: Body) -> Result<End, Fault> {
        let length = body.content_length();
        // Whatever the server announces, the partial file grows to no more than this.
        let most = self.entry.bytes + SLACK;
        let total = length.map_or(self.entry.bytes, |length| length.saturating_add(self.partial.len()));
        if total > most {
            return Err(Fault::Final(self.too_large()));
        }
        let mut reader = body.into_reader();
        let (while_long, mut since, mut received) = (self.hub.stall * PATIENCE, Instant::now(), 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => return Ok(if length.is_some() { End::Whole } else { End::Open }),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.fault(&Error::from(error))),
            };
            if self.partial.len() + read as u64 > most {
                return Err(Fault::Final(self.too_large()));
            }
            if let Err(source) = self.partial.append(&buffer[..read]) {
                // What does not fit on the disk should not fill it either.
                self.partial.remove();
                return Err(Fault::Final(HubError::write(self.partial.path(), source)));
            }
            (self.on)(Event::Received { done: self.partial.len(), total });
            received += read as u64;
            if since.elapsed() >= while_long {
                if (received as f64) < LEAST_RATE as f64 * since.elapsed().as_secs_f64() {
                    let seconds = while_long.as_secs_f64();
                    let slow = format!("fewer than {LEAST_RATE} bytes a second for {seconds} seconds");
                    return Err(Fault::Again(slow));
                }
                (since, received) = (Instant::now(), 0);
            }
        }
    }

    /// Redirects from `https` to `http` are refused also where the first address was `http`.
    fn refuse_decryption(&self, history: &[Uri]) -> Result<(), Fault> {
        let encrypted = |uri: &Uri| uri.scheme_str() == Some("https");
        match history.windows(2).find(|pair| encrypted(&pair[0]) && !encrypted(&pair[1])) {
            Some(pair) => Err(Fault::Final(self.give_up(unencrypted(&pair[1].to_string())))),
            None => Ok(()),
        }
    }

    /// The digest of the partial file, where it is not the one promised.
    fn mismatch(&mut self) -> Result<Option<String>, HubError> {
        let digest = self.partial.sha256();
        let digest = digest.map_err(|source| HubError::write(self.partial.path(), source))?;
        Ok(Some(digest::hex(&digest)).filter(|found| !found.starts_with(&self.entry.sha256_prefix)))
    }

    fn clear(&mut self) -> Result<(), HubError> {
        self.joined = false;
        self.partial.clear().map_err(|source| HubError::write(self.partial.path(), source))
    }

    /// What `error` means for the download.
    fn fault(&self, error: &Error) -> Fault {
        let stall = self.hub.stall.as_secs_f64();
        let mut reason = match error {
            Error::HostNotFound => "the server's name cannot be resolved; is there a network?".into(),
            Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                format!("no connection within {} seconds", CONNECT.as_secs())
            }
            Error::Timeout(_) => format!("not a byte for {stall} seconds ({TIMEOUT_VARIABLE} sets how many)"),
            Error::TooManyRedirects => format!("more than {REDIRECTS} redirects"),
            Error::RequireHttpsOnly(uri) => unencrypted(uri),
            Error::Io(error) => error.to_string(),
            error => error.to_string(),
        };
        if let Some(proxy) = self.agent.config().proxy()
            && !self.url.parse().is_ok_and(|uri| proxy.is_no_proxy(&uri))
        {
            reason += &format!(" (through the proxy {}:{})", proxy.host(), proxy.port());
        }
        let hopeless = matches!(
            error,
            Error::TooManyRedirects
                | Error::RequireHttpsOnly(_)
                | Error::RedirectFailed
                | Error::BadUri(_)
                | Error::InvalidProxyUrl
                | Error::Rustls(_)
                | Error::Tls(_)
        );
        // Without a network nobody wants to wait for three tries; a connection that broke later may come back.
        let unreachable = !self.reached
            && match error {
                Error::HostNotFound | Error::ConnectionFailed | Error::ConnectProxyFailed(_) => true,
                Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
                Error::Io(error) => error.kind() != std::io::ErrorKind::UnexpectedEof,
                _ => false,
            };
        if hopeless || unreachable { Fault::Final(self.give_up(reason)) } else { Fault::Again(reason) }
    }

    fn give_up(&self, reason: String) -> HubError {
        let kept = Kept { bytes: self.partial.len(), partial: self.partial.path().to_owned() };
        if kept.bytes == 0 {
            self.partial.remove();
        }
        HubError::Download { url: self.url.clone(), reason, kept: kept.into(), by_hand: self.by_hand() }
    }

    fn refuse(&self, found: String) -> HubError {
        self.partial.remove();
        HubError::Digest {
            url: self.url.clone(),
            bytes: self.partial.len(),
            expected_bytes: self.entry.bytes,
            expected: self.entry.sha256_prefix.clone(),
            found,
            by_hand: self.by_hand(),
        }
    }

    fn too_large(&self) -> HubError {
        self.partial.remove();
        HubError::TooLarge { url: self.url.clone(), expected_bytes: self.entry.bytes, by_hand: self.by_hand() }
    }

    fn by_hand(&self) -> Box<ByHand> {
        ByHand { folder: self.hub.folder.clone(), file_name: self.entry.file_name.clone() }.into()
    }
}

fn unencrypted(uri: &str) -> String {
    format!("redirected to {uri}, which is not encrypted")
}

/// First byte of `Content-Range: bytes 100-199/200`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// Length of the whole in `Content-Range: bytes */200`.
fn range_total(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes */")?.trim().parse().ok()
}
