//! HTTP: from a server into a partial file, in as many tries as make sense.
//!
//! What a try brought stays, and the next asks for the rest. No validator ties the parts together but the one that
//! counts: the digest of the whole. Where parts do not fit, all is fetched once more from the start. Where no digest is
//! known, parts are joined only under one entity tag of the server's, and never with what another run left.

use std::io::Read as _;
use std::time::{Duration, Instant};

use ureq::config::RedirectAuthHeaders;
use ureq::http::header::{CONTENT_RANGE, ETAG, HeaderMap, TRANSFER_ENCODING};
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Error, ResponseExt as _, Timeout};

use super::by_hand::ByHand;
use super::error::{HubError, Kept};
use super::partial::Partial;
use super::request::{Event, Hub, Length, SLACK, Wanted};
use super::settings::is_loopback;
use super::variables::TIMEOUT_VARIABLE;
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

/// Fills `partial` with the file that is `wanted`, its digest checked where one is known.
pub(super) fn download(
    wanted: &Wanted,
    hub: &Hub,
    partial: &mut Partial,
    on: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    if wanted.sha256.is_none() {
        partial.clear().map_err(|source| HubError::write(partial.path(), source))?;
    }
    on(Event::Started { url: &wanted.url, file: partial.destination(), resumed: partial.len() });
    let agent = agent(&wanted.url, hub, REDIRECTS);
    Download { wanted, hub, agent, partial, on, joined: false, reached: false, tag: None }.run()
}

/// What asks for `url`; it follows so many `redirects`, and takes a token along with none.
pub(super) fn agent(url: &str, hub: &Hub, redirects: u32) -> Agent {
    Agent::config_builder()
        .https_only(url.starts_with("https://"))
        .http_status_as_error(false)
        .max_redirects(redirects)
        .redirect_auth_headers(RedirectAuthHeaders::Never)
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
    wanted: &'a Wanted,
    hub: &'a Hub,
    agent: Agent,
    partial: &'a mut Partial,
    on: &'a mut dyn FnMut(Event<'_>),
    /// Whether the partial file was put together from more than one response.
    joined: bool,
    /// Whether the server was ever reached.
    reached: bool,
    /// The strong entity tag of what the partial file holds.
    tag: Option<String>,
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
                    let Some(found) = self.mismatch(&end)? else { return Ok(()) };
                    if end == End::Open && self.ended_early() {
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
        if self.wanted.sha256.is_none() && self.tag.is_none() {
            self.clear().map_err(Fault::Final)?;
        }
        let offset = self.partial.len();
        let mut request = self.agent.get(&self.wanted.url).header("Accept-Encoding", "identity");
        if let Some(token) = &self.wanted.token {
            request = request.header("Authorization", token.header());
        }
        if offset > 0 {
            request = request.header("Range", format!("bytes={offset}-"));
            if let Some(tag) = &self.tag {
                request = request.header("If-Range", tag);
            }
        }
        let response = request.call().map_err(|error| self.fault(&error))?;
        self.reached = true;
        self.refuse_decryption(response.get_redirect_history().unwrap_or_default())?;
        let status = response.status();
        match status.as_u16() {
            200 => {
                self.clear().map_err(Fault::Final)?;
                self.tag = strong_tag(response.headers());
            }
            206 if offset > 0 && range_start(response.headers()) == Some(offset) => self.joined = true,
            416 if range_total(response.headers()) == Some(offset) => {
                self.joined = true;
                return Ok(End::Whole);
            }
            206 | 416 if offset > 0 => {
                self.clear().map_err(Fault::Final)?;
                return Err(Fault::Again(format!("the server cannot go on from byte {offset}")));
            }
            408 | 429 | 500..=599 => return Err(Fault::Again(refusal(&response))),
            _ => return Err(Fault::Final(self.give_up(refusal(&response)))),
        }
        // A body in chunks says where it ends.
        let chunked = response
            .headers()
            .get(TRANSFER_ENCODING)
            .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        self.receive(response.into_body(), chunked)
    }

    fn receive(&mut self, body: Body, chunked: bool) -> Result<End, Fault> {
        let length = body.content_length();
        // Whatever the server announces, the partial file grows to no more than this.
        let most = self.wanted.length.most(length);
        let announced = length.map(|length| length.saturating_add(self.partial.len()));
        let total = announced.or(self.wanted.length.bytes());
        if announced.is_some_and(|total| total > most) {
            return Err(Fault::Final(self.too_large(most)));
        }
        let mut reader = body.into_reader();
        let (while_long, mut since, mut received) = (self.hub.stall * PATIENCE, Instant::now(), 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => return Ok(if length.is_some() || chunked { End::Whole } else { End::Open }),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.fault(&Error::from(error))),
            };
            if self.partial.len() + read as u64 > most {
                return Err(Fault::Final(self.too_large(most)));
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

    /// Redirects from `https` to `http` are refused also where the first address was `http`, as that of this machine may be.
    fn refuse_decryption(&self, history: &[Uri]) -> Result<(), Fault> {
        let encrypted = |uri: &Uri| uri.scheme_str() == Some("https");
        // Without a digest nothing but the connection vouches for what comes.
        let away = |uri: &Uri| self.wanted.sha256.is_none() && !is_loopback(&uri.to_string());
        match history.windows(2).find(|pair| !encrypted(&pair[1]) && (encrypted(&pair[0]) || away(&pair[1]))) {
            Some(pair) => Err(Fault::Final(self.give_up(unencrypted(&pair[1].to_string())))),
            None => Ok(()),
        }
    }

    /// Whether a connection that just closed did so before the file can have been whole.
    fn ended_early(&self) -> bool {
        match self.wanted.length {
            Length::About(bytes) => self.partial.len() + SLACK < bytes,
            Length::Exactly(bytes) => self.partial.len() < bytes,
            Length::Unknown => self.wanted.sha256.is_some(),
        }
    }

    /// The digest of the partial file, where it is not the one promised; where none was promised, that of a file that is
    /// not known to be whole.
    fn mismatch(&mut self, end: &End) -> Result<Option<String>, HubError> {
        let whole = match self.wanted.length {
            Length::Exactly(bytes) => self.partial.len() == bytes,
            Length::About(_) => true,
            Length::Unknown => *end == End::Whole || self.wanted.sha256.is_some(),
        };
        if whole && self.wanted.sha256.is_none() {
            return Ok(None);
        }
        let digest = self.partial.sha256();
        let found = digest::hex(&digest.map_err(|source| HubError::write(self.partial.path(), source))?);
        let promised = self.wanted.sha256.as_ref().is_none_or(|promised| found.starts_with(promised));
        Ok((!whole || !promised).then_some(found))
    }

    fn clear(&mut self) -> Result<(), HubError> {
        self.joined = false;
        self.partial.clear().map_err(|source| HubError::write(self.partial.path(), source))
    }

    /// What `error` means for the download.
    fn fault(&self, error: &Error) -> Fault {
        let reason = reason(error, &self.agent, &self.wanted.url, self.hub);
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
        // What no digest vouches for is of no use to the next run.
        let bytes = if self.wanted.sha256.is_some() { self.partial.len() } else { 0 };
        let kept = Kept { bytes, partial: self.partial.path().to_owned() };
        if kept.bytes == 0 {
            self.partial.remove();
        }
        let (url, by_hand) = (self.wanted.url.clone(), self.by_hand());
        HubError::Download { url, reason, kept: kept.into(), by_hand }
    }

    fn refuse(&self, found: String) -> HubError {
        self.partial.remove();
        let Wanted { url, sha256, length, .. } = self.wanted;
        let (url, bytes, by_hand) = (url.clone(), self.partial.len(), self.by_hand());
        match sha256.clone() {
            Some(expected) => HubError::Digest { url, bytes, length: *length, expected, found, by_hand },
            None => {
                let reason = match length {
                    Length::Unknown => {
                        format!("{bytes} bytes came, and the server says neither before nor after how many there are")
                    }
                    _ => format!("{bytes} bytes came{length}"),
                };
                HubError::Download { url, reason, kept: Kept::default().into(), by_hand }
            }
        }
    }

    fn too_large(&self, limit: u64) -> HubError {
        self.partial.remove();
        let (url, by_hand) = (self.wanted.url.clone(), self.by_hand());
        match self.wanted.length {
            Length::Unknown => HubError::Endless { url, limit, by_hand },
            length => HubError::TooLarge { url, length, by_hand },
        }
    }

    fn by_hand(&self) -> Box<ByHand> {
        self.wanted.by_hand.clone().into()
    }
}

/// What went wrong on the way to `url`, in words.
pub(super) fn reason(error: &Error, agent: &Agent, url: &str, hub: &Hub) -> String {
    let stall = hub.stall.as_secs_f64();
    let mut reason = match error {
        Error::HostNotFound => "the server's name cannot be resolved; is there a network?".into(),
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            format!("no connection within {} seconds", CONNECT.as_secs())
        }
        Error::Timeout(_) => format!("not a byte for {stall} seconds ({TIMEOUT_VARIABLE} sets how many)"),
        Error::TooManyRedirects => format!("more than {REDIRECTS} redirects"),
        Error::RequireHttpsOnly(uri) => unencrypted(uri),
        error => error.to_string(),
    };
    if let Some(proxy) = agent.config().proxy()
        && !url.parse().is_ok_and(|uri| proxy.is_no_proxy(&uri))
    {
        reason += &format!(" (through the proxy {}:{})", proxy.host(), proxy.port());
    }
    reason
}

/// What a server says that does not give the file: its status, and the words that Hugging Face's adds in a header.
pub(super) fn refusal<T>(response: &Response<T>) -> String {
    let said = response.headers().get("x-error-message").and_then(|text| text.to_str().ok());
    let said = said.map(|text| text.chars().filter(|c| !c.is_control()).take(300).collect::<String>());
    let status = response.status();
    match said {
        Some(said) if !said.is_empty() => format!("the server answers {status}: {said}"),
        _ => format!("the server answers {status}"),
    }
}

fn unencrypted(uri: &str) -> String {
    format!("redirected to {uri}, which is not encrypted")
}

/// An entity tag that stands for these very bytes.
fn strong_tag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    tag.starts_with('"').then(|| tag.to_owned())
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
