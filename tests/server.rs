//! A small HTTP server that does what it is told, right or wrong.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a client asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// GET or CONNECT.
    pub method: String,
    pub path: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where the asked range begins.
    pub fn from(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// What it gets.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub then: Then,
}

/// What comes after the body.
#[derive(PartialEq)]
pub enum Then {
    /// The end of the connection.
    Close,
    /// Nothing, for as long as the server lives.
    Stall,
    /// The next request on the same connection.
    Listen,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            then: Then::Close,
        }
    }

    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// With a body, of its length.
    pub fn body(self, body: &[u8]) -> Self {
        let mut reply = self.with("Content-Length", body.len());
        reply.body = body.to_vec();
        reply
    }

    /// A file as a good server gives it: whole, or the asked rest where it is still of the same version.
    pub fn file(asked: &Asked, bytes: &[u8], etag: &str) -> Self {
        let same = asked.header("if-range").is_none_or(|known| known == etag);
        match asked.from().filter(|_| same) {
            Some(from) if from >= bytes.len() => {
                let range = format!("bytes */{}", bytes.len());
                Reply::status(416).with("Content-Range", range).body(b"")
            }
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                let reply = Reply::status(206).with("Content-Range", range);
                reply.with("ETag", etag).body(&bytes[from..])
            }
            None => Reply::status(200).with("ETag", etag).body(bytes),
        }
    }

    /// The same, of which only the first `most` bytes come.
    pub fn cut(mut self, most: usize, then: Then) -> Self {
        self.body.truncate(most);
        self.then = then;
        self
    }
}

/// A server on a port of this machine, until the program ends.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// One that gives what `answer` makes of the number of a request, counted from 0, and of the request.
    pub fn start(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (seen.clone(), answer.clone());
                kept.extend(stream.try_clone().ok());
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Server {
            url: format!("http://127.0.0.1:{port}"),
            asked,
        }
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Asked>>,
    answer: &(impl Fn(usize, &Asked) -> Reply + Send + Sync),
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    while let Some(asked) = read(&mut reader) {
        let number = {
            let mut seen = seen.lock().expect("no panic");
            seen.push(asked.clone());
            seen.len() - 1
        };
        let reply = answer(number, &asked);
        let mut text = format!("HTTP/1.1 {} Said\r\n", reply.status);
        for (name, value) in &reply.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += if reply.then == Then::Listen {
            "\r\n"
        } else {
            "Connection: close\r\n\r\n"
        };
        // A client that has gone away has what it wants.
        let _ = stream
            .write_all(text.as_bytes())
            .and_then(|()| stream.write_all(&reply.body));
        match reply.then {
            Then::Close => return drop(stream.shutdown(std::net::Shutdown::Both)),
            Then::Stall => return,
            Then::Listen => {}
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_string);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Some(Asked {
                method,
                path,
                headers,
            });
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
}
