//! `goldfish report`: a run as one page that works from disk: curves, classes, pictures with their verdicts, settings.

mod branch;
mod chart;
mod classes;
mod curves;
mod frame;
mod look;
mod page;
mod picture;
mod pictures;
mod told;

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use goldfish::Result;
use goldfish::files::write_atomic;

use super::adopt::DEFAULT_RUN;
use super::base::BaseArgs;
use super::terminal::plain;
pub use chart::{Chart, Curve, MOST as POINTS, chart};
pub use classes::percent;
pub use frame::{duration, frame};
pub use picture::thumbnail;
use told::Told;
pub use told::{COST, said, shown};

/// The page's name in a run's folder.
pub const FILE: &str = "report.html";
/// Pictures that it shows where nobody says.
pub const PICTURES: usize = 100;

#[derive(ClapArgs)]
pub struct Args {
    /// Folder of the run; its metrics.csv and events/ are written anew too
    #[arg(value_name = "RUN", default_value = DEFAULT_RUN)]
    run: PathBuf,
    /// Pictures to show: the wrongest first, then the least sure
    #[arg(long, default_value_t = PICTURES)]
    pictures: usize,
    /// Pictures, from the first, to show where the network looked in; 0 asks no device
    #[arg(long, default_value_t = 24)]
    look: usize,
    #[command(flatten)]
    base: BaseArgs,
}

pub fn run(mut args: Args, device: Option<String>) -> Result<()> {
    let told = Told::read(&args.run)?;
    told.history.write(&args.run)?;
    let shown = pictures::chosen(&told, args.pictures);
    let wanted = &shown[..args.look.min(shown.len())];
    let seen = match wanted.is_empty() {
        true => Vec::new(),
        false => look::look(&told, wanted, &mut args.base, device)?,
    };
    let path = write(&told, &shown, &seen)?;
    super::print(&format!(
        "report   {}\n",
        plain(&path.display().to_string())
    ))
}

fn write(told: &Told, shown: &[usize], seen: &[look::Seen]) -> Result<PathBuf> {
    let path = told.folder.join(FILE);
    write_atomic(&path, page::page(told, shown, seen)?.as_bytes())?;
    Ok(path)
}

/// The page of a run that has just ended, without another look at its pictures.
pub fn of_run(folder: &Path) -> Result<PathBuf> {
    let told = Told::read(folder)?;
    let shown = pictures::chosen(&told, PICTURES);
    write(&told, &shown, &[])
}
