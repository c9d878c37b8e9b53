//! What the logits mean: ImageNet's categories, classes of one's own, or the one behind the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::categories;
use crate::error::{Error, Result};

/// The most classes that are read of a list.
const MOST: usize = 1 << 20;
/// The longest name, in bytes.
const LONGEST: usize = 1 << 10;

/// The names of a network's outputs, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    names: Arc<[String]>,
    /// How many of them, from the first, are the base's: ImageNet's.
    imagenet: usize,
}

impl Default for Classes {
    /// ImageNet's.
    fn default() -> Self {
        Self::imagenet()
    }
}

impl Classes {
    /// ImageNet's 1,000.
    pub fn imagenet() -> Self {
        let names: Vec<String> = categories::all().iter().map(|c| c.name.into()).collect();
        Classes {
            imagenet: names.len(),
            names: names.into(),
        }
    }

    /// Names of one's own.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is none, one is empty, stands there twice, or cannot stand in a line of text.
    pub fn own(names: Vec<String>) -> Result<Self> {
        if names.is_empty() || names.len() > MOST {
            return Err(Error::Usage(format!(
                "a list of classes has between 1 and {MOST} names, and this one {}",
                names.len()
            )));
        }
        let mut seen = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            let bad = name.trim().is_empty() || name.len() > LONGEST;
            if bad || name.chars().any(char::is_control) {
                return Err(Error::Usage(format!(
                    "the class name {:?} is empty, longer than {LONGEST} bytes or holds control characters",
                    name.chars().take(80).collect::<String>()
                )));
            }
            if let Some(first) = seen.insert(name, index) {
                return Err(Error::Usage(format!(
                    "{name:?} names two classes, {first} and {index}"
                )));
            }
        }
        Ok(Classes {
            names: names.into(),
            imagenet: 0,
        })
    }

    /// `0`, `1`, ...: of outputs that nothing names.
    pub fn numbered(count: usize) -> Self {
        Classes {
            names: (0..count).map(|index| index.to_string()).collect(),
            imagenet: 0,
        }
    }

    /// These behind those of ImageNet.
    ///
    /// # Errors
    /// [`Error::Usage`] where a name is one of ImageNet's.
    pub fn behind_imagenet(&self) -> Result<Self> {
        let imagenet = Self::imagenet();
        if let Some(name) = self.names.iter().find(|n| imagenet.names.contains(n)) {
            return Err(Error::Usage(format!(
                "{name:?} is one of ImageNet's categories already: give the class another name, or leave those out"
            )));
        }
        let names = [&imagenet.names[..], &self.names].concat();
        Ok(Classes {
            imagenet: imagenet.imagenet,
            names: names.into(),
        })
    }

    /// Names as a file lists them: ImageNet's by their names, others as one's own.
    ///
    /// # Errors
    /// As [`Classes::own`] and [`Classes::behind_imagenet`].
    pub fn listed(names: Vec<String>) -> Result<Self> {
        let imagenet = Self::imagenet();
        match names.strip_prefix(&*imagenet.names) {
            Some([]) => Ok(imagenet),
            Some(own) => Self::own(own.to_vec())?.behind_imagenet(),
            None => Self::own(names),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many of them, from the first, are ImageNet's.
    pub fn from_imagenet(&self) -> usize {
        self.imagenet
    }

    /// Whether they are ImageNet's and no others.
    pub fn is_imagenet(&self) -> bool {
        !self.is_empty() && self.imagenet == self.names.len()
    }

    /// All names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of an output, or its number where it has none.
    pub fn name(&self, index: usize) -> String {
        let name = self.names.get(index).cloned();
        name.unwrap_or_else(|| index.to_string())
    }

    /// The class that `text` means: a name to the letter, else one that differs in case, `_`, `-` and spaces alone;
    /// of ImageNet's, a WordNet id or an index too, alone or before the name (`n01443537_goldfish`).
    ///
    /// # Errors
    /// The names among which it does not say which.
    pub fn find(&self, text: &str) -> Result<Option<usize>, Vec<String>> {
        if let Some(index) = self.names.iter().position(|name| name == text) {
            return Ok(Some(index));
        }
        let wanted = kind(text);
        let alike = self.names.iter().enumerate();
        let alike: Vec<(usize, &String)> = alike.filter(|(_, name)| kind(name) == wanted).collect();
        match &alike[..] {
            [] if self.imagenet > 0 => Ok(categories::by_number(text)),
            [] => Ok(None),
            [(index, _)] => Ok(Some(*index)),
            several => Err(several.iter().map(|(_, name)| name.to_string()).collect()),
        }
    }
}

/// A name as it is compared where it is not the same to the letter.
pub(super) fn kind(name: &str) -> String {
    let words = name.split(|c: char| c == '_' || c == '-' || c.is_whitespace());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::Classes;

    fn own(names: &[&str]) -> Classes {
        Classes::own(names.iter().map(|n| n.to_string()).collect()).expect("sound names")
    }

    #[test]
    fn a_category_is_found_by_name_wordnet_id_or_index() {
        let imagenet = Classes::imagenet();
        assert_eq!(imagenet.len(), 1000);
        for (text, index) in [
            ("goldfish", 1),
            ("n01443537", 1),
            ("n01443537_goldfish", 1),
            ("N01443537-Goldfish", 1),
            ("1", 1),
            ("001", 1),
            ("Goldfish", 1),
            ("GREAT_WHITE-SHARK", 2),
            ("great  white shark", 2),
            ("Cardigan", 264),
            ("cardigan", 474),
        ] {
            assert_eq!(imagenet.find(text), Ok(Some(index)), "{text}");
        }
        for text in [
            "gold fish",
            "1000",
            "-1",
            "+1",
            "",
            "n01443537_tench",
            "n0144353",
        ] {
            assert_eq!(imagenet.find(text), Ok(None), "{text}");
        }
        let several = imagenet.find("CARDIGAN").expect_err("two are called so");
        assert_eq!(several, ["Cardigan", "cardigan"]);
    }

    #[test]
    fn own_names_are_found_kindly_and_numbers_are_names() {
        let classes = own(&["float rod", "1", "landing net"]);
        for (text, index) in [("Float_Rod", Some(0)), ("1", Some(1)), ("0", None)] {
            assert_eq!(classes.find(text), Ok(index), "{text}");
        }
        let behind = classes.behind_imagenet().expect("no name of theirs");
        assert_eq!((behind.len(), behind.from_imagenet()), (1003, 1000));
        assert_eq!(behind.find("Landing-Net").expect("one"), Some(1002));
        assert!(own(&["goldfish", "x"]).behind_imagenet().is_err());
    }

    #[test]
    fn a_list_that_names_nothing_or_something_twice_is_refused() {
        for names in [&[][..], &[""], &[" "], &["a", "a"], &["a\nb"]] {
            let names = names.iter().map(|n| n.to_string()).collect();
            assert!(Classes::own(names).is_err());
        }
        // Behind ImageNet's too.
        let listed = |more: &[&str]| {
            let more = more.iter().map(|name| name.to_string());
            Classes::listed(
                Classes::imagenet()
                    .names()
                    .iter()
                    .cloned()
                    .chain(more)
                    .collect(),
            )
        };
        assert!(listed(&[]).expect("ImageNet's").is_imagenet());
        assert_eq!(listed(&["a", "b"]).expect("two more").from_imagenet(), 1000);
        for more in [&["a\u{1b}[2J"][..], &[""], &["a", "a"], &["goldfish"]] {
            assert!(listed(more).is_err(), "{more:?}");
        }
    }
}
