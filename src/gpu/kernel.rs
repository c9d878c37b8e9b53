//! A kernel: one entry point of one WGSL file, what the file is given, and the bindings it declares. `dispatch.rs` runs it.
//!
//! `Params` is a uniform at binding 0; storage bindings follow in the order of [`Kernel::bindings`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use bytemuck::Pod;

use super::batch::UNIFORM_STRIDE;
use super::shaders;
use super::wgsl::{Constant, Given, Wgsl};
use crate::error::{Error, Result};

/// How a kernel uses a storage binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    Write,
    /// `texture_storage_2d<rgba32float, read>`
    ReadTexture,
}

/// The description of a kernel, beside the op that dispatches it.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `op.entry`, unique; the label of everything made from it.
    pub name: Cow<'static, str>,
    /// The shader with the entry point, by its path in `shaders/`.
    pub file: &'static str,
    /// Its text, where it is not one of `shaders/`.
    text: Option<&'static str>,
    /// The entry point in it.
    pub entry: &'static str,
    /// What the names stand for that its files import.
    imports: Vec<(&'static str, &'static str)>,
    /// Values of the constants that its files ask for.
    constants: Vec<(&'static str, Constant)>,
    /// `size_of` the `Params` struct.
    pub params: usize,
    /// Storage bindings from binding 1 on.
    pub bindings: &'static [Access],
    /// Its shader checks every index and loop: whoever wrote it is not known here.
    pub(super) checked: bool,
}

impl Kernel {
    /// The kernel `name` (`op.entry`, unique) with uniform `P` at binding 0 and `bindings` after it.
    ///
    /// `P` has at most 256 bytes, which is what a dispatch has room for:
    /// ```
    /// goldfish::gpu::Kernel::new::<[u32; 64]>("op.forward", "", "forward", &[]);
    /// ```
    /// A larger one does not compile:
    /// ```compile_fail,E0080
    /// goldfish::gpu::Kernel::new::<[u32; 65]>("op.forward", "", "forward", &[]);
    /// ```
    pub const fn new<P: Pod>(
        name: &'static str,
        file: &'static str,
        entry: &'static str,
        bindings: &'static [Access],
    ) -> Self {
        const {
            assert!(
                size_of::<P>() <= UNIFORM_STRIDE,
                "Params has more bytes than a dispatch has room for"
            )
        };
        Kernel {
            name: Cow::Borrowed(name),
            file,
            text: None,
            entry,
            imports: Vec::new(),
            constants: Vec::new(),
            params: size_of::<P>(),
            bindings,
            checked: false,
        }
    }

    /// The same with a shader that checks every index and loop, whatever the device was opened for.
    pub(crate) fn checked(&self) -> Self {
        Kernel {
            checked: true,
            ..self.clone()
        }
    }

    /// What stands for it among a device's pipelines: its name, and all there is of one that may bear another's name.
    pub(super) fn key(&self) -> Cow<'_, str> {
        match self.checked {
            true => Cow::Owned(format!("{self:?}")),
            false => Cow::Borrowed(&self.name),
        }
    }

    /// The same with `text` in its file, for shaders from outside of this crate. They may import what lies in `shaders/`, and
    /// check every index and loop.
    pub const fn with_text(mut self, text: &'static str) -> Self {
        self.text = Some(text);
        self.checked = true;
        self
    }

    /// The same where the line `#import name` stands for `file`.
    pub fn import(mut self, name: &'static str, file: &'static str) -> Self {
        self.imports.push((name, file));
        self
    }

    /// The same with a value for the line `#const name`.
    pub fn constant(mut self, name: &'static str, value: impl Into<Constant>) -> Self {
        self.constants.push((name, value.into()));
        self
    }

    /// This kernel under another name, with the imports and constants that `give` adds. One kernel a name, made once.
    pub(crate) fn variant(&self, name: String, give: impl FnOnce(Self) -> Self) -> &'static Self {
        static VARIANTS: LazyLock<Mutex<HashMap<String, &'static Kernel>>> =
            LazyLock::new(Mutex::default);
        let mut variants = VARIANTS.lock().expect("no panic holds the kernels");
        variants.entry(name).or_insert_with_key(|name| {
            let kernel = give(self.clone());
            Box::leak(Box::new(Kernel {
                name: Cow::Owned(name.clone()),
                ..kernel
            }))
        })
    }

    /// What is compiled.
    ///
    /// # Errors
    /// [`Error::Kernel`] where its files do not go together, with the line that is wrong.
    pub fn wgsl(&self) -> Result<Wgsl> {
        let given = Given {
            imports: &self.imports,
            constants: &self.constants,
            text: &shaders::text,
        };
        let text = self.text.or_else(|| shaders::text(self.file));
        text.ok_or_else(|| format!("there is no shader {:?}", self.file))
            .and_then(|text| Wgsl::new(self.file, text, &given))
            .map_err(|message| Error::Kernel {
                kernel: self.name.to_string(),
                message,
            })
    }
}
