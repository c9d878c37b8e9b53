//! A headless Chromium, spoken to through two pipes in the words of its DevTools protocol.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

pub struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    session: Option<String>,
    sent: u64,
    /// The page.
    own: String,
    /// What the page's console said, and what was asked of a network.
    heard: Vec<String>,
    /// Its profile and the pipes.
    _folder: tempfile::TempDir,
}

impl Browser {
    /// Where one is installed.
    pub fn path() -> Option<PathBuf> {
        let folders = std::env::var_os("PATH")?;
        let mut places = std::env::split_paths(&folders).map(|folder| folder.join("chromium"));
        places.find(|place| place.is_file() && cfg!(unix))
    }

    /// Opens a page in a window of this size.
    pub fn open(page: &Path, [width, height]: [u32; 2]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [to, from] = ["to", "from"].map(|name| folder.path().join(name));
        let made = Command::new("mkfifo").args([&to, &from]).status();
        assert!(made.expect("mkfifo runs").success());
        let browser = Self::path().expect("a chromium");
        let child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<\"$TO\" 4>\"$FROM\""])
            .arg(browser)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
            ])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--disable-dev-shm-usage",
            ])
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join("profile").display()
            ))
            .env("TO", &to)
            .env("FROM", &from)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.expect("chromium starts");
        let mut browser = Browser {
            child,
            to: File::options().write(true).open(&to).expect("a pipe"),
            from: BufReader::new(File::open(&from).expect("a pipe")),
            session: None,
            sent: 0,
            own: format!("file://{}", encoded(page)),
            heard: Vec::new(),
            _folder: folder,
        };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_string);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        browser.ask("Emulation.setDeviceMetricsOverride", size);
        let address = json!({"url": browser.own.clone()});
        browser.ask("Page.navigate", address);
        while browser.hear()["method"] != "Page.loadEventFired" {}
        browser
    }

    /// Sends a command and waits for its answer.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .expect("the browser listens");
        loop {
            let answer = self.hear();
            if answer["id"] == self.sent {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// What a script comes to in the page.
    pub fn evaluate(&mut self, script: &str) -> Value {
        let how = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", how);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{script}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// What the page's console said, and every address that it wanted beside its own and those that hold their data.
    pub fn complaints(&mut self) -> Vec<String> {
        self.evaluate("1");
        std::mem::take(&mut self.heard)
    }

    fn hear(&mut self) -> Value {
        let mut message = Vec::new();
        self.from
            .read_until(0, &mut message)
            .expect("the browser speaks");
        assert_eq!(message.pop(), Some(0), "the browser has gone");
        let message: Value = serde_json::from_slice(&message).expect("JSON");
        let what = &message["params"];
        match message["method"].as_str() {
            Some("Log.entryAdded") => self.heard.push(what["entry"]["text"].to_string()),
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown") => {
                self.heard.push(what.to_string())
            }
            Some("Network.requestWillBeSent") => {
                let address = what["request"]["url"].as_str().unwrap_or_default();
                if !address.starts_with("data:") && address != self.own {
                    self.heard.push(format!("asked for {address}"));
                }
            }
            _ => {}
        }
        message
    }
}

/// A path as an address has it.
fn encoded(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let bytes = path.to_str().expect("a name of the tests").bytes();
    bytes
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
