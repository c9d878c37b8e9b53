//! Each validation picture with what was said of it: the wrongest first, then the least sure.

use std::collections::BTreeMap;

use goldfish::train::judged::{Answer, Judged};
use maud::{Markup, html};
use rayon::prelude::*;

use super::classes::percent;
use super::look::Seen;
use super::picture::{map, thumbnail};
use super::told::{Told, shown};

/// The pictures to show, by their places: mistakes, the surest first, then what is right, the least sure first.
pub fn chosen(told: &Told, most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..told.judged.len()).collect();
    let rank = |&picture: &usize| {
        let verdict = &told.judged[picture].after.verdict;
        match verdict.is_right() {
            false => (0, -verdict.confidence),
            true => (1, verdict.confidence),
        }
    };
    order.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    order.truncate(most);
    order
}

/// What became of a picture, as a word and as the style's class.
fn change(picture: &Judged) -> (&'static str, &'static str) {
    let after = picture.after.verdict.is_right();
    match picture.before.as_ref().map(|b| b.verdict.is_right()) {
        Some(false) if after => ("put right", "gained"),
        Some(true) if !after => ("put wrong", "lost"),
        _ if after => ("right", "right"),
        _ => ("wrong", "wrong"),
    }
}

pub fn pictures(told: &Told, chosen: &[usize], seen: &[Seen]) -> Markup {
    let side = told
        .whole("image_size")
        .filter(|side| (32..=4096).contains(side));
    let exif = told.get("exif").and_then(toml::Value::as_bool) == Some(true);
    let thumbs: Vec<Option<String>> = chosen
        .par_iter()
        .map(|&picture| {
            let path = told.path(&told.judged[picture]);
            thumbnail(&path, side.unwrap_or(224), exif)
        })
        .collect();
    let seen: BTreeMap<usize, Option<String>> = seen
        .iter()
        .map(|one| (one.picture, map(&one.map)))
        .collect();
    let count = |class: &str| {
        let all = chosen.iter();
        all.filter(|&&picture| change(&told.judged[picture]).1 == class)
            .count()
    };
    let (gained, lost) = (count("gained"), count("lost"));
    let wrong = count("wrong") + lost;
    let compared = told.judged.iter().any(|one| one.before.is_some());
    html! {
        section #pictures {
            h2 { "Pictures" }
            p.note {
                @if chosen.len() < told.judged.len() { (chosen.len()) " of " }
                (told.judged.len()) " validation pictures, the wrongest first, then the least sure."
                @if seen.is_empty() {
                    " " code { "goldfish report " (shown(&told.folder.display().to_string())) }
                    " adds where the network looked."
                }
            }
            div.filters {
                (filter("all", "all", chosen.len(), true))
                (filter("wrong", "wrong", wrong, false))
                @if compared {
                    (filter("gained", "put right", gained, false))
                    (filter("lost", "put wrong", lost, false))
                }
                @if !seen.is_empty() {
                    label.switch { input #look type="checkbox" checked; "where it looked" }
                }
            }
            div.grid {
                @for (&picture, thumb) in chosen.iter().zip(&thumbs) {
                    (card(&told.judged[picture], thumb.as_deref(), seen.get(&picture).and_then(Option::as_deref)))
                }
            }
            @if !seen.is_empty() {
                p.note {
                    "Warm is what spoke for the answer, by the gradient of its logit with respect to the last convolution \
                     (Grad-CAM), in " (seen.len()) " pictures. It hides where a pointer rests."
                }
            }
        }
    }
}

fn filter(id: &str, name: &str, count: usize, checked: bool) -> Markup {
    html! {
        label { input type="radio" name="show" id=(format!("show-{id}")) checked[checked]; (name) " " b { (count) } }
    }
}

fn card(picture: &Judged, thumb: Option<&str>, seen: Option<&str>) -> Markup {
    let (word, class) = change(picture);
    let name = picture.path.rsplit(['/', '\\']).next().unwrap_or_default();
    let category = shown(&picture.category);
    html! {
        article.card.(class) {
            div.picture title=(shown(&picture.path)) {
                @match thumb {
                    Some(thumb) => img src=(thumb) alt=(category) loading="lazy" decoding="async";,
                    None => span.gone { "cannot be read any more" },
                }
                @if let Some(seen) = seen { img.seen src=(seen) alt=""; }
                span.badge { (word) }
            }
            p.is { (category) }
            p.file { (shown(name)) }
            @if let Some(before) = &picture.before { (answer("before", before, picture)) }
            (answer(if picture.before.is_some() { "after" } else { "said" }, &picture.after, picture))
        }
    }
}

fn answer(when: &str, answer: &Answer, picture: &Judged) -> Markup {
    let verdict = &answer.verdict;
    let said = answer.top.iter().find(|p| p.index == verdict.said);
    let said = said.map_or_else(|| format!("class {}", verdict.said), |p| shown(&p.category));
    let others: Vec<String> = answer
        .top
        .iter()
        .map(|p| {
            format!(
                "{} {}",
                percent(f64::from(p.probability)),
                shown(&p.category)
            )
        })
        .collect();
    let own = (-verdict.loss).exp();
    html! {
        div.answer.(if verdict.is_right() { "yes" } else { "no" }) title=(others.join("\n")) {
            span.when { (when) }
            span.said { (said) }
            span.sure { (percent(verdict.confidence)) }
            span.level style=(format!("--v:{:.3}", verdict.confidence)) {}
            @if !verdict.is_right() {
                span.own { (shown(&picture.category)) " " (percent(own)) }
            }
        }
    }
}
