//! Two hosts, made of network namespaces on this machine: a job on both comes to the same bytes, and a link that is cut ends it.
//! Needs root and iproute2; where they are not there, the test says so and is passed over.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::launch::{
    LIMIT, PROGRAM, alone, at_home, ended, is_put_down, pictures, run_files, train, wait,
};

/// Two namespaces with a cable between them, which go with this.
struct Hosts {
    names: [String; 2],
}

fn ip(words: &[&str]) -> bool {
    let done = Command::new("ip").args(words).output();
    done.is_ok_and(|done| done.status.success())
}

impl Hosts {
    /// `None` where this user may not have such.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let names = [format!("gf{id}a"), format!("gf{id}b")];
        let hosts = Hosts { names };
        let [a, b] = &hosts.names;
        let made = ip(&["netns", "add", a])
            && ip(&["netns", "add", b])
            && ip(&["link", "add", a, "type", "veth", "peer", "name", b])
            && [(a, "10.77.91.1/24"), (b, "10.77.91.2/24")]
                .iter()
                .all(|(host, address)| {
                    ip(&["link", "set", host, "netns", host])
                        && ip(&["-n", host, "addr", "add", address, "dev", host])
                        && ip(&["-n", host, "link", "set", host, "up"])
                        && ip(&["-n", host, "link", "set", "lo", "up"])
                });
        made.then_some(hosts)
    }

    /// Pulls the cable.
    fn cut(&self) {
        let a = &self.names[0];
        assert!(ip(&["-n", a, "link", "set", a, "down"]));
    }

    /// `goldfish` with `words`, two ranks on each host, from the first one.
    fn run(&self, folder: &Path, words: &[&str]) -> Command {
        let [a, b] = &self.names;
        // What mpirun takes for ssh: HOST COMMAND...
        let agent = folder.join("agent");
        let text = format!(
            "#!/bin/sh\nshift\nexec ip netns exec {b} unshare --uts sh -c 'hostname {b}; exec sh -c \"$*\"' sh \"$@\"\n"
        );
        fs::write(&agent, text).expect("written");
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).expect("made to run");
        let script = format!("hostname {a}; exec \"$@\"");
        let mut command = Command::new("ip");
        command
            .args([
                "netns", "exec", a, "unshare", "--uts", "sh", "-c", &script, "sh", "mpirun",
            ])
            .args(["--mca", "plm_rsh_agent"])
            .arg(&agent)
            .args(["--mca", "oob_tcp_if_include", "10.77.91.0/24"])
            .args(["--mca", "btl_tcp_if_include", "10.77.91.0/24"])
            // mpirun itself, too, is to see that the other host is gone.
            .args(["--mca", "oob_tcp_keepalive_time", "2"])
            .args(["--mca", "oob_tcp_keepalive_intvl", "1"])
            .args(["--mca", "oob_tcp_keepalive_probes", "2"])
            .args(["--host", "10.77.91.1:2,10.77.91.2:2", "-n", "4"])
            .args(["-x", "GOLDFISH_CACHE", "-x", "GOLDFISH_RANK_TIMEOUT=3"])
            .arg(PROGRAM)
            .args(words);
        at_home(&mut command, folder);
        command
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in &self.names {
            // A daemon of mpirun's whose link was cut stays.
            let pids = Command::new("ip").args(["netns", "pids", host]).output();
            let pids = pids.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
            for pid in pids.unwrap_or_default().split_whitespace() {
                let _ = Command::new("kill").args(["-KILL", pid]).status();
            }
            ip(&["netns", "del", host]);
        }
    }
}

#[test]
fn two_hosts_come_to_the_same_bytes_and_a_cut_link_ends_them() {
    let Some(hosts) = Hosts::new() else {
        eprintln!("passed over: no network namespaces for this user (root and iproute2 have them)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    pictures(at, "data", 20);
    let more = [
        "--batch-size",
        "8",
        "--micro-batch",
        "2",
        "--save-every",
        "1",
    ];
    let words = |to, epochs| train(to, epochs, &more);
    ended(&mut alone(at, &words("alone", "3"))).ok();
    ended(&mut hosts.run(at, &words("both", "3"))).ok();
    assert!(run_files(&at.join("alone")) == run_files(&at.join("both")));

    let child = hosts
        .run(at, &words("cut", "100000"))
        .spawn()
        .expect("it starts");
    let (run, start) = (at.join("cut"), Instant::now());
    while !is_put_down(&run) {
        assert!(start.elapsed() < LIMIT, "nothing is put down");
        sleep(Duration::from_millis(20));
    }
    hosts.cut();
    let said = wait(child, Duration::from_secs(40));
    // Whoever finds it first: a rank, or mpirun.
    let rank = said
        .err
        .contains("has not been heard of for 3 s: it has died, or the network between");
    let launcher = said
        .err
        .contains("ORTE has lost communication with a remote daemon");
    assert!(!said.status.success() && (rank || launcher), "{}", said.err);
    // What was put down before is there to go on from.
    assert!(is_put_down(&run));
}
