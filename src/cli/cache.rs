//! `goldfish cache`: what is kept between runs, listed and cleared.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, Subcommand};
use goldfish::train::store::{Holds, Kept, Key, Store};
use goldfish::{Error, Result};
use serde::Serialize;

use super::folders::{NO_CACHE, features_folder};
use super::print;
use super::terminal::{json, plain};

#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List what is kept of images between runs: of which base and layer, how much, and when it was last used
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Remove it, all or that of one base
    Clear(ClearArgs),
}

#[derive(ClapArgs)]
struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(ClapArgs)]
struct ClearArgs {
    /// That of the bases of this name, as in vgg19 or \"vgg19 random:0\", or whose SHA-256 starts so
    #[arg(long, value_name = "NAME|SHA256")]
    base: Option<String>,
}

#[derive(Serialize)]
struct Report {
    folder: String,
    bytes: u64,
    features: Vec<Listed>,
    prints: Vec<Listed>,
}

/// What is kept of one kind; what cannot be read of it is absent.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    about: About,
    images: u64,
    bytes: u64,
    /// Seconds since 1970.
    last_used: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum About {
    Features {
        base: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        layer: String,
        image_size: usize,
        exif: bool,
        precision: String,
        kernels: String,
        device: String,
    },
    /// By which pictures that validate and are trained on too are found.
    Prints {
        image_size: usize,
        exif: bool,
    },
    Unknown {},
}

pub fn run(args: Args) -> Result<()> {
    let folder = features_folder().ok_or_else(|| Error::Usage(format!("{NO_CACHE}: set one")))?;
    // Nothing is put there: its size is of no account.
    let store = Store::new(&folder, u64::MAX);
    match args.action {
        Action::Ls(args) => list(&store, args.json),
        Action::Clear(args) => clear(&store, args.base.as_deref()),
    }
}

fn list(store: &Store, as_json: bool) -> Result<()> {
    let kept = store.kept()?;
    let bytes = kept.iter().map(|kept| kept.bytes).sum();
    let is_prints = |kept: &Kept| matches!(kept.holds, Some(Holds::Prints(_)));
    let (prints, features): (Vec<Kept>, Vec<Kept>) = kept.into_iter().partition(is_prints);
    let report = Report {
        folder: store.folder().display().to_string(),
        bytes,
        features: features.into_iter().map(listed).collect(),
        prints: prints.into_iter().map(listed).collect(),
    };
    if as_json {
        return print(&json(&report));
    }
    let mut text = String::new();
    let listed = || report.features.iter().chain(&report.prints);
    if listed().next().is_some() {
        text += &format!(
            "{:22} {:14} {:>6} {:>10} {:>9}  {:14} {}\n",
            "base", "input of", "side", "images", "MiB", "last used", "device"
        );
    }
    for listed in listed() {
        let (mut base, mut layer, mut side, mut device) = Default::default();
        match &listed.about {
            About::Features {
                base: name,
                sha256,
                layer: of,
                image_size,
                precision,
                kernels,
                device: on,
                ..
            } => {
                let digits = sha256.iter().map(|sha| format!(" {:.8}", sha));
                base = name.clone() + &digits.collect::<String>();
                layer = of.clone();
                side = image_size.to_string();
                device = format!("{on}, {kernels} {precision}");
            }
            About::Prints { image_size, .. } => {
                base += "prints of pictures";
                side = image_size.to_string();
            }
            About::Unknown {} => base += "cannot be read",
        }
        text += &format!(
            "{:22} {:14} {side:>6} {:>10} {:>9.1}  {:14} {}\n",
            plain(&base),
            plain(&layer),
            listed.images,
            listed.bytes as f64 / f64::from(1 << 20),
            ago(listed.last_used),
            plain(&device)
        );
    }
    text += &format!(
        "{:.1} MiB in {}\n",
        report.bytes as f64 / f64::from(1 << 20),
        plain(&report.folder)
    );
    print(&text)
}

fn listed(kept: Kept) -> Listed {
    let about = match kept.holds {
        Some(Holds::Features(key)) => About::Features {
            base: key.base,
            sha256: key.sha256,
            layer: key.layer,
            image_size: key.side,
            exif: key.exif,
            precision: key.engine.precision,
            kernels: key.engine.family,
            device: key.engine.device,
        },
        Some(Holds::Prints(key)) => About::Prints {
            image_size: key.side,
            exif: key.exif,
        },
        None => About::Unknown {},
    };
    Listed {
        about,
        images: kept.images,
        bytes: kept.bytes,
        last_used: kept
            .used
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    }
}

/// Of what base features are.
fn key(kept: &Kept) -> Option<&Key> {
    match &kept.holds {
        Some(Holds::Features(key)) => Some(key),
        _ => None,
    }
}

/// How long ago a second since 1970 was.
fn ago(second: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let past = now.map_or(0, |now| now.as_secs().saturating_sub(second));
    let (number, unit) = match past {
        0..60 => return "just now".into(),
        60..3600 => (past / 60, "minute"),
        3600..86400 => (past / 3600, "hour"),
        _ => (past / 86400, "day"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

fn clear(store: &Store, base: Option<&str>) -> Result<()> {
    let wanted = |kept: &Kept| match (base, key(kept)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(base), Some(key)) => {
            // A name of digits is a name before it is a SHA-256.
            let digits =
                base.len() >= 6 && key.sha256.as_ref().is_some_and(|s| s.starts_with(base));
            key.base == base || digits
        }
    };
    let before = store.kept()?;
    let found = before.iter().filter(|kept| wanted(kept)).count();
    if let (Some(base), 0) = (base, found) {
        let mut names: Vec<&str> = before
            .iter()
            .filter_map(|kept| Some(key(kept)?.base.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        let there = match names.is_empty() {
            true => "nothing is".to_string(),
            false => format!("there is what was kept of {}", names.join(", ")),
        };
        return Err(Error::Usage(format!(
            "nothing is kept of a base {base:?}: {there}"
        )));
    }
    let freed = store.clear(wanted)?;
    print(&format!(
        "{:.1} MiB are free again in {}\n",
        freed as f64 / f64::from(1 << 20),
        plain(&store.folder().display().to_string())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("it is later than 1970").as_secs();
        for (before, said) in [
            (0, "just now"),
            (61, "1 minute ago"),
            (7300, "2 hours ago"),
            (86400 * 3, "3 days ago"),
        ] {
            assert_eq!(ago(now - before), said);
        }
        assert_eq!(ago(now + 50), "just now");
    }
}
