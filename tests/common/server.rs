//! A server on loopback that answers as a test tells it to, and remembers what it was asked.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request, as far as the tests care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// How many came before it, on all connections.
    pub(crate) number: usize,
    /// Method and target: `GET /resnet18-f37072fd.pth`.
    pub(crate) line: String,
    /// First byte of its `Range`.
    pub(crate) from: Option<usize>,
    /// Its `Authorization`.
    pub(crate) authorization: Option<String>,
}

/// Listens until the process ends, one thread a connection, one request a connection (and one more after `CONNECT`).
pub(crate) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    encrypted: bool,
}

/// What a request is answered with.
pub(crate) trait Answer: Fn(&Request, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static {}
impl<F: Fn(&Request, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static> Answer for F {}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Server {
    /// Answers in the clear.
    pub(crate) fn start(answer: impl Answer) -> Self {
        Self::listen(None, answer)
    }

    /// Answers over TLS.
    pub(crate) fn start_tls(tls: Arc<rustls::ServerConfig>, answer: impl Answer) -> Self {
        Self::listen(Some(tls), answer)
    }

    fn listen(tls: Option<Arc<rustls::ServerConfig>>, answer: impl Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (encrypted, heard, answer) = (tls.is_some(), Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, heard, answer) = (tls.clone(), Arc::clone(&heard), Arc::clone(&answer));
                // A client that goes away is no fault of the server's: what it made of that is what tests look at.
                std::thread::spawn(move || converse(stream, tls, &heard, &*answer));
            }
        });
        Self { port, requests, encrypted }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.encrypted { "https" } else { "http" }, self.port)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until it has been asked `count` times.
    pub(crate) fn wait_for(&self, count: usize) {
        let start = std::time::Instant::now();
        while self.requests.lock().unwrap().len() < count {
            assert!(start.elapsed() < Duration::from_secs(60), "nobody asks");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn converse(
    stream: TcpStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    heard: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(tls) => {
            let connection = rustls::ServerConnection::new(tls).map_err(io::Error::other)?;
            Box::new(rustls::StreamOwned::new(connection, stream))
        }
    };
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let line = head[0].rsplit_once(' ').unwrap().0.to_owned();
        let from = head
            .iter()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
        let authorization = head.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
        });
        let connects = line.starts_with("CONNECT");
        let request = {
            let mut heard = heard.lock().unwrap();
            let request = Request { number: heard.len(), line, from, authorization };
            heard.push(request.clone());
            request
        };
        if !connects {
            answer(&request, stream.get_mut())?;
            return stream.get_mut().flush();
        }
        stream.get_mut().write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    }
}

/// Answers with a status and headers, and no body.
pub(crate) fn status(out: &mut dyn Write, status: &str, headers: &str) -> io::Result<()> {
    write!(out, "HTTP/1.1 {status}\r\n{headers}Connection: close\r\n")?;
    if !status.starts_with("200") && !status.starts_with("206") {
        write!(out, "Content-Length: 0\r\n")?;
    }
    write!(out, "\r\n")
}

/// Answers as a good server does: all, or from where the request says.
pub(crate) fn serve(request: &Request, out: &mut dyn Write, file: &[u8]) -> io::Result<()> {
    serve_part(request, out, file, file.len())
}

/// Promises as much as [`serve`] and hangs up after the file's first `end` bytes.
pub(crate) fn serve_part(request: &Request, out: &mut dyn Write, file: &[u8], end: usize) -> io::Result<()> {
    let len = file.len();
    match request.from {
        None => status(out, "200 OK", &format!("Content-Length: {len}\r\n"))?,
        Some(from) if from >= len => {
            return status(out, "416 Range Not Satisfiable", &format!("Content-Range: bytes */{len}\r\n"));
        }
        Some(from) => {
            let range = format!("Content-Range: bytes {from}-{}/{len}\r\nContent-Length: {}\r\n", len - 1, len - from);
            status(out, "206 Partial Content", &range)?;
        }
    }
    let from = request.from.unwrap_or(0);
    out.write_all(&file[from.min(end)..end])
}

/// Keeps a connection open without a byte.
pub(crate) fn stall(out: &mut dyn Write) -> io::Result<()> {
    out.flush()?;
    std::thread::sleep(Duration::from_secs(120));
    Ok(())
}
