//! `--from`: which file that is on which server, what is known of it, and what it is called here.

use std::str::FromStr;

use goldfish::nn::Arch;
use goldfish::{Error, Result};

use super::check::Expected;
use super::{address, known};

/// torchvision's files, where nothing else is said.
const TORCHVISION: &str = "https://download.pytorch.org/models";
/// Another place that has them under their names.
pub const TORCHVISION_URL: &str = "GOLDFISH_TORCHVISION_URL";
const HUB: &str = "https://huggingface.co";

/// `--from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Torchvision,
    Timm,
    Url(String),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "torchvision" => Ok(Source::Torchvision),
            "timm" => Ok(Source::Timm),
            _ if text.contains("://") => Ok(Source::Url(text.into())),
            _ => Err("use torchvision, timm, or an address that begins with https://".into()),
        }
    }
}

/// One file that is to be had.
pub struct Wanted {
    pub url: String,
    /// What it is called here.
    pub file: String,
    pub expected: Expected,
    /// For the server of the address.
    pub token: Option<String>,
    /// How to use it, where it is not found by itself.
    pub hint: Option<String>,
}

impl Source {
    /// The file of `arch`, by default of vgg19.
    pub fn wanted(&self, arch: Option<&str>) -> Result<Wanted> {
        let own = || {
            let arch = arch.unwrap_or("vgg19");
            known::of_arch(arch).ok_or_else(|| {
                let all: Vec<&str> = known::KNOWN.iter().map(|known| known.arch).collect();
                Error::Usage(format!("there are no trained weights of {arch:?}: choose one of {}, or name an address \
                                      with --from", all.join(", ")))
            })
        };
        match self {
            Source::Torchvision => {
                let known = own()?;
                let server = variable(TORCHVISION_URL).unwrap_or_else(|| TORCHVISION.into());
                Ok(Wanted {
                    url: format!("{}/{}", server.trim_end_matches('/'), known.file),
                    file: known.file.into(),
                    expected: known.expected(),
                    token: None,
                    hint: None,
                })
            }
            Source::Timm => {
                let arch = own()?.arch;
                let hub = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.into());
                let repository = known::timm(arch);
                Ok(Wanted {
                    url: format!(
                        "{}/{repository}/resolve/main/model.safetensors",
                        hub.trim_end_matches('/')
                    ),
                    file: known::timm_file(arch),
                    expected: Expected::default(),
                    token: token()?,
                    hint: None,
                })
            }
            Source::Url(url) => from_url(url, arch),
        }
    }
}

fn from_url(url: &str, arch: Option<&str>) -> Result<Wanted> {
    let uri = address::parse(url)?;
    let name = safe(uri.path().rsplit('/').next().unwrap_or_default());
    if name.is_empty() {
        return Err(Error::Usage(format!(
            "{} names no file",
            address::shown(&uri)
        )));
    }
    let expected = known::expected(&name);
    let Some(arch) = arch else {
        let found = known::KNOWN
            .iter()
            .any(|known| known::names(known.arch).contains(&name));
        let hint = (!found).then(|| "a file of this name is not looked for: name it".to_string());
        return Ok(Wanted {
            url: url.into(),
            file: name,
            expected,
            token: None,
            hint,
        });
    };
    if known::of_arch(arch).is_none() {
        Arch::named(arch)?;
    }
    let end = if name.ends_with(".safetensors") {
        "safetensors"
    } else {
        "pth"
    };
    let known = known::names(arch).contains(&name);
    Ok(Wanted {
        url: url.into(),
        file: if known { name } else { format!("{arch}.{end}") },
        expected,
        token: None,
        hint: None,
    })
}

/// A name that is fit to be a file's on any system.
fn safe(name: &str) -> String {
    const LONGEST: usize = 100;
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(fit).collect();
    let name = name.trim_start_matches('.');
    name[name.len().saturating_sub(LONGEST)..]
        .trim_start_matches('.')
        .to_string()
}

fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?.trim().to_string();
    (!value.is_empty()).then_some(value)
}

fn token() -> Result<Option<String>> {
    let token = variable("HF_TOKEN");
    match &token {
        Some(token) if !token.bytes().all(|b| b.is_ascii_graphic()) => Err(Error::Usage(
            "HF_TOKEN holds characters that no token has".into(),
        )),
        _ => Ok(token),
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, safe};

    #[test]
    fn a_file_from_an_address_is_called_so_that_it_is_found() {
        let wanted = |url: &str, arch| {
            let source: Source = url.parse().expect("a source");
            let wanted = source.wanted(arch).expect("a file");
            (wanted.file, wanted.hint.is_some())
        };
        let named = |file: &str, hint| (file.to_string(), hint);
        let mirror = "https://h.org/vgg16-397923af.pth?key=1";
        assert_eq!(wanted(mirror, None), named("vgg16-397923af.pth", false));
        assert_eq!(
            wanted(mirror, Some("vgg16")),
            named("vgg16-397923af.pth", false)
        );
        let other = "https://h.org/a/model.safetensors";
        assert_eq!(wanted(other, None), named("model.safetensors", true));
        assert_eq!(
            wanted(other, Some("vgg19")),
            named("vgg19.safetensors", false)
        );
        assert_eq!(
            wanted("https://h.org/download", Some("vgg19")),
            named("vgg19.pth", false)
        );
        let nothing: Source = "https://h.org/".parse().expect("a source");
        assert!(nothing.wanted(None).is_err());
        assert!("ftp:/x".parse::<Source>().is_err());
    }

    #[test]
    fn names_are_fit_for_a_folder() {
        assert_eq!(safe("..%2f..%2fetc"), "_2f.._2fetc");
        assert_eq!(safe(".hidden"), "hidden");
        assert_eq!(safe("ä.pth"), "_.pth");
        assert_eq!(safe(&"x".repeat(500)).len(), 100);
    }
}
