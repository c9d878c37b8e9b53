//! How predictions are printed: as they come, or as one object at the end.

use std::path::Path;

use clap::ValueEnum;
use goldfish::Result;
use goldfish::data::{Prediction, Skipped};
use serde::Serialize;

use crate::cli::base::BaseReport;
use crate::cli::images::Bad;
use crate::cli::rows::{rows, text};
use crate::cli::terminal::{json, json_line, plain, write};

/// `--format`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Jsonl,
    Csv,
}

#[derive(Serialize)]
struct Shown {
    /// What of the name is not UTF-8 stands as U+FFFD.
    path: String,
    predictions: Vec<Prediction>,
    /// Where it was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    sorted: Option<String>,
    /// In a line of its own, what the whole says once of the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Serialize)]
struct Report {
    base: BaseReport,
    images: Vec<Shown>,
    skipped: Vec<Bad>,
}

/// Prints predictions in one format.
pub struct Printer {
    format: Format,
    /// Whether something was printed.
    begun: bool,
    /// What is printed at the end.
    report: Report,
}

impl Printer {
    pub fn new(format: Format, base: BaseReport) -> Self {
        Printer {
            format,
            begun: false,
            report: Report {
                base,
                images: Vec::new(),
                skipped: Vec::new(),
            },
        }
    }

    /// One image's predictions, and where it was put.
    pub fn image(
        &mut self,
        path: &Path,
        predictions: Vec<Prediction>,
        sorted: Option<&Path>,
    ) -> Result<()> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let shown = Shown {
            path: text(path),
            predictions,
            sorted: sorted.map(text),
            note: self
                .report
                .base
                .note
                .filter(|_| self.format == Format::Jsonl),
        };
        let begun = std::mem::replace(&mut self.begun, true);
        match self.format {
            Format::Table => write(&table(&shown)),
            Format::Csv => write(&csv(&shown, !begun)?),
            Format::Jsonl => write(&json_line(&shown)),
            Format::Json => {
                self.report.images.push(shown);
                Ok(())
            }
        }
    }

    /// An image that could not be read.
    pub fn skipped(&mut self, skipped: &Skipped) -> Result<()> {
        let bad = Bad::from(skipped);
        match self.format {
            Format::Jsonl => write(&json_line(&bad)),
            Format::Json => {
                self.report.skipped.push(bad);
                Ok(())
            }
            // It stands on stderr.
            Format::Table | Format::Csv => Ok(()),
        }
    }

    /// There are no more.
    pub fn end(self) -> Result<()> {
        match self.format {
            Format::Json => write(&json(&self.report)),
            Format::Table => write(&self.report.base.line()),
            Format::Jsonl | Format::Csv => Ok(()),
        }
    }
}

fn table(image: &Shown) -> String {
    let mut text = format!("{}\n", plain(&image.path));
    for (rank, p) in image.predictions.iter().enumerate() {
        text += &format!(
            "  {:>4}  {:>6.2} %  {:<32} {:>4}  {:>9.4}\n",
            rank + 1,
            f64::from(p.probability) * 100.0,
            plain(&p.category),
            p.index,
            p.logit
        );
    }
    text
}

/// The first rows say what the columns are.
fn csv(image: &Shown, first: bool) -> Result<String> {
    rows(|writer| {
        if first {
            writer.write_record(["path", "rank", "index", "category", "logit", "probability"])?;
        }
        let mut ranked = image.predictions.iter().enumerate();
        ranked.try_for_each(|(rank, p)| {
            let (path, category) = (text(&image.path), text(&p.category));
            writer.serialize((path, rank + 1, p.index, category, p.logit, p.probability))
        })
    })
}
