//! `goldfish weights` against servers that are good, slow, wrong and false.

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use goldfish::random::Stream;
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cli::goldfish;
use crate::server::{Reply, Server, Then};
#[cfg(unix)]
use crate::support::interrupt;
use crate::support::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("fetch::a_file_is_checked_and_put_where_it_is_found", whole),
        trial("fetch::a_cut_connection_goes_on_where_it_ended", cut),
        trial("fetch::a_server_that_stalls_is_asked_again", stalls),
        #[cfg(unix)]
        trial("fetch::ctrl_c_keeps_what_came", interrupted),
        trial("fetch::a_server_without_ranges_begins_anew", without_ranges),
        trial("fetch::two_versions_of_a_file_are_not_mixed", versions),
        trial(
            "fetch::a_part_that_is_all_there_is_not_asked_for_more",
            all_there,
        ),
        trial("fetch::bytes_come_as_they_are", encodings),
        trial(
            "fetch::the_hub_says_what_it_links_to_and_alone_gets_the_token",
            hub,
        ),
        trial("fetch::offline_asks_nobody", offline),
        trial("fetch::two_at_once_fetch_once", two_at_once),
        trial("fetch::a_proxy_is_asked_unless_the_host_is_spared", proxy),
    ]
}

/// The bytes of a file that nobody has seen.
pub fn bytes(seed: u64) -> Vec<u8> {
    let mut numbers = vec![0.0; 75_000];
    Stream::new(seed, "file").fill_normal(0, 1.0, &mut numbers);
    bytemuck::cast_slice(&numbers).to_vec()
}

/// A safetensors file of such bytes.
pub fn tensors(seed: u64) -> Vec<u8> {
    let numbers = bytes(seed);
    let header =
        json!({"x": {"dtype": "U8", "shape": [numbers.len()], "data_offsets": [0, numbers.len()]}});
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, &numbers].concat()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// What PyTorch would call the file.
pub fn named(bytes: &[u8]) -> String {
    format!("mine-{}.pth", &sha256(bytes)[..8])
}

/// `goldfish weights` with a data folder of its own and nothing else of this machine's.
pub fn weights(folder: &Path) -> Command {
    let mut command = goldfish(folder);
    command
        .env("GOLDFISH_DATA", folder.join("data"))
        .arg("weights");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    for name in [
        "HF_TOKEN",
        "HF_ENDPOINT",
        "GOLDFISH_TORCHVISION_URL",
        "SSL_CERT_FILE",
    ] {
        command.env_remove(name);
    }
    command
}

/// Fetches an address without waiting between two tries.
pub fn fetch(folder: &Path, url: &str, more: &[&str]) -> Assert {
    let mut command = weights(folder);
    command.args(["fetch", "--from", url, "--retry-wait", "0"]);
    command.args(more).assert()
}

pub fn data(folder: &Path, name: &str) -> PathBuf {
    folder.join("data").join("weights").join(name)
}

/// What lies in the data folder.
pub fn left(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("data/weights")).expect("a folder");
    let names = entries.map(|e| {
        e.expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

/// That the file lies where it should, whole, beside its checksum and nothing else.
fn lies_alone(folder: &Path, name: &str, file: &[u8]) {
    assert_eq!(fs::read(data(folder, name)).expect("it is there"), file);
    assert_eq!(left(folder), [name.to_string(), format!("{name}.sha256")]);
}

fn whole() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), bytes(1));
    let name = named(&file);
    let served = file.clone();
    let server = Server::start(move |_, asked| Reply::file(asked, &served, "\"1\""));
    let url = format!("{}/models/{name}?key=hidden", server.url);
    let fetched = fetch(folder.path(), &url, &[]).success();
    fetched
        .stdout(contains(sha256(&file)).and(contains("(its first 8 digits checked)")))
        .stderr(contains("0.3 MB").not().and(contains("hidden").not()));
    lies_alone(folder.path(), &name, &file);
    // It is not fetched twice, unless asked to.
    fetch(folder.path(), &url, &[])
        .success()
        .stderr(contains("fetched before"));
    assert_eq!(server.asked().len(), 1);
    fetch(folder.path(), &url, &["--overwrite"]).success();
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].path, format!("/models/{name}?key=hidden"));
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    assert_eq!(asked[0].header("authorization"), None);
    // Another folder, and a damaged file in it.
    fetch(folder.path(), &url, &["-o", "here"]).success();
    let here = folder.path().join("here").join(&name);
    assert_eq!(fs::read(&here).expect("it is there"), file);
    fs::write(&here, "something else").expect("written");
    fetch(folder.path(), &url, &["-o", "here"])
        .code(3)
        .stderr(contains("which should be").and(contains("--overwrite")));
    fetch(folder.path(), &url, &["-o", "here", "--overwrite"]).success();
    assert_eq!(fs::read(&here).expect("it is there"), file);
}

fn cut() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), bytes(2));
    let (name, served) = (named(&file), file.clone());
    let server = Server::start(move |number, asked| {
        let reply = Reply::file(asked, &served, "\"2\"");
        match number {
            0 => reply.cut(100_000, Then::Close),
            1 => reply.cut(50_000, Then::Close),
            _ => reply,
        }
    });
    fetch(folder.path(), &format!("{}/{name}", server.url), &[])
        .success()
        .stderr(contains("again    ").count(2));
    assert_eq!(
        fs::read(data(folder.path(), &name)).expect("it is there"),
        file
    );
    let asked = server.asked();
    let from: Vec<Option<usize>> = asked.iter().map(|a| a.from()).collect();
    assert_eq!(from, [None, Some(100_000), Some(150_000)]);
    assert!(
        asked[1..]
            .iter()
            .all(|a| a.header("if-range") == Some("\"2\""))
    );
}

fn stalls() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), bytes(3));
    let (name, served) = (named(&file), file.clone());
    let server = Server::start(move |number, asked| {
        let reply = Reply::file(asked, &served, "\"3\"");
        match number {
            0 => reply.cut(1000, Then::Stall),
            _ => reply,
        }
    });
    // Alone here: a server on a busy machine may take its time elsewhere.
    let url = format!("{}/{name}", server.url);
    fetch(folder.path(), &url, &["--timeout", "1"])
        .success()
        .stderr(contains("nothing came for 1s"));
    assert_eq!(
        fs::read(data(folder.path(), &name)).expect("it is there"),
        file
    );
    assert_eq!(server.asked()[1].from(), Some(1000));
}

/// The program, while it runs.
fn begin(folder: &Path, url: &str) -> Child {
    std::process::Command::new(env!("CARGO_BIN_EXE_goldfish"))
        .current_dir(folder)
        .env("GOLDFISH_DATA", folder.join("data"))
        .env("NO_PROXY", "*")
        .args(["weights", "fetch", "--from", url])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

#[cfg(unix)]
fn interrupted() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), bytes(4));
    let (name, served) = (named(&file), file.clone());
    let server = Server::start(move |number, asked| {
        let reply = Reply::file(asked, &served, "\"4\"");
        match number {
            0 => reply.cut(120_000, Then::Stall),
            _ => reply,
        }
    });
    let url = format!("{}/{name}", server.url);
    let mut child = begin(folder.path(), &url);
    let part = data(folder.path(), &format!("{name}.part"));
    while fs::metadata(&part).map_or(0, |m| m.len()) < 120_000 {
        let state = child.try_wait().expect("a state");
        assert!(state.is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    interrupt(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let said = std::io::read_to_string(child.stderr.take().expect("stderr")).expect("text");
    assert!(
        said.contains("kept     ") && said.contains(&format!("{name}.part")),
        "{said}"
    );
    assert!(!data(folder.path(), &name).exists());
    fetch(folder.path(), &url, &[]).success();
    assert_eq!(server.asked()[1].from(), Some(120_000));
    assert_eq!(
        fs::read(data(folder.path(), &name)).expect("it is there"),
        file
    );
}

fn without_ranges() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), bytes(5));
    let (name, served) = (named(&file), file.clone());
    let server = Server::start(move |number, _| {
        let reply = Reply::status(200).with("ETag", "\"5\"").body(&served);
        match number {
            0 => reply.cut(100_000, Then::Close),
            _ => reply,
        }
    });
    fetch(folder.path(), &format!("{}/{name}", server.url), &[]).success();
    assert_eq!(
        fs::read(data(folder.path(), &name)).expect("it is there"),
        file
    );
    // Without a name for the version nothing is asked of the middle of a file.
    let served = file.clone();
    let server = Server::start(move |number, _| match number {
        0 => Reply::status(200).body(&served).cut(100_000, Then::Close),
        _ => Reply::status(200).body(&served),
    });
    fetch(
        folder.path(),
        &format!("{}/{name}", server.url),
        &["-o", "x"],
    )
    .success();
    assert!(server.asked().iter().all(|asked| asked.from().is_none()));
}

fn versions() {
    let (old, new) = (tensors(6), tensors(7));
    let name = "model.safetensors";
    // By the rules, and with a server that does not heed If-Range.
    for rules in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (old.clone(), new.clone());
        let server = Server::start(move |number, asked| match number {
            0 => Reply::file(asked, &first, "\"old\"").cut(100_000, Then::Close),
            _ => {
                let mut asked = asked.clone();
                if !rules {
                    asked.headers.remove("if-range");
                }
                Reply::file(&asked, &second, "\"new\"")
            }
        });
        fetch(folder.path(), &format!("{}/{name}", server.url), &[])
            .success()
            .stderr(contains("no checksum of this file is known"));
        assert_eq!(
            fs::read(data(folder.path(), name)).expect("it is there"),
            new
        );
        assert_eq!(server.asked().len(), if rules { 2 } else { 3 });
    }
}

/// Killed between the last byte and the check.
fn all_there() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), bytes(8));
    let (name, served) = (named(&file), file.clone());
    let server = Server::start(move |_, asked| Reply::file(asked, &served, "\"8\""));
    let url = format!("{}/{name}", server.url);
    let part = data(folder.path(), &format!("{name}.part"));
    fs::create_dir_all(part.parent().expect("a folder")).expect("made");
    let note = |size: Value| {
        fs::write(&part, &file).expect("written");
        let note =
            serde_json::json!({"url": url, "etag": "\"8\"", "last_modified": null, "size": size});
        fs::write(part.with_extension("part.json"), note.to_string()).expect("written");
    };
    note(file.len().into());
    fetch(folder.path(), &url, &[]).success();
    assert_eq!(server.asked().len(), 0);
    // Where the size was not known, the server says that there is no more (416).
    fs::remove_file(data(folder.path(), &name)).expect("removed");
    note(Value::Null);
    fetch(folder.path(), &url, &[]).success();
    assert_eq!(server.asked().len(), 1);
    // More than there is: from the start.
    fs::remove_file(data(folder.path(), &name)).expect("removed");
    note(Value::Null);
    fs::write(&part, [&file[..], b"more"].concat()).expect("written");
    fetch(folder.path(), &url, &[]).success();
    assert_eq!(server.asked().len(), 3);
    lies_alone(folder.path(), &name, &file);
}

fn encodings() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = bytes(10);
    let name = named(&file);
    let served = file.clone();
    // In chunks, without a length; under a word that is not to be heeded.
    let server = Server::start(move |_, asked| {
        if asked.path.starts_with("/chunks") {
            let mut reply = Reply::status(200).with("Transfer-Encoding", "chunked");
            for part in served.chunks(70_001) {
                reply.body.extend(format!("{:x}\r\n", part.len()).bytes());
                reply.body.extend(part);
                reply.body.extend(b"\r\n");
            }
            reply.body.extend(b"0\r\n\r\n");
            return reply;
        }
        Reply::status(200)
            .with("Content-Encoding", "gzip")
            .body(&served)
    });
    for way in ["chunks", "gzip"] {
        fetch(
            folder.path(),
            &format!("{}/{way}/{name}", server.url),
            &["-o", way],
        )
        .success();
        let found = fs::read(folder.path().join(way).join(&name));
        assert_eq!(found.expect("it is there"), file);
    }
}

fn hub() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = bytes(11);
    let (served, digits) = (file.clone(), sha256(&file));
    let elsewhere = Server::start(move |_, asked| {
        // What another server says of links is not heeded.
        let reply = Reply::file(asked, &served, "\"x\"");
        reply.with("X-Linked-ETag", format!("\"{}\"", "0".repeat(64)))
    });
    let there = elsewhere.url.replace("127.0.0.1", "localhost");
    let size = file.len();
    let hub = Server::start(move |number, _| match number {
        0 => Reply::status(307).with("Location", "/moved/model.safetensors"),
        _ => Reply::status(302)
            .with("Location", format!("{there}/blob?signature=1"))
            .with("X-Linked-Size", size)
            .with("X-Linked-ETag", format!("\"{digits}\"")),
    });
    let fetch = || {
        let mut command = weights(folder.path());
        command
            .env("HF_ENDPOINT", format!("{}/", hub.url))
            .env("HF_TOKEN", " hf_secret\n");
        command.args(["fetch", "vgg19", "--from", "timm", "--retry-wait", "0"]);
        command
    };
    fetch()
        .assert()
        .success()
        .stdout(contains("vgg19.tv_in1k.safetensors").and(contains("(checked)")))
        .stderr(contains("hf_secret").not());
    let asked = hub.asked();
    assert_eq!(
        asked[0].path,
        "/timm/vgg19.tv_in1k/resolve/main/model.safetensors"
    );
    assert_eq!(asked[1].path, "/moved/model.safetensors");
    assert!(
        asked
            .iter()
            .all(|a| a.header("authorization") == Some("Bearer hf_secret"))
    );
    let asked = elsewhere.asked();
    assert_eq!((asked.len(), asked[0].header("authorization")), (1, None));
    assert_eq!(asked[0].path, "/blob?signature=1");
    // What the hub said is noted for later.
    weights(folder.path())
        .args(["verify", "vgg19"])
        .assert()
        .success()
        .stdout(contains("sound"));
    fetch()
        .env("HF_TOKEN", "two words")
        .arg("--overwrite")
        .assert()
        .code(2)
        .stderr(contains("HF_TOKEN").and(contains("two words").not()));
}

fn offline() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = bytes(15);
    let (name, served) = (named(&file), file.clone());
    let server = Server::start(move |_, asked| Reply::file(asked, &served, "\"15\""));
    let url = format!("{}/{name}", server.url);
    fetch(folder.path(), &url, &["--offline"])
        .code(3)
        .stderr(contains("is not there").and(contains(&url)));
    assert!(!folder.path().join("data").exists());
    fetch(folder.path(), &url, &[]).success();
    fetch(folder.path(), &url, &["--offline"]).success();
    assert_eq!(server.asked().len(), 1);
}

fn two_at_once() {
    let (folder, file) = (tempfile::tempdir().expect("a folder"), bytes(16));
    let (name, served) = (named(&file), file.clone());
    let open = Arc::new((Mutex::new(false), Condvar::new()));
    let gate = open.clone();
    let server = Server::start(move |_, asked| {
        let (open, changed) = &*gate;
        let closed = changed.wait_while(open.lock().expect("no panic"), |open| !*open);
        drop(closed.expect("no panic"));
        Reply::file(asked, &served, "\"16\"")
    });
    let url = format!("{}/{name}", server.url);
    let mut first = begin(folder.path(), &url);
    while server.asked().is_empty() {
        assert!(
            first.try_wait().expect("a state").is_none(),
            "it ended by itself"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut second = begin(folder.path(), &url);
    let mut said = std::io::BufReader::new(second.stderr.take().expect("stderr"));
    let mut line = String::new();
    said.read_line(&mut line).expect("text");
    assert!(line.starts_with("waiting"), "{line}");
    *open.0.lock().expect("no panic") = true;
    open.1.notify_all();
    assert!(first.wait().expect("it ends").success());
    assert!(second.wait().expect("it ends").success());
    assert_eq!(server.asked().len(), 1);
    lies_alone(folder.path(), &name, &file);
}

fn proxy() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = bytes(17);
    let (name, served) = (named(&file), file.clone());
    let proxy = Server::start(move |_, asked| match &*asked.method {
        "CONNECT" => Reply {
            then: Then::Listen,
            ..Reply::status(200)
        },
        _ => Reply::file(asked, &served, "\"17\""),
    });
    // The host is no host: only the proxy can have answered.
    let url = format!("http://weights.invalid:8080/{name}");
    let through = |name: &str, value: &str| {
        let mut command = weights(folder.path());
        command.env(name, value).env("NO_PROXY", "spared.invalid");
        command.args(["fetch", "--retries", "0", "--overwrite", "--from"]);
        command
    };
    for variable in ["HTTP_PROXY", "ALL_PROXY"] {
        through(variable, &proxy.url).arg(&url).assert().success();
    }
    let asked = proxy.asked();
    assert_eq!(asked[0].path, "weights.invalid:8080");
    assert_eq!(asked[1].path, format!("/{name}"));
    // Spared hosts, and the other scheme's proxy, are not asked.
    let spared = format!("http://spared.invalid/{name}");
    through("HTTP_PROXY", &proxy.url)
        .arg(&spared)
        .assert()
        .code(3);
    through("HTTPS_PROXY", &proxy.url)
        .arg(&url)
        .assert()
        .code(3);
    through("HTTP_PROXY", "gopher://user:secret@x")
        .arg(&url)
        .assert()
        .code(2)
        // One variable by two names, where their case is not told apart.
        .stderr(
            contains("HTTP_PROXY is not a proxy's address")
                .or(contains("http_proxy is not a proxy's address"))
                .and(contains("secret").not()),
        );
    assert_eq!(proxy.asked().len(), 4);
}
