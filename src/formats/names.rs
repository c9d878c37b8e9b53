//! VGG19's weights in a file: under torchvision's names or timm's, as they are or as wrappers change them.

use std::collections::BTreeMap;

use super::entry::shown;
use super::weights::Tensors;
use crate::error::{Error, Result};
use crate::nn::weights::Mapped;
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

/// timm's name for a parameter of torchvision's vgg19.
fn timm_name(name: &str) -> String {
    name.replace("classifier.0", "pre_logits.fc1")
        .replace("classifier.3", "pre_logits.fc2")
        .replace("classifier.6", "head.fc")
}

impl Tensors {
    /// The parameters of `arch`, under torchvision's or timm's names, with or without what wrappers put into them.
    ///
    /// # Errors
    /// As [`Tensors::take`]; [`Error::Data`] that says so where the names have another prefix, or the weights are those
    /// of a network with another head or with batch norm.
    pub fn source(&self, arch: Arch) -> Result<Source<'_>> {
        let mut names = BTreeMap::new();
        for stored in self.names() {
            if let Some(other) = names.insert(unwrapped(stored), stored) {
                let problem = format!(
                    "holds one parameter as {} and as {}",
                    shown(other),
                    shown(stored)
                );
                return Err(Error::data(&self.path, problem));
            }
        }
        if let Some(problem) = self.another_network(arch, &names) {
            return Err(Error::data(&self.path, problem));
        }
        if let Some((name, stored)) = names.iter().find(|(name, stored)| name != *stored) {
            tracing::warn!(
                "{}: {} is read as {}, and so on",
                self.path.display(),
                shown(stored),
                shown(name)
            );
        }
        let timm = names.keys().any(|name| name.starts_with("pre_logits."));
        let stored = |name: &str| {
            let name = if timm {
                timm_name(name)
            } else {
                name.to_string()
            };
            names.get(&name).map_or(name, |stored| stored.to_string())
        };
        Ok(Source::File(Mapped {
            parameters: self.take(&arch.parameters(), stored)?,
            release: Box::new(|part| self.release(part)),
        }))
    }

    /// What network these are the weights of, where that is plain and it is another one; `names` are those of the file
    /// by what they are called without wrappers.
    fn another_network(&self, arch: Arch, names: &BTreeMap<String, &str>) -> Option<String> {
        let first = "features.0.weight";
        let prefixed = names.keys().find_map(|name| name.strip_suffix(first));
        if let Some(prefix) =
            prefixed.filter(|prefix| prefix.ends_with('.') && !names.contains_key(first))
        {
            return Some(format!(
                "names its parameters with the prefix {prefix:?}. Save them without it: {{k.removeprefix({prefix:?}): v \
                 for k, v in state_dict.items() if k.startswith({prefix:?})}}"
            ));
        }
        if names.contains_key("features.1.running_mean") {
            return Some("holds VGG with batch norm (vgg19_bn); this is for VGG19 without: take torchvision's vgg19".into());
        }
        let head = ["classifier.6.weight", "head.fc.weight"]
            .iter()
            .find_map(|name| names.get(*name))?;
        let layer = arch.layers().pop()?;
        match self.get(head)?.shape {
            [outputs, inputs] if *outputs != layer.weight[0] && *inputs == layer.weight[1] => {
                Some(format!(
                    "has a head of {outputs} outputs ({}), and this network has {} categories, ImageNet's. Put the weight \
                 and bias of the pretrained head in its place",
                    shown(head),
                    arch.classes
                ))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{timm_name, unwrapped};

    #[test]
    fn timms_names_are_translated() {
        assert_eq!(timm_name("features.0.weight"), "features.0.weight");
        assert_eq!(timm_name("classifier.0.weight"), "pre_logits.fc1.weight");
        assert_eq!(timm_name("classifier.6.bias"), "head.fc.bias");
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
