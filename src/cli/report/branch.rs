//! The branch from the pixels as the pictures that it is: each column of A, and what it comes to for a class.

use goldfish::formats::{Tensors, adapter};
use goldfish::train::BEST;
use maud::{Markup, html};

use super::picture::jpeg;
use super::told::Told;

/// The most columns that are shown.
const COLUMNS: usize = 16;
/// The most classes.
const CLASSES: usize = 8;
/// The largest side of an image that is shown.
const LARGEST: usize = 1024;

/// The factors, on the host.
struct Branch {
    side: usize,
    /// [rank, 3 side side]
    a: Vec<f32>,
    /// [classes, rank]
    b: Vec<f32>,
}

/// Numbers of a tensor whose shape is [some, length] or, of B, [length, some].
fn numbers(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.chunks_exact(4);
    words
        .map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]]))
        .collect()
}

impl Branch {
    /// That of the adapter in the run's folder; `None` where there is none that can be shown.
    fn read(told: &Told) -> Option<Self> {
        let best = told.folder.join(BEST).join(adapter::MODEL);
        let path = match best.exists() {
            true => best,
            false => told.folder.join(adapter::MODEL),
        };
        let file = Tensors::open(&path).ok()?;
        let [mut a, mut b] = [None, None];
        file.each(|name, dtype, shape, bytes| {
            let whole = shape.len() == 2 && bytes.len() == 4 * shape[0] * shape[1];
            let factor = match name {
                "base_model.model.pixels.lora_A.weight" => &mut a,
                "base_model.model.pixels.lora_B.weight" => &mut b,
                _ => return,
            };
            if whole && format!("{dtype:?}") == "F32" {
                *factor = Some((numbers(bytes), [shape[0], shape[1]]));
            }
        });
        let ((a, [rank, length]), (b, [_, columns])) = (a?, b?);
        let side = (length / 3).isqrt();
        let sound = rank > 0 && columns == rank && (1..=LARGEST).contains(&side);
        (sound && 3 * side * side == length).then_some(Branch { side, a, b })
    }

    fn rank(&self) -> usize {
        self.a.len() / (3 * self.side * self.side)
    }

    fn column(&self, index: usize) -> &[f32] {
        let length = 3 * self.side * self.side;
        &self.a[index * length..(index + 1) * length]
    }

    /// What the branch adds to the logit of class `index` for each pixel: its row of B times A.
    fn class(&self, index: usize) -> Option<Vec<f32>> {
        let row = self.b.chunks(self.rank()).nth(index)?;
        let mut sum = vec![0.0; self.column(0).len()];
        for (column, &factor) in row.iter().enumerate() {
            for (sum, value) in sum.iter_mut().zip(self.column(column)) {
                *sum += factor * value;
            }
        }
        Some(sum)
    }

    /// Planes as a picture: grey is nothing, three deviations are black and white.
    fn picture(&self, planes: &[f32]) -> Option<String> {
        let squares: f64 = planes.iter().map(|&v| f64::from(v).powi(2)).sum();
        let deviation = (squares / planes.len() as f64).sqrt();
        let factor = match deviation > 0.0 && deviation.is_finite() {
            true => 127.0 / (3.0 * deviation),
            false => 0.0,
        };
        let plane = self.side * self.side;
        let sample = |index: usize| {
            let value = f64::from(planes[index % 3 * plane + index / 3]);
            (128.0 + value * factor).clamp(0.0, 255.0) as u8
        };
        let rgb: Vec<u8> = (0..3 * plane).map(sample).collect();
        jpeg(&rgb, self.side)
    }
}

/// Nothing where the adapter has no such branch.
pub fn branch(told: &Told) -> Markup {
    let Some(branch) = Branch::read(told) else {
        return html! {};
    };
    let shown = branch.rank().min(COLUMNS);
    let mut labels: Vec<usize> = told.judged.iter().map(|one| one.label).collect();
    labels.sort_unstable();
    labels.dedup();
    labels.truncate(CLASSES);
    let picture = |planes: &[f32], name: &str| {
        html! {
            figure {
                @if let Some(uri) = branch.picture(planes) { img src=(uri) alt=(name); }
                figcaption { (name) }
            }
        }
    };
    html! {
        section #branch {
            h2 { "The branch from the pixels" }
            p.note {
                "The columns of A, each a picture of " (branch.side) " by " (branch.side)
                " that the image is multiplied with. They start as noise and change little."
                @if shown < branch.rank() { " " (shown) " of " (branch.rank()) " are shown." }
            }
            div.factors { @for column in 0..shown { (picture(branch.column(column), &format!("{}", column + 1))) } }
            @if !labels.is_empty() {
                p.note { "B A, row by row: what each pixel adds to the logit of a class." }
                div.factors {
                    @for &label in &labels {
                        @if let Some(planes) = branch.class(label) { (picture(&planes, &told.name(label))) }
                    }
                }
            }
        }
    }
}
