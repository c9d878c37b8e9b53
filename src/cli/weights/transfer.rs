//! A file on its way: asked for until all of it is there, from where the last try left off.

use std::io::Read;
use std::time::{Duration, SystemTime};

use goldfish::Result;

use super::address::{about, parse};
use super::check::Expected;
use super::http::{Client, Failure, Request};
use super::part::{Origin, Part};
use super::source::Wanted;
use crate::cli::progress::Progress;
use crate::cli::terminal::note;

/// Bytes that no file of weights has: where nothing else is known, a server may send no more.
const MOST: u64 = 16 << 30;
/// What must have come for a failure not to count as one more of a row.
const ENOUGH: u64 = 1 << 20;
/// Two tries are never further apart, unless the server asks for it, and then not further than this.
const LONGEST: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(600)];

/// How long is waited, and how often.
pub struct Patience {
    /// In which nothing comes.
    pub timeout: Duration,
    /// Failures in a row after which it is given up.
    pub retries: u32,
    /// Seconds before the first further try.
    pub first_wait: f64,
}

/// Fetches until all is there; what is known of the file then.
pub fn download(wanted: &Wanted, patience: &Patience, part: &mut Part) -> Result<Expected> {
    let client = Client {
        timeout: patience.timeout,
        token: wanted.token.clone(),
    };
    let mut transfer = Transfer {
        client,
        url: &wanted.url,
        expected: wanted.expected.clone(),
        progress: None,
    };
    let mut failures = 0;
    loop {
        let before = part.len;
        let (why, wait) = match transfer.attempt(part) {
            Ok(()) => {
                let progress = transfer.progress.take();
                progress.into_iter().for_each(|p| p.finish(""));
                return Ok(transfer.expected);
            }
            Err(Failure::Lasting(error)) => return Err(error),
            Err(Failure::Passing { why, wait }) => (why, wait),
        };
        if part.len >= before + ENOUGH {
            failures = 0;
        }
        failures += 1;
        let uri = parse(&wanted.url)?;
        let kept = match part.len {
            0 => "Try again later, or choose another source with --from".to_string(),
            n => format!("The {n} bytes that came are kept: the same command goes on from there"),
        };
        if failures > patience.retries {
            return Err(about(
                &uri,
                format!("{why}; given up after {failures} tries. {kept}"),
            ));
        }
        let wait = match wait {
            Some(asked) if asked > LONGEST[1] => {
                let asked = asked.as_secs();
                return Err(about(
                    &uri,
                    format!("{why} and asks to come back in {asked} s. {kept}"),
                ));
            }
            Some(asked) => asked,
            None => back_off(patience.first_wait, failures),
        };
        note!(
            "again    {why}; in {:.1} s try {failures} of {}",
            wait.as_secs_f64(),
            patience.retries
        );
        std::thread::sleep(wait);
    }
}

/// Twice as long each time, and not at the same moment as all others that the server turned away.
fn back_off(first: f64, failures: u32) -> Duration {
    let longest = LONGEST[0].as_secs_f64();
    let whole = (first * 2f64.powi(failures.min(16) as i32 - 1)).min(longest);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let share = f64::from(now.map_or(0, |n| n.subsec_nanos())) / 1e9;
    Duration::from_secs_f64(whole * (0.5 + share / 2.0))
}

/// One file on its way.
struct Transfer<'a> {
    client: Client,
    url: &'a str,
    /// What is known of the file, by and by.
    expected: Expected,
    progress: Option<Progress>,
}

impl Transfer<'_> {
    /// Asks once for what is missing and takes what comes.
    fn attempt(&mut self, part: &mut Part) -> Result<(), Failure> {
        let size = self.expected.size.or(part.origin.size);
        match size {
            Some(size) if part.len == size => return Ok(()),
            Some(size) if part.len > size => part.restart(self.nowhere(part))?,
            _ => {}
        }
        // Without a name for the version that the bytes are of, only the checksum would find two that are mixed.
        if part.len > 0 && part.origin.validator().is_none() && !self.expected.full() {
            part.restart(self.nowhere(part))?;
        }
        let answer = self.client.get(&Request {
            url: self.url,
            from: part.len,
            validator: part.origin.validator(),
        })?;
        let uri = parse(self.url)?;
        if answer.page {
            let problem = "is a web page, not a file: name the address of the file itself (on Hugging Face it has \
                           /resolve/ where the page has /blob/)";
            return Err(about(&uri, problem).into());
        }
        let origin = Origin {
            url: part.origin.url.clone(),
            etag: answer.etag.clone(),
            last_modified: answer.last_modified.clone(),
            size: answer.total,
        };
        self.expected = self.expected.clone().or(answer.linked.clone());
        match answer.status {
            416 if part.len > 0
                && answer.total == Some(part.len)
                && part.origin.same_as(&origin) =>
            {
                return Ok(());
            }
            206 | 416 if part.len == 0 => {
                let problem = format!(
                    "the server answers {} where all of the file was asked for. Choose another source with --from",
                    answer.status
                );
                return Err(about(&uri, problem).into());
            }
            416 => {
                part.restart(self.nowhere(part))?;
                return Err(passing("the server has less of the file than came before"));
            }
            206 if answer.start != part.len || !part.origin.same_as(&origin) => {
                part.restart(self.nowhere(part))?;
                return Err(passing("the file on the server is another one now"));
            }
            206 => {}
            _ => part.restart(origin)?,
        }
        self.take(part, answer.total, answer.reader())
    }

    fn take(
        &mut self,
        part: &mut Part,
        total: Option<u64>,
        mut body: impl Read,
    ) -> Result<(), Failure> {
        let uri = parse(self.url)?;
        if let (Some(total), Some(size)) = (total, self.expected.size)
            && total != size
        {
            part.restart(self.nowhere(part))?;
            let problem = format!(
                "has {total} bytes there, and the file should have {size}: it is another file. Choose another source \
                 with --from"
            );
            return Err(about(&uri, problem).into());
        }
        let size = self.expected.size.or(total);
        part.check_room(size.unwrap_or(0))?;
        let progress = self.progress.get_or_insert_with(|| {
            let megabytes = size.unwrap_or(0).div_ceil(1_000_000);
            Progress::from(part.len / 1_000_000, "fetch", "MB", megabytes)
        });
        let mut buffer = vec![0; 1 << 17];
        loop {
            let n = body
                .read(&mut buffer)
                .map_err(|e| self.client.failed(&uri, e.into()))?;
            if n == 0 {
                break;
            }
            let most = size.unwrap_or(MOST);
            if part.len + n as u64 > most {
                part.restart(self.nowhere(part))?;
                let problem = format!("sends more than {most} bytes: it is another file");
                return Err(about(&uri, problem).into());
            }
            part.append(&buffer[..n])?;
            progress.set(part.len / 1_000_000, "");
        }
        match size {
            Some(size) if part.len < size => Err(passing(&format!(
                "the connection ended after {} of {size} bytes",
                part.len
            ))),
            _ => Ok(()),
        }
    }

    /// The address, with nothing known of what is there.
    fn nowhere(&self, part: &Part) -> Origin {
        Origin {
            url: part.origin.url.clone(),
            ..Origin::default()
        }
    }
}

fn passing(why: &str) -> Failure {
    Failure::Passing {
        why: why.into(),
        wait: None,
    }
}

#[cfg(test)]
mod tests {
    use super::back_off;

    #[test]
    fn waits_grow_to_a_minute_and_may_be_none() {
        for (failures, least, most) in [
            (1, 0.5, 1.0),
            (2, 1.0, 2.0),
            (5, 8.0, 16.0),
            (99, 30.0, 60.0),
        ] {
            let wait = back_off(1.0, failures).as_secs_f64();
            assert!((least..=most).contains(&wait), "{failures}: {wait}");
        }
        assert!(back_off(0.0, 9).is_zero());
    }
}
