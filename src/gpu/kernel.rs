//! A kernel: one entry point of one WGSL file, and the bindings it declares. `dispatch.rs` runs it.
//!
//! `Params` is a uniform at binding 0; storage bindings follow in the order of [`Kernel::bindings`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use bytemuck::Pod;

use super::batch::UNIFORM_STRIDE;
use super::unroll;
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
    /// WGSL source, its marked loops not unrolled yet (see [`Kernel::wgsl`]).
    pub source: Cow<'static, str>,
    /// The entry point in `source`.
    pub entry: &'static str,
    /// Values of `override` declarations.
    pub constants: &'static [(&'static str, f64)],
    /// `size_of` the `Params` struct.
    pub params: usize,
    /// Storage bindings from binding 1 on.
    pub bindings: &'static [Access],
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
        source: &'static str,
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
            source: Cow::Borrowed(source),
            entry,
            constants: &[],
            params: size_of::<P>(),
            bindings,
        }
    }

    /// The same entry point with another name, behind a header of `const` declarations: tile sizes, which
    /// WGSL's `override` cannot be. One kernel a name, made once.
    pub fn sized(&self, name: String, header: impl FnOnce() -> String) -> &'static Self {
        static SIZED: LazyLock<Mutex<HashMap<String, &'static Kernel>>> =
            LazyLock::new(Mutex::default);
        let mut sized = SIZED.lock().expect("no panic holds the kernels");
        sized.entry(name).or_insert_with_key(|name| {
            Box::leak(Box::new(Kernel {
                name: Cow::Owned(name.clone()),
                source: Cow::Owned(header() + &self.source),
                ..self.clone()
            }))
        })
    }

    /// The source that is compiled: loops under `// unroll` written out.
    ///
    /// # Errors
    /// [`Error::Kernel`] where a marked loop is not of the one form that is unrolled.
    pub fn wgsl(&self) -> Result<String> {
        unroll::unroll(&self.source).map_err(|message| Error::Kernel {
            kernel: self.name.to_string(),
            message,
        })
    }

    /// The same with values for its `override` declarations.
    pub const fn with(mut self, constants: &'static [(&'static str, f64)]) -> Self {
        self.constants = constants;
        self
    }
}
