//! What every page has: a head that lets a browser load nothing, the style, and how times are said.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
/// What a browser may load for the page: nothing but what is in it.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// A page with this title.
pub fn frame(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="color-scheme" content="light dark";
                title { (title) " – goldfish" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                footer { "Made by goldfish " (env!("CARGO_PKG_VERSION")) ". This page needs no network." }
            }
        }
    }
}

/// Seconds as a person says them.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{:.1} s", seconds.max(0.0)),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        for (seconds, says) in [
            (0.04, "0.0 s"),
            (59.4, "59.4 s"),
            (60.0, "1 min 0 s"),
            (100.0, "1 min 40 s"),
            (7265.0, "2 h 1 min"),
        ] {
            assert_eq!(duration(seconds), says);
        }
    }
}
