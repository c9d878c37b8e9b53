//! Which images a run is made of, for a run that is taken up again: they must be the same.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use sha2::{Digest as _, Sha256};

use super::plan::Split;
use crate::data::Classes;

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its file, as a name within its data.
    pub name: String,
    /// SHA-256 of its content, in hexadecimal digits.
    pub content: String,
    /// Its class.
    pub class: String,
    /// Whether it is trained on; the others show how good the adapter is.
    pub trained: bool,
}

/// All images of a run, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(pub Vec<Listed>);

impl Listing {
    /// Of images with these names, contents and labels.
    pub fn new(
        images: impl IntoIterator<Item = (String, String)>,
        labels: &[u32],
        classes: &Classes,
        split: &Split,
    ) -> Self {
        let mut trained = vec![false; labels.len()];
        split.train.iter().for_each(|&at| trained[at] = true);
        let images = images.into_iter().zip(labels).zip(trained);
        let listed = images.map(|(((name, content), &label), trained)| Listed {
            name,
            content,
            class: classes.name(label as usize),
            trained,
        });
        Listing(listed.collect())
    }

    /// The images alone, whatever part each is in: what runs without different parts have in common.
    pub fn whole(&self) -> Self {
        let images = self.0.iter().cloned();
        let whole = images.map(|image| Listed {
            trained: true,
            ..image
        });
        Listing(whole.collect())
    }

    /// SHA-256 of all that it says, by which two are told apart.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for image in &self.0 {
            digest.update(format!("{image:?}"));
        }
        digest.finalize().into()
    }

    /// What `self`, which is there now, has otherwise than `before`; `None` where they are the same.
    pub fn changes(&self, before: &Listing) -> Option<String> {
        if self == before {
            return None;
        }
        let by_name = |listing: &Listing| -> BTreeMap<String, Listed> {
            let all = listing.0.iter();
            all.map(|image| (image.name.clone(), image.clone()))
                .collect()
        };
        let (now, then) = (by_name(self), by_name(before));
        let both = || {
            let both = now
                .iter()
                .filter_map(|(name, image)| Some((image, then.get(name)?)));
            both.filter(|(image, before)| image != before)
        };
        let one = |name: &String| name.clone();
        let kinds = [
            (
                "new",
                now.keys()
                    .filter(|name| !then.contains_key(*name))
                    .map(one)
                    .collect(),
            ),
            (
                "gone",
                then.keys()
                    .filter(|name| !now.contains_key(*name))
                    .map(one)
                    .collect(),
            ),
            (
                "of other content",
                both()
                    .filter(|(image, before)| image.content != before.content)
                    .map(|(image, _)| one(&image.name))
                    .collect(),
            ),
            (
                "of another class or part",
                both()
                    .filter(|(image, before)| image.content == before.content)
                    .map(|(image, _)| one(&image.name))
                    .collect::<Vec<String>>(),
            ),
        ];
        let mut text = String::new();
        for (what, names) in kinds.iter().filter(|(_, names)| !names.is_empty()) {
            let end = if text.is_empty() { "" } else { "; " };
            let _ = write!(text, "{end}{} {what} ({}", names.len(), names[0]);
            text += if names.len() > 1 { ", ...)" } else { ")" };
        }
        Some(match text.is_empty() {
            true => "their order".into(),
            false => text,
        })
    }

    /// What [`Listing`]'s `Display` wrote; `None` where that is not it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(|line| {
            let mut parts = line.split('\t');
            let mut part = || parts.next();
            let (content, trained) = (part()?.to_string(), part()? == "train");
            let (class, name) = (part()?, part()?);
            let [class, name] = [class, name].map(unescaped);
            Some(Listed {
                name: name?,
                content,
                class: class?,
                trained,
            })
        });
        lines.collect::<Option<_>>().map(Listing)
    }
}

impl fmt::Display for Listing {
    /// One image a line: content, part, class and name with tabs between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for image in &self.0 {
            let part = if image.trained { "train" } else { "validation" };
            let [class, name] = [&image.class, &image.name].map(|text| escaped(text));
            writeln!(f, "{}\t{part}\t{class}\t{name}", image.content)?;
        }
        Ok(())
    }
}

/// `text` on one line and without tabs.
fn escaped(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn unescaped(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(images: &[(&str, &str, &str, bool)]) -> Listing {
        let images = images
            .iter()
            .map(|&(name, content, class, trained)| Listed {
                name: name.into(),
                content: content.into(),
                class: class.into(),
                trained,
            });
        Listing(images.collect())
    }

    #[test]
    fn what_is_written_is_read_again_whatever_the_names() {
        let all = listing(&[
            ("a/1.png", "00ff", "a", true),
            ("b\t/\n\"2\".png", "01", "b\tc", false),
            ("\u{fffd}/3.png", "02", "", true),
        ]);
        assert_eq!(Listing::parse(&all.to_string()), Some(all));
        assert_eq!(Listing::parse("00\ttrain\t\"a\""), None);
        assert_eq!(Listing::parse(""), Some(Listing::default()));
    }

    #[test]
    fn changes_are_named() {
        let before = listing(&[
            ("a", "0", "x", true),
            ("b", "1", "x", true),
            ("c", "2", "y", false),
        ]);
        assert_eq!(before.changes(&before), None);
        let now = listing(&[
            ("a", "9", "x", true),
            ("d", "1", "x", true),
            ("c", "2", "y", true),
        ]);
        let said = now.changes(&before).expect("changes");
        assert_eq!(
            said,
            "1 new (d); 1 gone (b); 1 of other content (a); 1 of another class or part (c)"
        );
        let turned = Listing(before.0.iter().rev().cloned().collect());
        assert_eq!(turned.changes(&before).as_deref(), Some("their order"));
    }
}
