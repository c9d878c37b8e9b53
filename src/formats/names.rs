//! A VGG's weights in a file: under torchvision's names or timm's, as they are or as wrappers change them.

use std::collections::BTreeMap;

use super::entry::{float, shown};
use super::recognise::{Shapes, another_network, recognise};
use super::weights::Tensors;
use crate::error::{Error, Result};
use crate::nn::weights::{Mapped, Stored};
use crate::nn::{Arch, Source};

/// What wrappers of PyTorch put into a parameter's name: DataParallel and DistributedDataParallel (`module`),
/// `torch.compile` (`_orig_mod`), a class of one's own or Lightning's (`model`).
const WRAPPERS: [&str; 3] = ["module", "model", "_orig_mod"];

/// A parameter's name without what wrappers put into it, in front (`module.features.0.weight`) or within
/// (`features.module.0.weight`).
fn unwrapped(name: &str) -> String {
    let parts = name.split('.').filter(|part| !WRAPPERS.contains(part));
    parts.collect::<Vec<_>>().join(".")
}

/// timm's names of the linear layers, and torchvision's.
const TIMM: [(&str, &str); 3] = [
    ("pre_logits.fc1.", "classifier.0."),
    ("pre_logits.fc2.", "classifier.3."),
    ("head.fc.", "classifier.6."),
];

/// torchvision's name for a parameter that timm calls `name`.
fn torchvisions(name: &str) -> String {
    let translated = TIMM
        .iter()
        .find_map(|(timm, ours)| Some(format!("{ours}{}", name.strip_prefix(timm)?)));
    translated.unwrap_or_else(|| name.to_string())
}

/// A file's names by torchvision's.
type Names<'a> = BTreeMap<String, &'a str>;

impl Tensors {
    /// Which of the VGGs these are the weights of, with how many hidden numbers and classes: by the names and the shapes,
    /// under torchvision's or timm's names, with or without what wrappers put into them, with or without a classifier.
    ///
    /// # Errors
    /// [`Error::Data`] that says what the file holds instead.
    pub fn arch(&self) -> Result<Arch> {
        let arch = recognise(&self.shapes(&self.by_name()?));
        arch.map_err(|problem| Error::data(&self.path, problem))
    }

    /// The parameters of `arch`, under torchvision's or timm's names, with or without what wrappers put into them.
    ///
    /// # Errors
    /// As [`Tensors::take`]; [`Error::Data`] that says so where the names have another prefix, or the weights are those
    /// of another network or of one with another head, or a batch norm has a variance below zero.
    pub fn source(&self, arch: Arch) -> Result<Source<'_>> {
        let names = self.by_name()?;
        if let Some(problem) = another_network(arch, &self.shapes(&names)) {
            return Err(Error::data(&self.path, problem));
        }
        if self.emptied(&names) {
            let problem = "has a classifier of NaN: these are torchvision's weights for features alone (vgg16_features), \
                           made for pixels of another scale. Take torchvision's vgg16 with a classifier";
            return Err(Error::data(&self.path, problem));
        }
        let renamed = names.values().find(|stored| unwrapped(stored) != **stored);
        if let Some(stored) = renamed {
            tracing::warn!(
                "{}: {} is read as {}, and so on",
                self.path.display(),
                shown(stored),
                shown(&unwrapped(stored))
            );
        }
        let timm = names
            .values()
            .any(|name| unwrapped(name).starts_with("pre_logits."));
        let stored = |name: &str| match names.get(name) {
            Some(stored) => stored.to_string(),
            None if timm => timms(name),
            None => name.to_string(),
        };
        let counters = arch.counters();
        let beside: Vec<String> = counters.iter().map(|name| stored(name)).collect();
        let parameters = self.take_beside(&arch.parameters(), stored, &beside)?;
        for norm in arch.convolutions().into_iter().filter_map(|l| l.norm) {
            let variances = parameters[&format!("{norm}.running_var")];
            let mut values = vec![0.0; variances.count()];
            variances.widen(&mut values);
            if values.iter().any(|&variance| variance < 0.0) {
                let problem = format!(
                    "{norm}.running_var has numbers below zero, which no variance is. Fetch or convert it again"
                );
                return Err(Error::data(&self.path, problem));
            }
        }
        let counters = counters
            .into_iter()
            .zip(beside)
            .filter_map(|(name, stored)| {
                let bytes = self.get(&stored)?.data.try_into().ok()?;
                Some((name, i64::from_le_bytes(bytes)))
            });
        Ok(Source::File(Mapped {
            parameters,
            counters: counters.collect(),
            release: Box::new(|part| self.release(part)),
        }))
    }

    /// The file's names by torchvision's.
    fn by_name(&self) -> Result<Names<'_>> {
        let stored: Vec<&str> = self.names().collect();
        let bare = |name: &&str| unwrapped(name).starts_with(|c: char| c.is_ascii_digit());
        // Of `features` alone.
        let features = !stored.is_empty() && stored.iter().all(bare);
        let mut names = BTreeMap::new();
        for stored in stored {
            let name = match features {
                true => format!("features.{}", unwrapped(stored)),
                false => torchvisions(&unwrapped(stored)),
            };
            if let Some(other) = names.insert(name, stored) {
                let problem = format!(
                    "holds one parameter as {} and as {}",
                    shown(other),
                    shown(stored)
                );
                return Err(Error::data(&self.path, problem));
            }
        }
        Ok(names)
    }

    /// Whether the classifier's numbers are none at all.
    fn emptied(&self, names: &Names) -> bool {
        let bias = names.get("classifier.6.bias");
        let Some(view) = bias.and_then(|stored| self.get(stored)) else {
            return false;
        };
        let Some(float) = float(view.dtype) else {
            return false;
        };
        let bytes = view.data;
        let mut values = vec![0.0; bytes.len() / float.size()];
        Stored { float, bytes }.widen(&mut values);
        !values.is_empty() && values.iter().all(|value| value.is_nan())
    }

    /// The shapes of the tensors by torchvision's names.
    fn shapes(&self, names: &Names) -> Shapes {
        let shapes = names.iter();
        let shapes =
            shapes.map(|(name, stored)| Some((name.clone(), self.shape(stored)?.to_vec())));
        shapes.flatten().collect()
    }
}

/// timm's name for a parameter that torchvision calls `name`.
fn timms(name: &str) -> String {
    let translated = TIMM
        .iter()
        .find_map(|(timm, ours)| Some(format!("{timm}{}", name.strip_prefix(ours)?)));
    translated.unwrap_or_else(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::{timms, torchvisions, unwrapped};

    #[test]
    fn timms_names_are_translated_and_back() {
        for (ours, timm) in [
            ("features.0.weight", "features.0.weight"),
            ("classifier.0.weight", "pre_logits.fc1.weight"),
            ("classifier.3.bias", "pre_logits.fc2.bias"),
            ("classifier.6.bias", "head.fc.bias"),
        ] {
            assert_eq!(timms(ours), timm);
            assert_eq!(torchvisions(timm), ours);
            assert_eq!(torchvisions(ours), ours);
        }
    }

    #[test]
    fn wrappers_are_taken_out_of_names_wherever_they_stand() {
        for wrapped in [
            "features.0.weight",
            "module.features.0.weight",
            "_orig_mod.module.features.0.weight",
            "model.features.0.weight",
            "features.module.0.weight",
        ] {
            assert_eq!(unwrapped(wrapped), "features.0.weight");
        }
        assert_eq!(
            unwrapped("models.features.0.weight"),
            "models.features.0.weight"
        );
    }
}
