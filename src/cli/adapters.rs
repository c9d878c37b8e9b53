//! `--adapter RUN[@SCALE]`, as often as one likes: what is added to the base.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use goldfish::data::Classes;
use goldfish::formats::adapter;
use goldfish::nn::Adapter;
use goldfish::{Error, Gpu, Result};

use super::adopt::{DEFAULT_RUN, adopt, trained};
use super::base::{Base, BaseArgs, Weights};
use super::terminal::note;

#[derive(Args)]
pub struct AdapterArgs {
    /// Folder with an adapter, or the file in it, times a scale; several are summed (a new last layer counts whole,
    /// whatever the scale); none is the base alone. The first one's run.toml says
    /// which base it belongs to, unless --weights does [default: runs/train where there is one and no base is named, else none]
    #[arg(long = "adapter", value_name = "RUN[@SCALE]|none", value_parser = OsStringValueParser::new().try_map(Named::from_os))]
    adapters: Vec<Named>,
}

/// One `--adapter`.
#[derive(Clone)]
struct Named {
    folder: PathBuf,
    scale: f64,
}

impl Named {
    /// A name that is not UTF-8 is taken whole, without a scale.
    fn from_os(text: OsString) -> Result<Self, String> {
        match text.to_str() {
            Some(text) => text.parse(),
            None => Ok(Named {
                folder: text.into(),
                scale: 1.0,
            }),
        }
    }
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = Named {
            folder: text.into(),
            scale: 1.0,
        };
        match text.rsplit_once('@') {
            // A folder may have an @ in its name.
            Some((folder, scale)) if !Path::new(text).exists() => {
                let scale = scale.parse::<f64>().ok().filter(|s| s.is_finite());
                let scale = scale.ok_or(format!("the scale in {text:?} is not a number"))?;
                Ok(Named {
                    folder: folder.into(),
                    scale,
                })
            }
            _ => Ok(whole),
        }
    }
}

impl AdapterArgs {
    fn given(&self) -> impl Iterator<Item = &Named> {
        let none = Path::new("none");
        self.adapters.iter().filter(move |a| a.folder != none)
    }

    /// Where they lie.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.given().map(|adapter| &*adapter.folder)
    }

    /// Fills in what the command line leaves open: the adapter that train left where it does, and of the base what the
    /// first adapter's run.toml says, where it has one.
    pub fn adopt(&mut self, base: &mut BaseArgs) -> Result<()> {
        let open = self.adapters.is_empty() && base.weights.is_none() && base.arch.is_none();
        if open && Path::new(DEFAULT_RUN).join(adapter::MODEL).exists() {
            note!(
                "notice   the adapter is that of {DEFAULT_RUN}, since none was named: --adapter none is the base alone"
            );
            self.adapters.push(Named {
                folder: DEFAULT_RUN.into(),
                scale: 1.0,
            });
        }
        match self.given().next() {
            Some(first) => adopt(base, &first.folder),
            None => Ok(()),
        }
    }

    /// The classes that all of them together were trained on, where every run says.
    pub fn trained(&self) -> Result<Option<Vec<String>>> {
        let mut all = Vec::new();
        for Named { folder, .. } in self.given() {
            match trained(folder)? {
                Some(names) => all.extend(names),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    /// What [`AdapterArgs::load`] gives, of a network that is asked what images show and must have an answer.
    pub fn answering(&self, gpu: &Gpu, base: &Base) -> Result<(Adapter, Classes)> {
        let (adapter, classes) = self.load(gpu, base)?;
        if let (Weights::File(path), 0) = (&base.weights, adapter.classes(base.arch)) {
            let problem = "has no classifier, and no adapter has one for it: train one for classes of your own";
            return Err(Error::data(path, problem));
        }
        Ok((adapter, classes))
    }

    /// The sum of the adapters, an empty one where there are none, and what its logits mean.
    pub fn load(&self, gpu: &Gpu, base: &Base) -> Result<(Adapter, Classes)> {
        let side = base.transform.size;
        let mut loaded = Vec::new();
        let mut named: Option<(&Path, Classes)> = None;
        for Named { folder, scale } in self.given() {
            base.check(folder)?;
            let stored = adapter::load(gpu, folder, base.arch, side)?;
            let classes = stored.classes_on(folder, &base.classes)?;
            match &named {
                Some((first, before)) if *before != classes => {
                    let problem = format!(
                        "answers for other classes than {} does: their sum would mean nothing. Use them one by one",
                        first.display()
                    );
                    return Err(Error::data(folder, problem));
                }
                Some(_) => {}
                None => named = Some((folder, classes)),
            }
            loaded.push((stored.adapter, *scale));
        }
        let classes = named.map_or_else(|| base.classes.clone(), |(_, classes)| classes);
        Ok((Adapter::sum(gpu, &loaded, base.arch)?, classes))
    }
}
