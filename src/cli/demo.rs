//! `goldfish demo`: the tutorial, start to end, with what the network says before and after.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use goldfish::data::top;
use goldfish::nn::Adapter;
use goldfish::train::predict;
use goldfish::{Error, Result};
use toml::Table;

use super::base::BaseArgs;
use super::terminal::{note, plain, plain_path};
use super::train::{Job, Request, TrainArgs, job, summary};

/// The illustrations, for a program far from its repository.
const ILLUSTRATIONS: [(&str, &[u8]); 5] = [
    (
        "bowl.png",
        include_bytes!("../../examples/illustrations/goldfish/bowl.png"),
    ),
    (
        "ink.gif",
        include_bytes!("../../examples/illustrations/goldfish/ink.gif"),
    ),
    (
        "pixels.bmp",
        include_bytes!("../../examples/illustrations/goldfish/pixels.bmp"),
    ),
    (
        "pond.jpg",
        include_bytes!("../../examples/illustrations/goldfish/pond.jpg"),
    ),
    (
        "stamp.webp",
        include_bytes!("../../examples/illustrations/goldfish/stamp.webp"),
    ),
];

#[derive(ClapArgs)]
pub struct Args {
    /// Folder with one folder a category
    #[arg(default_value = "examples/illustrations")]
    data: PathBuf,
    /// Folder for the adapter, its settings and the metrics; what is there is replaced
    #[arg(short, long, value_name = "RUN", default_value = "runs/demo")]
    output: PathBuf,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    settings: TrainArgs,
}

pub fn run(args: Args, device: Option<String>) -> Result<()> {
    let mut data = args.data;
    if data == Path::new("examples/illustrations") && !data.exists() {
        data = args.output.join("illustrations");
        note!(
            "notice   examples/illustrations is not here: the program's own copies are used ({})",
            data.display()
        );
        unpack(&data.join("goldfish"))?;
    }
    let mut job = job(Request {
        data: &data,
        output: &args.output,
        overwrite: true,
        resume: false,
        sweep: None,
        base: &args.base,
        settings: &args.settings,
        device,
        looks_again: true,
    })?;
    let mut text = format!("\n{:<16} {:<34} {}\n", "illustration", "before", "after");
    let (before, after) = before_and_after(&mut job)?;
    for (index, after) in after.iter().enumerate() {
        let before = before.as_ref().map_or(&[][..], |before| &before[index]);
        let say = |logits: &[f32]| {
            top(logits, 1, &job.checked.data.classes)
                .first()
                .map_or("-".into(), |p| {
                    format!(
                        "{} ({:.1} %)",
                        plain(&p.category),
                        f64::from(p.probability) * 100.0
                    )
                })
        };
        let path = job.checked.data.images.path(index);
        let file = plain(&path.file_name().unwrap_or_default().to_string_lossy());
        text += &format!("{file:<16} {:<34} {}\n", say(before), say(after));
    }
    text += &format!("\n{}run      {}\n", summary(&job), plain_path(&args.output));
    super::print(&text)
}

impl Args {
    /// Hands over all settings as run.toml has them.
    pub fn set_table(&mut self, table: Table) {
        self.settings.table = table;
    }
}

/// The logits of every image.
type Logits = Vec<Vec<f32>>;

/// What the base, where it has the same classes, and what the adapted network say about every image.
fn before_and_after(job: &mut Job) -> Result<(Option<Logits>, Logits)> {
    let Job {
        checked,
        prefix,
        trained,
        ..
    } = job;
    let mut say = |adapter: &Adapter| {
        let mut all = Vec::new();
        predict(prefix, &checked.data.images, adapter, |_, logits| {
            all.push(logits.to_vec());
            Ok(())
        })?;
        Ok::<_, Error>(all)
    };
    let before = match trained.adapter.head {
        Some(_) => None,
        None => Some(say(&Adapter::default())?),
    };
    Ok((before, say(&trained.adapter)?))
}

fn unpack(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "make the folder"))?;
    ILLUSTRATIONS
        .iter()
        .try_for_each(|(name, bytes)| goldfish::files::write_atomic(&folder.join(name), bytes))
}
