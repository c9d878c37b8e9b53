//! Which base an adapter stands on: a name and a SHA-256 over the numbers, whatever file they come from.
//!
//! The numbers of a parameter, as little-endian f32, are taken in runs of 2^20; a run's SHA-256 stands for it, and the
//! SHA-256 of those one after another for all of them. A parameter is its name in torchvision's network, its shape as in
//! `64x3x3x3`, each ended by a newline, and that. The SHA-256 of the parameters below the last layer, in the order of their
//! names, is the trunk's; that and the SHA-256 of the last layer's parameters together make the network's. Batch norms count with
//! what they are made of, and without the number of batches that they have seen.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::nn::arch::Arch;
use crate::nn::digest::{Digest, hex, numbers};
use crate::nn::weights::Source;

/// Which base that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The architecture, and of random numbers their seed: `vgg19` or `vgg19 random:0`.
    pub name: String,
    /// SHA-256 over all numbers; none of random ones, which their seed tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The same without the last layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// How many classes it tells apart; 0 where it has no last layer.
    pub classes: usize,
    /// Whether the numbers are said to be more than random.
    pub trained: bool,
}

impl Identity {
    /// Whether what was trained on this base means the same on `other`: with a last layer of its own that needs the trunk
    /// alone.
    pub fn fits(&self, other: &Identity, own_last_layer: bool) -> bool {
        let same = match own_last_layer {
            true => self.trunk == other.trunk,
            false => self.sha256 == other.sha256 && self.classes == other.classes,
        };
        same && self.name == other.name
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name.escape_debug())?;
        match &self.sha256 {
            Some(digits) => write!(f, " (SHA-256 {})", digits.get(..12).unwrap_or(digits)),
            None => Ok(()),
        }
    }
}

impl Source<'_> {
    /// Whose numbers these are, of a network of `arch`.
    ///
    /// # Errors
    /// [`Error::Usage`] where they are those of another network.
    pub fn identity(&self, arch: Arch) -> Result<Identity> {
        let name = match self {
            Source::Random(seed) => format!("{} random:{seed}", arch.name),
            Source::File(_) | Source::Numbers(_) => arch.name.to_string(),
        };
        let digests = match self {
            Source::Random(_) => None,
            Source::File(file) => Some(network(arch, |name, _| file.digests.get(name).copied())?),
            Source::Numbers(fill) => Some(network(arch, |name, shape| {
                let count = shape.iter().product();
                let fill = |first: usize, out: &mut [f32]| fill(name, shape, first, out);
                Some(numbers(count, fill).0)
            })?),
        };
        let [trunk, sha256] = match digests {
            Some(digests) => digests.map(|digest| Some(hex(&digest))),
            None => [None, None],
        };
        Ok(Identity {
            name,
            sha256,
            trunk,
            classes: arch.classes,
            trained: self.trained(),
        })
    }
}

/// The digests of the trunk and of the whole network, from those of each parameter's numbers.
fn network(
    arch: Arch,
    of_numbers: impl Fn(&str, &[usize]) -> Option<Digest>,
) -> Result<[Digest; 2]> {
    let parameters: BTreeMap<_, _> = arch.parameters().into_iter().collect();
    let (last, _) = arch.head();
    let above = [format!("{last}.bias"), format!("{last}.weight")];
    let mut trunk = Sha256::new();
    let mut whole = Sha256::new();
    for (name, shape) in &parameters {
        let sizes: Vec<String> = shape.dims().iter().map(usize::to_string).collect();
        let head = format!("{name}\n{}\n", sizes.join("x"));
        let digest = of_numbers(name, shape.dims()).ok_or_else(|| {
            Error::Usage(format!("{name} of {} is not in these weights", arch.name))
        })?;
        let of = match above.contains(name) {
            true => &mut whole,
            false => &mut trunk,
        };
        of.update(head);
        of.update(digest);
    }
    let trunk: Digest = trunk.finalize().into();
    // The trunk's comes first, whatever was heard of the last layer before.
    let whole = Sha256::new()
        .chain_update(trunk)
        .chain_update(whole.finalize())
        .finalize();
    Ok([trunk, whole.into()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::arch::VGG19_TINY;
    use crate::random::Stream;

    fn source(seed: u64) -> Source<'static> {
        Source::Numbers(Box::new(move |name, _, first, out| {
            Stream::new(seed, name).fill_normal(first, 0.1, out)
        }))
    }

    #[test]
    fn the_last_layer_counts_for_the_network_and_not_for_the_trunk() {
        let base = source(1).identity(VGG19_TINY).expect("an identity");
        let other_head = Source::Numbers(Box::new(|name, _, first, out| {
            let seed = if name.starts_with("classifier.6") {
                2
            } else {
                1
            };
            Stream::new(seed, name).fill_normal(first, 0.1, out)
        }));
        let fewer = Arch {
            classes: 7,
            ..VGG19_TINY
        };
        for (other, trunk, whole) in [
            (
                source(1).identity(VGG19_TINY).expect("an identity"),
                true,
                true,
            ),
            (
                source(2).identity(VGG19_TINY).expect("an identity"),
                false,
                false,
            ),
            (
                other_head.identity(VGG19_TINY).expect("an identity"),
                true,
                false,
            ),
            (source(1).identity(fewer).expect("an identity"), true, false),
            (
                Source::Random(1).identity(VGG19_TINY).expect("an identity"),
                false,
                false,
            ),
        ] {
            assert_eq!(base.fits(&other, true), trunk, "{other}");
            assert_eq!(base.fits(&other, false), whole, "{other}");
        }
        let seed = |seed| {
            Source::Random(seed)
                .identity(VGG19_TINY)
                .expect("an identity")
        };
        assert!(seed(1).fits(&seed(1), false) && !seed(1).fits(&seed(2), true));
        assert!(!seed(1).trained && base.trained);
        assert_eq!(seed(3).to_string(), "vgg19-tiny random:3");
    }
}
