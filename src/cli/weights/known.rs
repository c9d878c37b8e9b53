//! The trained files that are known: torchvision's, with what was published of their size and SHA-256, and timm's.

use super::check::Expected;

/// One of torchvision's files.
pub struct Known {
    /// The architecture, as [`goldfish::nn::Arch`] calls it.
    pub arch: &'static str,
    /// torchvision's name of the file, which ends in the first digits of its SHA-256.
    pub file: &'static str,
    /// Bytes and SHA-256, where they are known in full.
    pub full: Option<(u64, &'static str)>,
}

/// torchvision's eight, trained on ImageNet.
pub const KNOWN: [Known; 8] = [
    Known {
        arch: "vgg11",
        file: "vgg11-8a719046.pth",
        full: None,
    },
    Known {
        arch: "vgg11_bn",
        file: "vgg11_bn-6002323d.pth",
        full: None,
    },
    Known {
        arch: "vgg13",
        file: "vgg13-19584684.pth",
        full: None,
    },
    Known {
        arch: "vgg13_bn",
        file: "vgg13_bn-abd245e5.pth",
        full: None,
    },
    Known {
        arch: "vgg16",
        file: "vgg16-397923af.pth",
        full: Some((
            553_433_881,
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        )),
    },
    Known {
        arch: "vgg16_bn",
        file: "vgg16_bn-6c64b313.pth",
        full: Some((
            553_507_836,
            "6c64b3138f2f4fcb3bcc4cafde11619c4f440eb1631787e93a682fd88305888a",
        )),
    },
    Known {
        arch: "vgg19",
        file: "vgg19-dcbb9e9d.pth",
        full: Some((
            574_673_361,
            "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        )),
    },
    Known {
        arch: "vgg19_bn",
        file: "vgg19_bn-c79401a0.pth",
        full: Some((
            574_769_405,
            "c79401a0cf3cb42714e4182f5868c7a6f4f4534f5df9e956e2bb2098de41cbb6",
        )),
    },
];

impl Known {
    /// What a copy of the file must be.
    pub fn expected(&self) -> Expected {
        match self.full {
            Some((size, sha256)) => Expected {
                size: Some(size),
                sha256: Some(sha256.into()),
            },
            None => Expected::of_name(self.file),
        }
    }
}

/// The file of an architecture.
pub fn of_arch(arch: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.arch == arch)
}

/// What a file of this name must be: from the table, or the digits in the name.
pub fn expected(name: &str) -> Expected {
    match KNOWN.iter().find(|known| known.file == name) {
        Some(known) => known.expected(),
        None => Expected::of_name(name),
    }
}

/// timm's copy of an architecture on the Hugging Face hub.
pub fn timm(arch: &str) -> String {
    format!("timm/{arch}.tv_in1k")
}

/// What timm's file is called here; on the hub all are `model.safetensors`.
pub fn timm_file(arch: &str) -> String {
    format!("{arch}.tv_in1k.safetensors")
}

/// What a folder may call the weights of `arch`, the quickest to read first.
pub fn names(arch: &str) -> Vec<String> {
    let mut names = vec![format!("{arch}.safetensors")];
    let own = of_arch(arch).map(|known| known.file);
    names.extend(own.map(|file| file.replace(".pth", ".safetensors")));
    names.push(timm_file(arch));
    names.extend(own.map(str::to_string));
    names.push(format!("{arch}.pth"));
    names
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, names};

    #[test]
    fn what_is_known_in_full_begins_as_the_name_says() {
        for known in &KNOWN {
            let digits = known.file.trim_start_matches(known.arch);
            let digits = digits.trim_matches('-').trim_end_matches(".pth");
            assert_eq!(digits.len(), 8, "{}", known.file);
            if let Some((size, sha256)) = known.full {
                assert!(sha256.starts_with(digits) && sha256.len() == 64);
                assert!((500_000_000..600_000_000).contains(&size));
            }
            assert_eq!(known.expected().sha256.unwrap()[..8], *digits);
        }
    }

    #[test]
    fn what_is_mapped_comes_before_what_is_unpickled() {
        let all = [
            "vgg19.safetensors",
            "vgg19-dcbb9e9d.safetensors",
            "vgg19.tv_in1k.safetensors",
            "vgg19-dcbb9e9d.pth",
            "vgg19.pth",
        ];
        assert_eq!(names("vgg19"), all);
        assert_eq!(
            names("vgg19-tiny").first().map(String::as_str),
            Some("vgg19-tiny.safetensors")
        );
    }
}
