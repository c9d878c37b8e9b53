//! How well each class is told from the others, and what was taken for what.

use goldfish::data::{Category, Figures, Matrix};
use maud::{Markup, html};

use super::chart::calibration;

/// The most classes that the table lists.
const LISTED: usize = 200;
/// The most classes whose whole matrix is shown.
const FEW: usize = 24;
/// Mistakes that are listed of more classes.
const MISTAKES: usize = 24;

/// A share whose sign stays on its line.
pub fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", share * 100.0)
}

fn bar(share: f64) -> Markup {
    html! { td.bar style=(format!("--v:{share:.3}")) { span { (percent(share)) } } }
}

/// A row a class, the worst first, and how the means stand; `before` is of the base.
pub fn classes(after: &Figures, before: Option<&Figures>) -> Markup {
    let mut rows: Vec<&Category> = after.categories.iter().collect();
    rows.sort_by(|a, b| a.quality.f1.total_cmp(&b.quality.f1));
    let left_out = rows.len().saturating_sub(LISTED);
    rows.truncate(LISTED);
    let was = |index: usize| {
        let all = before.map(|figures| &figures.categories)?;
        let found = all.iter().find(|category| category.index == index)?;
        Some(found.quality.recall)
    };
    html! {
        section #classes {
            h2 { "Classes" }
            div.wide {
                table.figures {
                    thead {
                        tr {
                            th { "class" } th.number { "pictures" }
                            @if before.is_some() { th { "recall before" } }
                            th { "recall" } th { "precision" } th { "F1" } th { "taken for" }
                        }
                    }
                    tbody {
                        @for class in &rows {
                            tr {
                                th scope="row" { (class.category) }
                                td.number { (class.score.count) }
                                @if before.is_some() {
                                    @match was(class.index) { Some(recall) => (bar(recall)), None => td { "–" } }
                                }
                                (bar(class.quality.recall))
                                @if class.said == 0 { td title="nothing was taken for it" { "–" } }
                                @else { (bar(class.quality.precision)) }
                                (bar(class.quality.f1))
                                td.taken {
                                    @for taken in class.taken_for.iter().filter(|t| t.index != class.index).take(3) {
                                        span { (taken.count) " × " (taken.category) }
                                    }
                                }
                            }
                        }
                    }
                    tfoot {
                        @for (name, mean) in [("mean of the classes", after.macro_average), ("mean of the pictures", after.weighted_average)] {
                            tr {
                                th scope="row" { (name) } td {}
                                @if before.is_some() { td {} }
                                (bar(mean.recall)) (bar(mean.precision)) (bar(mean.f1)) td {}
                            }
                        }
                    }
                }
            }
            @if left_out > 0 { p.note { "The worst " (LISTED) " are listed; " (left_out) " more are left out." } }
        }
    }
}

/// What was taken for what, and whether the network is as often right as it is sure.
pub fn confusion(figures: &Figures) -> Markup {
    html! {
        section #confusion {
            h2 { "Taken for" }
            div.pair {
                @if figures.confusion.indices.len() <= FEW { (matrix(&figures.confusion)) }
                @else { (mistakes(figures)) }
                div {
                    (calibration(&figures.calibration_bins))
                    p.note {
                        "Sure of " (percent(figures.mean_confidence)) " on average and right in " (percent(figures.score.top1))
                        ": expected calibration error " (percent(figures.calibration_error))
                        " over " (figures.calibration_bins.len()) " bins."
                    }
                }
            }
        }
    }
}

fn matrix(matrix: &Matrix) -> Markup {
    let named = || matrix.categories.iter().zip(&matrix.counts).enumerate();
    html! {
        div.wide {
            table.matrix {
                thead {
                    tr { td {} @for name in &matrix.categories { th scope="col" { span { (name) } } } }
                }
                tbody {
                    @for (row, (name, counts)) in named() {
                        @let all = counts.iter().sum::<usize>().max(1);
                        tr {
                            th scope="row" { (name) }
                            @for (column, &count) in counts.iter().enumerate() {
                                @if count == 0 { td {} }
                                @else {
                                    td.(if row == column { "right" } else { "wrong" })
                                        style=(format!("--v:{:.3}", 0.15 + 0.85 * count as f64 / all as f64))
                                        title=(format!("{count} × {name} taken for {}", matrix.categories[column])) { (count) }
                                }
                            }
                        }
                    }
                }
            }
            p.note { "A row is what pictures are, a column what they were taken for." }
        }
    }
}

/// Of many classes, the mistakes that were made most often.
fn mistakes(figures: &Figures) -> Markup {
    let classes = figures.categories.iter();
    let mut mistakes: Vec<(usize, &str, &str)> = classes
        .flat_map(|class| {
            let others = class.taken_for.iter().filter(|t| t.index != class.index);
            others.map(|taken| (taken.count, &*class.category, &*taken.category))
        })
        .collect();
    mistakes.sort_by_key(|&(count, ..)| std::cmp::Reverse(count));
    let left_out = mistakes.len().saturating_sub(MISTAKES);
    html! {
        div {
            @if mistakes.is_empty() { p { "There was no mistake." } }
            @else {
                table.figures {
                    thead { tr { th.number { "pictures" } th { "of" } th { "taken for" } } }
                    tbody {
                        @for (count, is, said) in mistakes.iter().take(MISTAKES) {
                            tr { td.number { (count) } td { (is) } td { (said) } }
                        }
                    }
                }
            }
            @if left_out > 0 { p.note { "The most frequent; " (left_out) " more pairs of classes were mixed up." } }
        }
    }
}
