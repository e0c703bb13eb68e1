//! What the server says of a file before it sends it: commit, entity tag, length.
//!
//! Large files lie on other hosts, to which it redirects; what it says of them stands in its own answer, so redirects are
//! followed one at a time, and only until one says it.

use onnx_file::digest;
use ureq::http::header::{CONTENT_LENGTH, ETAG, HeaderMap, LOCATION};
use ureq::http::{Response, Uri};
use ureq::{Agent, Body, Error};

use super::plain::is_plain_text;
use crate::hub::download::{agent, reason, refusal};
use crate::hub::request::Hub;
use crate::hub::token::Token;

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// Tries in all, where the server is in trouble.
const TRIES: u32 = 3;

/// A file as its server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The address that described it, which gives it too, or redirects to what does.
    pub(super) url: String,
    /// Whether a token was, and may be, sent there.
    pub(super) authorized: bool,
    /// The commit that the revision means.
    pub(super) commit: Option<String>,
    /// Its entity tag: of large files their SHA-256, of others git's own digest.
    etag: Option<String>,
    /// Its length.
    pub(super) bytes: Option<u64>,
}

impl Metadata {
    fn of(url: &str, authorized: bool, headers: &HeaderMap, is_file: bool) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let etag = text("x-linked-etag").or_else(|| text(ETAG.as_str()).filter(|_| is_file));
        let etag = etag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        let length = text("x-linked-size").or_else(|| text(CONTENT_LENGTH.as_str()).filter(|_| is_file));
        Self {
            url: url.to_owned(),
            authorized,
            commit: text("x-repo-commit").filter(|commit| is_plain_text(commit)).map(str::to_owned),
            etag: etag.filter(|tag| is_plain_text(tag)),
            bytes: length.and_then(|length| length.parse().ok()),
        }
    }

    /// Its SHA-256, where the server says it.
    pub(super) fn sha256(&self) -> Option<&str> {
        let is_digest = |tag: &&str| tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.etag.as_deref().filter(is_digest)
    }

    /// What to call its contents in the cache; the address stands for them where the server has no word for them.
    pub(super) fn tag(&self) -> String {
        match &self.etag {
            Some(tag) => tag.clone(),
            // Hashing memory cannot fail.
            None => digest::sha256(self.url.as_bytes()).map(|digest| digest::hex(&digest)).unwrap_or_default(),
        }
    }
}

/// What comes of asking for a file.
pub(super) enum Answer {
    /// It is there.
    Found(Metadata),
    /// The repository and the revision are there, and this file is not, in the server's words.
    Absent(String),
}

/// Why nothing can be said of a file.
pub(super) struct Refused {
    /// In the server's words, or the system's.
    pub(super) reason: String,
    /// Whether the server wants to know who asks, or somebody else to ask.
    pub(super) needs_token: bool,
}

/// Asks for what is said of the file at `url`.
pub(super) fn ask(url: &str, token: Option<&Token>, hub: &Hub) -> Result<Answer, Refused> {
    let agent = agent(url, hub, 0);
    let mut tries = 0;
    loop {
        tries += 1;
        let again = match follow(&agent, url, token, hub)? {
            Ok(answer) => return Ok(answer),
            Err(trouble) => trouble,
        };
        if tries >= TRIES {
            return Err(Refused { reason: again, needs_token: false });
        }
        std::thread::sleep(hub.pause * tries);
    }
}

/// One try: an answer, or trouble that may pass.
fn follow(agent: &Agent, url: &str, token: Option<&Token>, hub: &Hub) -> Result<Result<Answer, String>, Refused> {
    let plainly = |reason: String| Refused { reason, needs_token: false };
    let (mut url, mut token) = (url.to_owned(), token);
    for _ in 0..=REDIRECTS {
        let response = head(agent, &url, token).map_err(|error| plainly(reason(&error, agent, &url, hub)))?;
        let status = response.status().as_u16();
        let said = Metadata::of(&url, token.is_some(), response.headers(), status == 200);
        match status {
            200 => return Ok(Ok(Answer::Found(said))),
            300..=399 if said.etag.is_some() => return Ok(Ok(Answer::Found(said))),
            300..=399 => {
                let next = location(&url, response.headers())
                    .ok_or_else(|| plainly(format!("{} without a usable Location", refusal(&response))))?;
                // A secret goes to the host that it is for, and no further.
                token = token.filter(|_| origin(&next) == origin(&url));
                url = next;
            }
            404 if is_of_repository(response.headers()) => {
                return Err(Refused { reason: refusal(&response), needs_token: false });
            }
            404 => return Ok(Ok(Answer::Absent(refusal(&response)))),
            401 | 403 => return Err(Refused { reason: refusal(&response), needs_token: true }),
            408 | 429 | 500 | 502..=599 => return Ok(Err(refusal(&response))),
            _ => return Err(plainly(refusal(&response))),
        }
    }
    Err(plainly(format!("more than {REDIRECTS} redirects")))
}

/// A request without a body; of servers that know none, one whose body nobody reads.
fn head(agent: &Agent, url: &str, token: Option<&Token>) -> Result<Response<Body>, Error> {
    let header = token.map(Token::header);
    let mut request = agent.head(url).header("Accept-Encoding", "identity");
    if let Some(header) = &header {
        request = request.header("Authorization", header);
    }
    let response = request.call()?;
    if !matches!(response.status().as_u16(), 405 | 501) {
        return Ok(response);
    }
    let mut request = agent.get(url).header("Accept-Encoding", "identity");
    if let Some(header) = &header {
        request = request.header("Authorization", header);
    }
    request.call()
}

/// Whether it is the repository or the revision that is not there.
fn is_of_repository(headers: &HeaderMap) -> bool {
    let code = headers.get("x-error-code").and_then(|code| code.to_str().ok());
    matches!(code, Some("RepoNotFound" | "RevisionNotFound"))
}

/// Where a redirect leads; never from an encrypted address to one that is not.
fn location(from: &str, headers: &HeaderMap) -> Option<String> {
    let to = headers.get(LOCATION)?.to_str().ok()?;
    let next =
        if to.starts_with('/') && !to.starts_with("//") { format!("{}{to}", origin(from)?) } else { to.to_owned() };
    let encrypted = |url: &str| url.starts_with("https://");
    let known = encrypted(&next) || next.starts_with("http://");
    (known && (encrypted(&next) || !encrypted(from))).then_some(next)
}

/// `https://host:port`.
fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_large_file_is_described_by_its_link_and_a_small_one_by_itself() {
        let sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let linked = headers(&[
            ("etag", "\"of the redirect\""),
            ("content-length", "12"),
            ("x-linked-etag", "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""),
            ("x-linked-size", "1000"),
            ("x-repo-commit", "0123abcd"),
        ]);
        let found = Metadata::of("u", false, &linked, false);
        assert_eq!(
            (found.sha256(), found.bytes, found.commit.as_deref()),
            (Some(sha256), Some(1000), Some("0123abcd"))
        );
        let small = Metadata::of("u", false, &headers(&[("etag", "W/\"45b983be\""), ("content-length", "12")]), true);
        assert_eq!((small.sha256(), small.bytes, small.tag()), (None, Some(12), "45b983be".to_owned()));
        let odd = Metadata::of("u", false, &headers(&[("etag", "\"../../x\""), ("x-repo-commit", "../x")]), true);
        assert_eq!((odd.etag.clone(), odd.commit.clone(), odd.tag().len()), (None, None, 64));
    }

    #[test]
    fn redirects_lead_to_encrypted_addresses() {
        let to = |to: &'static str| location("https://h/a/b", &headers(&[("location", to)]));
        assert_eq!(to("/c").as_deref(), Some("https://h/c"));
        assert_eq!(to("https://other/c").as_deref(), Some("https://other/c"));
        for elsewhere in ["http://h/c", "//other/c", "file:///c", "c"] {
            assert_eq!(to(elsewhere), None, "{elsewhere}");
        }
    }
}
