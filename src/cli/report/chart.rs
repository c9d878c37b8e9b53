//! Curves and bars as SVG inside the page: axes with round numbers, titles where a pointer rests, colours from the style.

use maud::{Markup, html};

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Points of a curve beyond which neighbours are drawn as their mean.
pub const MOST: usize = 240;

/// One line of a chart.
pub struct Curve {
    pub name: String,
    /// Its colour in the style: `a`, `b` or `c`; `faint` is one that others are drawn on.
    pub class: &'static str,
    /// Whether the name stands above the chart too.
    pub key: bool,
    pub points: Vec<(f64, f64)>,
}

pub struct Chart<'a> {
    pub title: &'a str,
    /// What goes to the right.
    pub x: &'a str,
    /// Shares from 0 to 1, shown as percentages.
    pub shares: bool,
    pub curves: Vec<Curve>,
    /// What lies above it is drawn at the upper edge.
    pub most: f64,
    /// A place on the x axis with its name.
    pub mark: Option<(f64, String)>,
}

/// How numbers become places.
struct Scale {
    x: [f64; 2],
    y: [f64; 2],
}

impl Scale {
    fn right(&self, x: f64) -> f64 {
        let share = (x - self.x[0]) / (self.x[1] - self.x[0]);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, y: f64) -> f64 {
        let share = (y - self.y[0]) / (self.y[1] - self.y[0]);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// About `count` round numbers from `from` to `to`, and what lies between two of them.
fn ticks([from, to]: [f64; 2], count: f64) -> (Vec<f64>, f64) {
    let rough = (to - from) / count;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|step| *step >= rough * 0.85)
        .unwrap_or(power);
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    // No more are drawn than anyone reads, whatever the numbers.
    let ticks = (first..=last).take(20).map(|tick| tick as f64 * step);
    (ticks.collect(), step)
}

fn tick(value: f64, step: f64, shares: bool) -> String {
    if shares {
        return format!("{:.0} %", value * 100.0);
    }
    if value == 0.0 {
        return "0".into();
    }
    if !(1e-3..1e6).contains(&step) {
        // As few digits as say it.
        let short = format!("{value:.0e}");
        let same = short
            .parse()
            .is_ok_and(|s: f64| (s - value).abs() < step * 1e-3);
        return if same { short } else { format!("{value:.1e}") };
    }
    // Of 2.5 one more than of 2.
    let digits = (0..4).find(|&digits| {
        let scaled = step * 10f64.powi(digits);
        (scaled - scaled.round()).abs() < 1e-6
    });
    format!("{value:.0$}", digits.unwrap_or(4) as usize)
}

/// A number as a title says it.
fn exact(value: f64, shares: bool) -> String {
    match (shares, value.abs()) {
        (true, _) => format!("{:.1} %", value * 100.0),
        (false, size) if size != 0.0 && !(1e-3..1e6).contains(&size) => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}

/// A range with some extent.
fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let mut range: Option<[f64; 2]> = None;
    for value in values.filter(|value| value.is_finite()) {
        let [low, high] = range.unwrap_or([value; 2]);
        range = Some([low.min(value), high.max(value)]);
    }
    range
}

/// Neighbours as their mean, so that no more than [`MOST`] are left.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let together = finite.len().div_ceil(MOST).max(1);
    let mean = |group: &[(f64, f64)]| {
        let count = group.len() as f64;
        let sum = group.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
        (sum.0 / count, sum.1 / count)
    };
    finite.chunks(together).map(mean).collect()
}

fn place(scale: &Scale, (x, y): (f64, f64)) -> String {
    format!("{:.1},{:.1}", scale.right(x), scale.up(y))
}

/// The frame that everything is drawn in.
fn axes(scale: &Scale, x: &str, shares: bool) -> Markup {
    // Steps and epochs are whole.
    let (across, between) = ticks(scale.x, (scale.x[1] - scale.x[0]).clamp(1.0, 6.0));
    let (up, step) = ticks(scale.y, 4.0);
    html! {
        @for value in up {
            @let y = format!("{:.1}", scale.up(value));
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
            text.tick x=(LEFT - 6.0) y=(y) dy="0.32em" text-anchor="end" { (tick(value, step, shares)) }
        }
        @for value in across {
            @let at = format!("{:.1}", scale.right(value));
            line.mark x1=(at) x2=(at) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM + 4.0) {}
            text.tick x=(at) y=(HEIGHT - BOTTOM + 15.0) text-anchor="middle" { (tick(value, between, false)) }
        }
        line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM) {}
        text.tick x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 4.0) text-anchor="middle" { (x) }
    }
}

/// Curves in one frame; nothing where no curve has a point.
pub fn chart(chart: &Chart) -> Markup {
    let thinned: Vec<(&Curve, Vec<(f64, f64)>)> = chart
        .curves
        .iter()
        .map(|c| (c, thinned(&c.points)))
        .map(|(c, points)| {
            (
                c,
                points
                    .into_iter()
                    .map(|(x, y)| (x, y.min(chart.most)))
                    .collect(),
            )
        })
        .collect();
    let all = || thinned.iter().flat_map(|(_, points)| points);
    let (Some(mut x), Some(mut y)) = (range(all().map(|p| p.0)), range(all().map(|p| p.1))) else {
        return html! {};
    };
    if x[1] - x[0] < 1e-12 {
        x = [x[0] - 0.5, x[1] + 0.5];
    }
    y = match chart.shares {
        true => [0.0, 1.0],
        // What is lost and how fast is learned is measured from nothing.
        false => [
            y[0].min(0.0),
            if y[1] > y[0].min(0.0) {
                y[1] * 1.04
            } else {
                1.0
            },
        ],
    };
    let scale = Scale { x, y };
    html! {
        figure.chart {
            figcaption {
                b { (chart.title) }
                @for (curve, _) in thinned.iter().filter(|(curve, _)| curve.key) {
                    span.key.(curve.class) { (curve.name) }
                }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(chart.title) {
                (axes(&scale, chart.x, chart.shares))
                @if let Some((at, name)) = &chart.mark {
                    @let at = format!("{:.1}", scale.right(*at));
                    line.best x1=(at) x2=(at) y1=(TOP) y2=(HEIGHT - BOTTOM) { title { (name) } }
                }
                @for (curve, points) in &thinned {
                    polyline.curve.(curve.class)
                        points=(points.iter().map(|p| place(&scale, *p)).collect::<Vec<_>>().join(" ")) {}
                }
                @for (curve, points) in &thinned {
                    @for point in points {
                        @let at = [scale.right(point.0), scale.up(point.1)].map(|v| format!("{v:.1}"));
                        circle.dot.(curve.class) cx=(at[0]) cy=(at[1]) r=(dot(curve, points.len())) {
                            title {
                                (curve.name) ", " (chart.x) " " (tick(point.0.round(), 1.0, false)) ": "
                                (exact(point.1, chart.shares))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How large the dots of a curve are.
fn dot(curve: &Curve, points: usize) -> f64 {
    match (curve.class, points) {
        ("faint", _) => 1.5,
        (_, 0..=40) => 3.0,
        _ => 2.0,
    }
}

/// How often right against how sure: a bar for each of the equally wide bins, of so many pictures, so often right, so sure.
pub fn calibration(bins: &[goldfish::data::Bin]) -> Markup {
    let scale = Scale {
        x: [0.0, 1.0],
        y: [0.0, 1.0],
    };
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
    html! {
        figure.chart {
            figcaption {
                b { "Right against sure" }
                span.key.a { "right" }
                span.key.line { "as sure as right" }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label="Right against sure" {
                @let (across, _) = ticks(scale.x, 5.0);
                @let (up, step) = ticks(scale.y, 4.0);
                @for value in up {
                    @let y = format!("{:.1}", scale.up(value));
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                    text.tick x=(LEFT - 6.0) y=(y) dy="0.32em" text-anchor="end" { (tick(value, step, true)) }
                }
                @for value in across {
                    text.tick x=(format!("{:.1}", scale.right(value))) y=(HEIGHT - BOTTOM + 15.0) text-anchor="middle" {
                        (tick(value, 0.2, true))
                    }
                }
                @for bin in bins.iter().filter(|bin| bin.count > 0) {
                    @let [left, right] = [bin.from, bin.to].map(|v| scale.right(v));
                    @let top = scale.up(bin.accuracy);
                    rect.bar x=(format!("{:.1}", left + 1.0)) width=(format!("{:.1}", right - left - 2.0))
                        y=(format!("{top:.1}")) height=(format!("{:.1}", (HEIGHT - BOTTOM - top).max(1.5)))
                        style=(format!("--v:{:.2}", 0.35 + 0.65 * bin.count as f64 / most as f64)) {
                        title {
                            (bin.count) (if bin.count == 1 { " picture" } else { " pictures" }) ", sure of "
                            (exact(bin.confidence, true)) " on average, right in " (exact(bin.accuracy, true))
                        }
                    }
                }
                line.ideal x1=(LEFT) x2=(WIDTH - RIGHT) y1=(HEIGHT - BOTTOM) y2=(TOP) {}
                line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM) {}
                text.tick x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 4.0) text-anchor="middle" { "how sure" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks([0.0, 1.0], 4.0).0, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(ticks([1.0, 20.0], 6.0).0, [5.0, 10.0, 15.0, 20.0]);
        let (small, step) = ticks([0.0, 0.001], 4.0);
        let words: Vec<String> = small.iter().map(|&t| tick(t, step, false)).collect();
        assert_eq!(words, ["0", "2.5e-4", "5e-4", "7.5e-4", "1e-3"]);
        assert!(ticks([0.0, 1e300], 4.0).0.len() <= 20);
    }

    #[test]
    fn many_points_are_drawn_as_means() {
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (i as f64, 2.0)).collect();
        let thin = thinned(&points);
        assert_eq!((thin.len(), thin[0]), (200, (2.0, 2.0)));
        assert!(thinned(&[(0.0, f64::NAN)]).is_empty());
    }
}
