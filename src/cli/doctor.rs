//! `goldfish doctor`: what is wrong with these pictures?

mod words;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::Args as ClapArgs;
use goldfish::data::doctor::{Checks, Counted, Examined, Fault, Finding, Place, Severity, doctor};
use goldfish::data::{Classes, Labels};
use goldfish::{Error, Result};
use serde::Serialize;

use super::base::check_size;
use super::progress::Progress;
use super::terminal::{json, plain};
use super::train::ClassesArg;
use super::world::world;
use words::words;

#[derive(ClapArgs)]
#[command(after_help = "\
Every picture is read once and none is changed; no device is opened.

An error is what `train` refuses, or what makes its results wrong; a warning is likely not what was meant; a note is good \
to know. Exit codes: 0 no error (with --strict no warning either), 3 some were found or a folder cannot be read, 2 usage, \
130 interrupted.")]
pub struct Args {
    /// Folder with one folder a class
    data: PathBuf,
    /// A folder to validate with: its pictures are examined too, and none may be in DATA
    #[arg(long, value_name = "DIR")]
    val: Option<PathBuf>,
    /// What the folders are named by, as for `train`
    #[arg(long, value_enum, default_value = "auto")]
    classes: ClassesArg,
    /// As for `train`: classes of your own behind ImageNet's
    #[arg(long)]
    keep_imagenet: bool,
    /// Turn images the way their EXIF orientation says, as `train --exif` does
    #[arg(long)]
    exif: bool,
    /// Side of the square that images are cropped to
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    image_size: usize,
    /// Exit with 3 where there are warnings too
    #[arg(long)]
    strict: bool,
    /// Show every place of a finding, not the first few
    #[arg(long)]
    all: bool,
    /// Print JSON, which has every place
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    check_size(args.image_size).map_err(|why| Error::setting("image_size", why))?;
    let labels = match (args.classes, args.keep_imagenet) {
        (ClassesArg::Imagenet, true) => {
            let problem = "imagenet leaves no class to add behind ImageNet's";
            return Err(Error::setting("classes", problem));
        }
        (ClassesArg::Auto, true) => Labels::BehindImageNet,
        (ClassesArg::Auto, false) => Labels::Auto(Classes::imagenet()),
        (ClassesArg::Imagenet, false) => Labels::ImageNet,
        (ClassesArg::Own, true) => Labels::OwnBehindImageNet,
        (ClassesArg::Own, false) => Labels::Own,
    };
    let world = world();
    let checks = Checks {
        data: &args.data,
        validation: args.val.as_deref(),
        labels,
        exif: args.exif,
        size: args.image_size,
        world: Some(&world),
    };
    let progress = Mutex::new(None);
    let report = |done: usize, total: usize| {
        if let Ok(mut progress) = progress.lock() {
            let bar =
                progress.get_or_insert_with(|| Progress::new("images", "images", total as u64));
            bar.set(done as u64, "");
        }
    };
    let examined = doctor(&checks, report, super::stop_on_ctrl_c())?;
    if let Ok(Some(progress)) = progress.into_inner() {
        progress.finish(" examined");
    }
    if !world.leads() {
        return Ok(());
    }
    match args.json {
        true => super::print(&json(&Report::new(&checks, &examined)))?,
        false => super::print(&text(&examined, args.all))?,
    }
    let bad = [Severity::Error, Severity::Warning].map(|severity| examined.count(severity));
    if bad[0] > 0 || (args.strict && bad[1] > 0) {
        let found = counts(&examined);
        return Err(Error::data(&args.data, format!("not sound: {found}")));
    }
    Ok(())
}

/// The report as JSON: names are added to it, and none is changed or taken away while `schema` stays.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    data: String,
    validation: Option<String>,
    classes: Vec<Class<'a>>,
    validation_classes: Vec<Class<'a>>,
    errors: usize,
    warnings: usize,
    notes: usize,
    findings: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Class<'a> {
    name: &'a str,
    pictures: usize,
    readable: usize,
}

#[derive(Serialize)]
struct Found<'a> {
    fault: Fault,
    severity: Severity,
    what: &'static str,
    advice: &'static str,
    places: Vec<At<'a>>,
}

/// What of a path is not UTF-8 stands as U+FFFD.
#[derive(Serialize)]
struct At<'a> {
    path: String,
    with: Vec<String>,
    says: &'a str,
}

fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl<'a> Report<'a> {
    fn new(checks: &Checks, examined: &'a Examined) -> Self {
        let classes = |counted: &'a [Counted]| {
            let classes = counted.iter().map(|class| Class {
                name: &class.name,
                pictures: class.pictures,
                readable: class.readable,
            });
            classes.collect()
        };
        Report {
            schema: 1,
            data: lossy(checks.data),
            validation: checks.validation.map(lossy),
            classes: classes(&examined.classes),
            validation_classes: classes(&examined.validation),
            errors: examined.count(Severity::Error),
            warnings: examined.count(Severity::Warning),
            notes: examined.count(Severity::Note),
            findings: examined.findings.iter().map(Found::new).collect(),
        }
    }
}

impl<'a> Found<'a> {
    fn new(finding: &'a Finding) -> Self {
        let words = words(finding.fault);
        let at = |place: &'a Place| At {
            path: lossy(&place.path),
            with: place.with.iter().map(|path| lossy(path)).collect(),
            says: &place.says,
        };
        Found {
            fault: finding.fault,
            severity: finding.fault.severity(),
            what: words.what,
            advice: words.advice,
            places: finding.places.iter().map(at).collect(),
        }
    }
}

/// `2 errors, 1 warning, 3 notes`, of those that there are.
fn counts(examined: &Examined) -> String {
    let all = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Note, "note"),
    ];
    let counts = all.map(|(severity, name)| match examined.count(severity) {
        0 => None,
        1 => Some(format!("1 {name}")),
        n => Some(format!("{n} {name}s")),
    });
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    match counts.is_empty() {
        true => "nothing found".into(),
        false => counts.join(", "),
    }
}

fn text(examined: &Examined, all: bool) -> String {
    /// Places of a finding, and other files of a place, that are shown.
    const PLACES: usize = 8;
    const OTHERS: usize = 3;
    let most = |most: usize| if all { usize::MAX } else { most };
    let mut text = String::new();
    for finding in &examined.findings {
        let words = words(finding.fault);
        let severity = match finding.fault.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        text += &format!("{severity:8} {}: {}\n", words.what, finding.places.len());
        for place in finding.places.iter().take(most(PLACES)) {
            let mut line = place.path.display().to_string();
            for other in place.with.iter().take(most(OTHERS)) {
                line += &format!(", {}", other.display());
            }
            if place.with.len() > most(OTHERS) {
                line += &format!(" and {} more", place.with.len() - OTHERS);
            }
            if !place.says.is_empty() {
                line += &format!(": {}", place.says);
            }
            text += &format!("         {}\n", plain(&line));
        }
        if finding.places.len() > most(PLACES) {
            let more = finding.places.len() - PLACES;
            text += &format!("         and {more} more; --all shows them\n");
        }
        text += &format!("         -> {}\n\n", words.advice);
    }
    let pictures = |classes: &[Counted]| classes.iter().map(|c| c.pictures).sum::<usize>();
    text += &format!(
        "{} pictures in {} classes",
        pictures(&examined.classes),
        examined.classes.len()
    );
    if !examined.validation.is_empty() {
        text += &format!(", {} to validate with", pictures(&examined.validation));
    }
    text + &format!(": {}\n", counts(examined))
}
