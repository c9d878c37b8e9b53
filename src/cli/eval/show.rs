//! How an evaluation is printed: as a table, as CSV, as one JSON object.

use goldfish::Result;
use goldfish::data::{Figures, Matrix, Quality, Score};
use serde::Serialize;

use super::against::Against;
use super::judged::Shown;
use crate::cli::base::BaseReport;
use crate::cli::images::Bad;
use crate::cli::rows::{rows, text};
use crate::cli::terminal::plain;

/// The most classes whose confusion matrix stands in the table.
const FEW: usize = 12;

#[derive(Serialize)]
pub struct Report {
    pub base: BaseReport,
    #[serde(flatten)]
    pub figures: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    pub images: Vec<Shown>,
    pub skipped: Vec<Bad>,
}

/// A row for each class that has pictures.
pub fn csv(figures: &Figures) -> Result<String> {
    rows(|writer| {
        writer.write_record([
            "index",
            "category",
            "count",
            "precision",
            "recall",
            "f1",
            "top1",
            "top5",
            "loss",
        ])?;
        figures.categories.iter().try_for_each(|class| {
            let (name, score, quality) = (text(&class.category), &class.score, &class.quality);
            let quality = (quality.precision, quality.recall, quality.f1);
            let score = (score.top1, score.top5, score.loss);
            writer.serialize((class.index, name, class.score.count, quality, score))
        })
    })
}

/// A row for each true class, a column for each that was said.
pub fn confusion(matrix: &Matrix) -> Result<String> {
    rows(|writer| {
        let names = matrix.categories.iter().map(|name| text(name));
        writer.write_record(
            [text("true \\ said")]
                .into_iter()
                .chain(names)
                .map(|name| name.into_owned()),
        )?;
        let mut named = matrix.categories.iter().zip(&matrix.counts);
        named.try_for_each(|(name, counts)| writer.serialize((text(name), counts)))
    })
}

/// The pictures that were taken for something else, the surest mistakes first.
pub fn wrong(images: &[Shown]) -> Result<String> {
    let mut wrong: Vec<&Shown> = images.iter().filter(|image| !image.right).collect();
    wrong.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    rows(|writer| {
        writer.write_record(["path", "category", "said", "confidence", "probability"])?;
        wrong.iter().try_for_each(|image| {
            let names = (text(&image.path), text(&image.category), text(&image.said));
            writer.serialize((names, image.confidence, image.probability))
        })
    })
}

pub fn table(report: &Report) -> String {
    let figures = &report.figures;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let line = |name: &str, count: String, quality: &Quality, score: Option<&Score>| {
        let [precision, recall, f1] = [quality.precision, quality.recall, quality.f1].map(percent);
        let [top5, loss] = match score {
            Some(score) => [percent(score.top5), format!("{:.4}", score.loss)],
            None => Default::default(),
        };
        format!("{name:<28} {count:>6} {precision:>9} {recall:>9} {f1:>9} {top5:>9} {loss:>8}")
    };
    let mut text = format!(
        "{:<28} {:>6} {:>9} {:>9} {:>9} {:>9} {:>8}  {}\n",
        "category", "images", "precision", "recall", "F1", "top-5", "loss", "taken for"
    );
    for class in &figures.categories {
        let most = class.taken_for.iter().take(3);
        let taken: Vec<String> = most
            .map(|t| format!("{} {}", t.count, plain(&t.category)))
            .collect();
        let count = class.score.count.to_string();
        let cells = line(
            &plain(&class.category),
            count,
            &class.quality,
            Some(&class.score),
        );
        text += &format!("{cells}  {}\n", taken.join(", "));
    }
    let averages = [
        ("mean of the classes", &figures.macro_average),
        ("mean of the images", &figures.weighted_average),
    ];
    for (name, quality) in averages {
        let cells = line(name, String::new(), quality, None);
        text += &format!("{}\n", cells.trim_end());
    }
    let Score {
        count,
        top1,
        top5,
        loss,
    } = figures.score;
    text += &format!(
        "all                          {count:>6} images: top-1 {}, top-5 {}, loss {loss:.4}\n",
        percent(top1),
        percent(top5)
    );
    text += &format!(
        "sure of {} on average, right in {}: expected calibration error {}\n",
        percent(figures.mean_confidence),
        percent(top1),
        percent(figures.calibration_error)
    );
    text += &matrix(&figures.confusion);
    if let Some(against) = &report.against {
        text += &against.table();
    }
    text + &report.base.line()
}

/// The confusion matrix of few classes; of more it has no room in a terminal.
fn matrix(matrix: &Matrix) -> String {
    let classes = matrix.categories.len();
    if !(2..=FEW).contains(&classes) {
        return String::new();
    }
    let mut text = format!("\n{:<28}", "true \\ said");
    (1..=classes).for_each(|number| text += &format!(" {number:>6}"));
    text += "\n";
    let named = matrix.categories.iter().zip(&matrix.counts);
    for (index, (name, counts)) in named.enumerate() {
        text += &format!("{:<28}", format!("{:>2} {}", index + 1, plain(name)));
        for count in counts {
            text += &match count {
                0 => format!(" {:>6}", "."),
                count => format!(" {count:>6}"),
            };
        }
        text += "\n";
    }
    text
}
