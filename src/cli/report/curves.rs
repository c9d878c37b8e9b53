//! The curves of a run: what was lost, how often it was right, how fast it learned.

use goldfish::train::history::History;
use maud::{Markup, html};

use super::chart::{Chart, Curve, chart};

/// A chart each; `best` is the epoch whose adapter was kept.
pub fn curves(history: &History, best: Option<usize>) -> Markup {
    let steps = |value: fn(f32, f64) -> f64| {
        let points = history.steps.iter();
        points
            .map(|s| (s.step as f64, value(s.loss, s.lr)))
            .collect()
    };
    let curve = |name: &str, class, points| Curve {
        name: name.into(),
        class,
        key: true,
        points,
    };
    let mut loss = vec![curve(
        "each step",
        "faint",
        steps(|loss, _| f64::from(loss)),
    )];
    let epochs = history.epochs.iter();
    let training = epochs.map(|epoch| (epoch.step as f64, epoch.train_loss));
    loss.push(curve("training", "a", training.collect()));
    let validated = || {
        let epochs = history.epochs.iter();
        epochs.filter_map(|epoch| Some((epoch, epoch.validation?)))
    };
    let lost = validated().map(|(epoch, score)| (epoch.step as f64, score.loss));
    loss.push(curve("validation", "b", lost.collect()));
    let share = |name, class, value: fn(&goldfish::data::Score) -> f64| {
        let points = validated().map(|(epoch, score)| (epoch.epoch as f64, value(&score)));
        curve(name, class, points.collect())
    };
    let mut right = vec![share("the first answer (top-1)", "b", |score| score.top1)];
    // Among five of five classes everything is.
    if validated().any(|(_, score)| score.top5 < 1.0) {
        right.push(share("one of the first five (top-5)", "c", |score| {
            score.top5
        }));
    }
    let named = |at: fn(&goldfish::train::EpochRecord) -> f64| {
        let best = history
            .epochs
            .iter()
            .find(|epoch| Some(epoch.epoch) == best)?;
        Some((at(best), format!("the best: epoch {}", best.epoch)))
    };
    let drawn = |curves: Vec<Curve>| {
        curves
            .into_iter()
            .filter(|c| !c.points.is_empty())
            .collect()
    };
    let charts = [
        Chart {
            title: "Loss",
            x: "step",
            shares: false,
            most: f64::INFINITY,
            curves: drawn(loss),
            mark: named(|epoch| epoch.step as f64),
        },
        Chart {
            title: "Right, of the validation pictures",
            x: "epoch",
            shares: true,
            most: 1.0,
            curves: drawn(right),
            mark: named(|epoch| epoch.epoch as f64),
        },
        Chart {
            title: "Learning rate",
            x: "step",
            shares: false,
            most: f64::INFINITY,
            curves: vec![curve("", "plain", steps(|_, lr| lr))],
            mark: None,
        },
    ];
    html! {
        section #curves {
            h2 { "Curves" }
            div.charts { @for one in &charts { (chart(one)) } }
            @if best.is_some() {
                p.note { "The dashed line is the best epoch, whose adapter is in " code { "best/" } "." }
            }
        }
    }
}
