//! `goldfish eval`: how often are the base and its adapters right?

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use clap::Args as ClapArgs;
use goldfish::Result;
use goldfish::data::{Classes, Dataset, Labels, top};
use goldfish::nn::Loading;
use goldfish::train::{Prefix, predict};
use serde::Serialize;

use super::adapters::AdapterArgs;
use super::base::{BaseArgs, BaseReport};
use super::images::{Bad, open_images, tell};
use super::progress::Progress;
use super::terminal::{json, plain};

#[derive(ClapArgs)]
pub struct Args {
    /// Folder with one folder a category
    data: PathBuf,
    #[command(flatten)]
    adapters: AdapterArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    base: BaseArgs,
}

/// Shares of images whose category is the first, or among the first five.
#[derive(Clone, Copy, Default, Serialize)]
struct Score {
    count: usize,
    top1: f64,
    top5: f64,
    /// Mean cross-entropy.
    loss: f64,
}

#[derive(Serialize)]
struct Category {
    index: usize,
    category: String,
    #[serde(flatten)]
    score: Score,
    /// What its images were taken for, most often first.
    taken_for: Vec<Taken>,
}

#[derive(Serialize)]
struct Taken {
    index: usize,
    category: String,
    count: usize,
}

#[derive(Serialize)]
struct Report {
    base: BaseReport,
    #[serde(flatten)]
    all: Score,
    categories: Vec<Category>,
    skipped: Vec<Bad>,
}

/// Sums over images.
#[derive(Default)]
struct Tally {
    images: usize,
    first: usize,
    five: usize,
    loss: f64,
    taken_for: BTreeMap<usize, usize>,
}

impl Tally {
    fn add(&mut self, logits: &[f32], label: usize, classes: &Classes) {
        let best = top(logits, 5, classes);
        let largest = best.first().map_or(0.0, |p| f64::from(p.logit));
        let sum: f64 = logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum();
        self.images += 1;
        self.first += usize::from(best.first().is_some_and(|p| p.index == label));
        self.five += usize::from(best.iter().any(|p| p.index == label));
        self.loss += sum.ln() + largest - f64::from(logits[label]);
        if let Some(best) = best.first() {
            *self.taken_for.entry(best.index).or_default() += 1;
        }
    }

    fn score(&self) -> Score {
        let share = |count: usize| count as f64 / self.images as f64;
        Score {
            count: self.images,
            top1: share(self.first),
            top5: share(self.five),
            loss: self.loss / self.images as f64,
        }
    }
}

pub fn run(mut args: Args, device: Option<String>) -> Result<()> {
    args.adapters.adopt(&mut args.base)?;
    let gpu = super::open_device(device, args.base.precision)?;
    let base = args.base.resolve()?;
    let (adapter, classes) = args.adapters.answering(&gpu, &base)?;
    let dataset = Dataset::open(&args.data, &Labels::Of(classes))?;
    tell(&dataset.left_out);
    let paths: Vec<PathBuf> = dataset.items.iter().map(|item| item.path.clone()).collect();
    let (images, skipped) = open_images(&paths, &base, &args.base, None)?;
    let left_out: HashSet<&PathBuf> = skipped.iter().map(|s| &s.path).collect();
    let kept = dataset
        .items
        .iter()
        .filter(|item| !left_out.contains(&item.path));
    let labels: Vec<usize> = kept.map(|item| item.label as usize).collect();
    let classes = &dataset.classes;
    let (mut all, mut each) = (Tally::default(), BTreeMap::<usize, Tally>::new());
    let how = Loading {
        ranks: adapter.ranks(),
        headless: adapter.head.is_some(),
        ..Loading::default()
    };
    let mut prefix = Prefix::new(base.load(&gpu, how)?, &adapter, &images, None);
    let mut progress = Progress::new("eval", "images", images.len() as u64);
    predict(&mut prefix, &images, &adapter, |image, logits| {
        progress.one();
        all.add(logits, labels[image], classes);
        each.entry(labels[image])
            .or_default()
            .add(logits, labels[image], classes);
        Ok(())
    })?;
    progress.finish("");
    let report = Report {
        base: BaseReport::new(base.identity()?),
        all: all.score(),
        categories: each
            .iter()
            .map(|(&index, tally)| category(index, tally, classes))
            .collect(),
        skipped: skipped.iter().map(Bad::from).collect(),
    };
    if args.json {
        return super::print(&json(&report));
    }
    super::print(&table(&report))
}

fn category(index: usize, tally: &Tally, classes: &Classes) -> Category {
    let mut taken_for: Vec<(usize, usize)> =
        tally.taken_for.iter().map(|(&i, &n)| (i, n)).collect();
    taken_for.sort_by_key(|&(index, images)| (std::cmp::Reverse(images), index));
    Category {
        index,
        category: classes.name(index),
        score: tally.score(),
        taken_for: taken_for
            .into_iter()
            .map(|(index, count)| Taken {
                index,
                category: classes.name(index),
                count,
            })
            .collect(),
    }
}

fn table(report: &Report) -> String {
    let line = |name: &str, score: &Score, rest: &str| {
        format!(
            "{name:<28} {:>6} {:>7.1} % {:>7.1} % {:>8.4}  {rest}\n",
            score.count,
            score.top1 * 100.0,
            score.top5 * 100.0,
            score.loss
        )
    };
    let mut text = format!(
        "{:<28} {:>6} {:>9} {:>9} {:>8}  {}\n",
        "category", "images", "top-1", "top-5", "loss", "taken for"
    );
    for category in &report.categories {
        let most = category.taken_for.iter().take(3);
        let taken: Vec<String> = most
            .map(|t| format!("{} {}", t.count, plain(&t.category)))
            .collect();
        text += &line(
            &plain(&category.category),
            &category.score,
            &taken.join(", "),
        );
    }
    text + &line("all", &report.all, "") + &report.base.line()
}
