//! `goldfish weights` where something is wrong: servers that refuse, fail for a while or give another file; files that are not
//! what they were; settings that are none.

use std::fs;
use std::path::Path;

use assert_cmd::assert::Assert;
use libtest_mimic::Trial;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;

use crate::cli::stdout;
use crate::fetch::{bytes, data, fetch, left, named, sha256, tensors, weights};
use crate::server::{Reply, Server, Then};
use crate::support::{slashed, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "refused::a_length_that_is_not_the_files_is_refused",
            lengths,
        ),
        trial(
            "refused::what_does_not_fit_on_the_disk_is_not_begun",
            no_room,
        ),
        trial(
            "refused::what_nothing_vouches_for_is_a_whole_file_of_tensors",
            unknown,
        ),
        trial("refused::redirects_end", redirects),
        trial("refused::a_refusal_is_final_and_says_what_to_do", refusals),
        trial(
            "refused::what_may_pass_is_tried_again_as_often_as_asked",
            passing,
        ),
        trial("refused::a_wrong_file_is_kept_aside", wrong),
        trial(
            "refused::what_was_fetched_is_listed_and_verified",
            list_and_verify,
        ),
        trial("refused::bad_settings_exit_2", bad_settings),
    ]
}

/// Fetches vgg19 as timm's, from a hub that links to `file` and gives what `answer` says.
fn from_hub(
    folder: &Path,
    file: &[u8],
    answer: impl Fn(usize) -> Reply + Send + Sync + 'static,
) -> Assert {
    let linked = [file.len().to_string(), sha256(file)];
    let server = Server::start(move |number, _| {
        let [size, sha256] = &linked;
        let reply = answer(number).with("X-Linked-Size", size);
        reply.with("X-Linked-ETag", format!("\"{sha256}\""))
    });
    let mut command = weights(folder);
    command.env("HF_ENDPOINT", &server.url);
    command.args([
        "fetch",
        "--from",
        "timm",
        "--retry-wait",
        "0",
        "--retries",
        "2",
    ]);
    command.assert()
}

fn lengths() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = bytes(9);
    // Less than is known of the file, or more, as a length or as what comes.
    let short = file[..1000].to_vec();
    from_hub(folder.path(), &file, move |_| {
        Reply::status(200).body(&short)
    })
    .code(3)
    .stderr(contains(
        "has 1000 bytes there, and the file should have 300000",
    ));
    let chunked = |bytes: &[u8]| {
        let mut body = format!("{:x}\r\n", bytes.len()).into_bytes();
        body.extend(bytes);
        body.extend(b"\r\n0\r\n\r\n");
        let mut reply = Reply::status(200).with("Transfer-Encoding", "chunked");
        reply.body = body;
        reply
    };
    let long = [&file[..], b"more"].concat();
    from_hub(folder.path(), &file, move |_| chunked(&long))
        .code(3)
        .stderr(contains("sends more than 300000 bytes"));
    assert!(left(folder.path()).is_empty());
    // A length that the body does not keep is a cut; each try has the same end here.
    let half = file[..100_000].to_vec();
    from_hub(folder.path(), &file, move |_| {
        let reply = Reply::status(200).with("Content-Length", 300_000);
        Reply {
            body: half.clone(),
            ..reply
        }
    })
    .code(3)
    .stderr(contains("given up after 3 tries").and(contains("the same command goes on")));
    assert!(!data(folder.path(), "vgg19.tv_in1k.safetensors").exists());
    // And less in chunks.
    let half = file[..100_000].to_vec();
    let folder = tempfile::tempdir().expect("a folder");
    from_hub(folder.path(), &file, move |_| chunked(&half))
        .code(3)
        .stderr(contains("ended after 100000 of 300000 bytes"));
}

/// What no checksum is known of must at least be a file of tensors, all of it.
fn unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = tensors(20);
    let served = file.clone();
    let server = Server::start(move |_, asked| match &*asked.path {
        // Without a length the end of the connection is the file's.
        "/cut.pth" => {
            let mut reply = Reply::status(200);
            reply.body = served[..100_000].to_vec();
            reply
        }
        "/nothing.pth" => Reply::status(200).body(b""),
        "/packed.pth" => Reply::status(200).body(b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
        // Half of it, and then that this is all.
        "/less.pth" if asked.from().is_some() => {
            Reply::status(416).with("Content-Range", "bytes */100000")
        }
        "/less.pth" => Reply::file(asked, &served, "\"20\"").cut(100_000, Then::Close),
        "/part.pth" => Reply::status(206).with("Content-Range", "bytes 5-14/20"),
        "/none.pth" => Reply::status(416),
        _ => Reply::file(asked, &served, "\"20\""),
    });
    for (name, says) in [
        ("cut", "kept aside, not used"),
        ("nothing", "is empty"),
        ("packed", "kept aside, not used"),
        ("less", "given up after 3 tries"),
        ("part", "answers 206 where all of the file was asked for"),
        ("none", "answers 416 where all of the file was asked for"),
    ] {
        let url = format!("{}/{name}.pth", server.url);
        fetch(folder.path(), &url, &["--retries", "2"])
            .code(3)
            .stderr(contains(says));
        assert!(
            !data(folder.path(), &format!("{name}.pth")).exists(),
            "{name}"
        );
    }
    fetch(folder.path(), &format!("{}/whole.pth", server.url), &[]).success();
    assert_eq!(
        fs::read(data(folder.path(), "whole.pth")).expect("it is there"),
        file
    );
}

fn no_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|_, _| Reply::status(200).with("Content-Length", 1u64 << 60));
    fetch(folder.path(), &format!("{}/a.pth", server.url), &[])
        .code(3)
        .stderr(contains("MB are missing and").and(contains("GOLDFISH_DATA")));
    assert!(left(folder.path()).is_empty());
}

fn redirects() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|number, asked| match &*asked.path {
        "/loop" => Reply::status(302).with("Location", "/loop"),
        "/far" => Reply::status(301).with("Location", format!("/far?{number}")),
        "/nowhere" => Reply::status(303),
        _ => Reply::status(302).with("Location", "file:///etc/passwd"),
    });
    for (path, says) in [
        ("loop", "redirects more than 10 times"),
        ("nowhere", "redirects to no address"),
        ("file", "redirects to no address"),
    ] {
        let url = format!("{}/{path}", server.url);
        fetch(folder.path(), &url, &[])
            .code(3)
            .stderr(contains(says));
    }
    assert_eq!(server.asked().len(), 11 + 2);
    assert!(left(folder.path()).is_empty());
}

fn refusals() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|_, asked| {
        let status = asked.path.trim_start_matches('/').trim_end_matches(".pth");
        Reply::status(status.parse().expect("a number")).body(b"<html>no</html>")
    });
    for (status, says) in [
        (404, "there is no such file"),
        (410, "there is no such file"),
        (401, "HF_TOKEN"),
        (403, "HF_TOKEN"),
        (407, "the proxy wants a name"),
        (418, "which is no file"),
        (204, "which is no file"),
    ] {
        let url = format!("{}/{status}.pth", server.url);
        fetch(folder.path(), &url, &[]).code(3).stderr(
            contains(says)
                .and(contains(&url))
                .and(contains(format!("answers {status}"))),
        );
    }
    assert_eq!(server.asked().len(), 7, "each was asked for once");
    assert!(left(folder.path()).is_empty());
}

fn passing() {
    let file = bytes(12);
    let name = named(&file);
    let served = file.clone();
    let server = Server::start(move |number, asked| match number {
        0 => Reply::status(429).with("Retry-After", 0),
        1 => Reply::status(500),
        2 => Reply::status(503).with("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"),
        _ => Reply::file(asked, &served, "\"12\""),
    });
    let folder = tempfile::tempdir().expect("a folder");
    fetch(folder.path(), &format!("{}/{name}", server.url), &[])
        .success()
        .stderr(
            contains("answers 429")
                .and(contains("answers 500"))
                .and(contains("answers 503")),
        );
    assert_eq!(server.asked().len(), 4);
    // Not for ever, and not where it would be tomorrow.
    let server = Server::start(|_, _| Reply::status(502));
    let url = format!("{}/{name}", server.url);
    fetch(folder.path(), &url, &["-o", "x", "--retries", "2"])
        .code(3)
        .stderr(contains("given up after 3 tries"));
    assert_eq!(server.asked().len(), 3);
    let server = Server::start(|_, _| Reply::status(429).with("Retry-After", 86400));
    let url = format!("{}/{name}", server.url);
    fetch(folder.path(), &url, &["-o", "x"])
        .code(3)
        .stderr(contains("asks to come back in 86400 s"));
    assert_eq!(server.asked().len(), 1);
    // Nobody there.
    fetch(
        folder.path(),
        "http://127.0.0.1:1/a.pth",
        &["--retries", "1"],
    )
    .code(3)
    .stderr(contains("given up after 2 tries"));
}

fn wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, other) = (bytes(13), bytes(14));
    let name = named(&file);
    let server = Server::start(move |_, asked| match &*asked.path {
        "/page.pth" => Reply::status(200)
            .with("Content-Type", "text/html; charset=utf-8")
            .body(b"<html>"),
        "/portal.pth" => Reply::status(200).body(b"\n <!DOCTYPE html><title>Log in</title>"),
        _ => Reply::file(asked, &other, "\"14\""),
    });
    let bad = data(folder.path(), &format!("{name}.bad"));
    fetch(folder.path(), &format!("{}/{name}", server.url), &[])
        .code(3)
        .stderr(
            contains("should begin with")
                .and(contains("kept aside"))
                .and(contains(".pth.bad")),
        );
    assert_eq!(left(folder.path()), [format!("{name}.bad")]);
    assert_eq!(fs::read(&bad).expect("it is there"), bytes(14));
    // What is there stays, whatever comes.
    fs::write(data(folder.path(), &name), &file).expect("written");
    fetch(
        folder.path(),
        &format!("{}/{name}", server.url),
        &["--overwrite"],
    )
    .code(3);
    assert_eq!(
        fs::read(data(folder.path(), &name)).expect("it is there"),
        file
    );
    // A given checksum counts as well, and a known one against a given one.
    let url = format!("{}/model.pth", server.url);
    fetch(folder.path(), &url, &["--sha256", &sha256(&file)])
        .code(3)
        .stderr(contains("should be"));
    fetch(
        folder.path(),
        &url,
        &["--sha256", &sha256(&bytes(14)).to_uppercase()],
    )
    .success();
    fetch(
        folder.path(),
        &format!("{}/{name}", server.url),
        &["--sha256", &"0".repeat(64)],
    )
    .code(2)
    .stderr(contains("contradicts"));
    for (page, says) in [("page", "/resolve/"), ("portal", "is a web page")] {
        fetch(folder.path(), &format!("{}/{page}.pth", server.url), &[])
            .code(3)
            .stderr(contains(says));
        assert!(!data(folder.path(), &format!("{page}.pth")).exists());
    }
    // torchvision's own: another size where it is known, another checksum where only the name tells.
    let torchvision = |arch: &str| {
        let mut command = weights(folder.path());
        command.env(
            "GOLDFISH_TORCHVISION_URL",
            format!("{}/mirror/", server.url),
        );
        command.args(["fetch", arch]).assert()
    };
    torchvision("vgg19")
        .code(3)
        .stderr(contains("should have 574673361"));
    torchvision("vgg11")
        .code(3)
        .stderr(contains("should begin with 8a719046"));
    let asked = server.asked();
    assert_eq!(asked[asked.len() - 2].path, "/mirror/vgg19-dcbb9e9d.pth");
}

fn list_and_verify() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = |arguments: &[&str]| weights(folder.path()).args(arguments).assert();
    command(&["list"]).success().stdout(
        contains("vgg19_bn")
            .and(contains("goldfish weights fetch vgg16\n".trim()))
            .and(contains("553.4")),
    );
    command(&["verify"])
        .success()
        .stdout(contains("no weights are there"));
    command(&["verify", "vgg13"])
        .code(3)
        .stderr(contains("goldfish weights fetch vgg13"));
    let file = tensors(18);
    let served = file.clone();
    let server = Server::start(move |_, asked| Reply::file(asked, &served, "\"18\""));
    let url = format!("{}/model.safetensors", server.url);
    fetch(folder.path(), &url, &["vgg16"]).success();
    let path = data(folder.path(), "vgg16.safetensors");
    let json = |assert: Assert| serde_json::from_str::<Value>(&stdout(&assert)).expect("JSON");
    let listed = json(command(&["list", "--json"]).success());
    let all = listed["weights"].as_array().expect("a list");
    assert_eq!(all.len(), 8);
    let vgg16 = all
        .iter()
        .find(|w| w["arch"] == "vgg16")
        .expect("it is listed");
    assert_eq!(vgg16["found"][0]["path"], path.to_str().expect("text"));
    assert_eq!(vgg16["found"][0]["bytes"], file.len());
    // What the environment names comes first: a folder among the others, a file before all.
    let mine = folder.path().join("mine");
    fs::create_dir(&mine).expect("a folder");
    fs::write(mine.join("vgg16.safetensors"), "").expect("a file");
    let named = |what: &str| {
        let mut command = weights(folder.path());
        command.env("GOLDFISH_WEIGHTS", what);
        json(command.args(["list", "--json"]).assert().success())
    };
    let listed = named("mine");
    assert_eq!(
        (&listed["folders"][0], listed.get("named")),
        (&"mine".into(), None)
    );
    let vgg16 = listed["weights"].as_array().expect("a list").iter();
    let mut vgg16 = vgg16.filter(|w| w["arch"] == "vgg16");
    let found = &vgg16.next().expect("it is listed")["found"];
    let first = found[0]["path"].as_str().expect("a path");
    assert_eq!(slashed(first), "mine/vgg16.safetensors");
    assert_eq!(found[1]["path"], path.to_str().expect("text"));
    assert_eq!(
        named("mine/vgg16.safetensors")["named"],
        "mine/vgg16.safetensors"
    );
    let verified = json(command(&["verify", "--json"]).success());
    assert_eq!(verified["files"][0]["verdict"], "sound");
    assert_eq!(verified["files"][0]["sha256"], sha256(&file));
    // One bit is enough.
    let mut damaged = file.clone();
    damaged[200_000] ^= 1;
    fs::write(&path, damaged).expect("written");
    let verified = command(&["verify", "vgg16", "--json"])
        .code(3)
        .stderr(contains("is damaged"));
    assert_eq!(json(verified)["files"][0]["verdict"], "damaged");
    // A stranger, and one whose name tells.
    let other = folder.path().join("other.pth");
    fs::write(&other, &file).expect("written");
    command(&["verify", "other.pth"])
        .success()
        .stdout(contains("unknown"));
    fs::copy(&other, folder.path().join("vgg19-dcbb9e9d.pth")).expect("copied");
    command(&["verify", "vgg19-dcbb9e9d.pth"])
        .code(3)
        .stdout(contains("should have 574673361"));
    command(&["verify", "missing.pth"])
        .code(3)
        .stderr(contains("missing.pth"));
}

fn bad_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, says) in [
        (&["resnet50"][..], "choose one of vgg11, vgg11_bn"),
        (&["--from", "elsewhere"], "torchvision, timm, or an address"),
        (&["--from", "ftp://h.org/a"], "must begin with https://"),
        (&["--from", "https://u:p@h.org/a"], "with a password in it"),
        (&["--from", "https://h.org/"], "names no file"),
        (&["--sha256", "12"], "64 hexadecimal digits"),
        (&["--retry-wait", "-1"], "retry-wait"),
        (&["--timeout", "0"], "timeout"),
        (&["--offline", "--overwrite"], "cannot be used with"),
    ] {
        let mut command = weights(folder.path());
        command
            .arg("fetch")
            .args(arguments)
            .assert()
            .code(2)
            .stderr(contains(says));
    }
    assert!(!folder.path().join("data").exists(), "nothing was begun");
    weights(folder.path())
        .args(["fetch", "--help"])
        .assert()
        .success()
        .stdout(
            contains("GOLDFISH_TORCHVISION_URL")
                .and(contains("HF_TOKEN"))
                .and(contains("NO_PROXY")),
        );
}
