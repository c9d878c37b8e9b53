//! The device: adapter choice, limits, kernels, buffers, transfers. Everything below `tensor` and nothing above.

mod allocate;
mod batch;
mod device;
mod dispatch;
mod failure;
mod kernel;
mod pipeline;
mod pool;
mod record;
mod select;
mod shaders;
mod shared;
mod texture;
mod tile;
mod transfer;
mod trips;
mod unroll;
mod warmer;
mod wgsl;

pub use device::{Gpu, GpuOptions};
pub(crate) use dispatch::Binding;
pub use kernel::{Access, Kernel};
pub use pipeline::Compiled;
pub use pool::PoolStats;
pub(crate) use pool::{Buffer, Fresh, IMAGE_LEAST, IMAGE_WIDTH};
pub use select::{DeviceInfo, devices};
pub use shaders::shaders;
pub(crate) use shaders::version as shaders_version;
pub(crate) use texture::{Recycled, Texture};
pub(crate) use tile::Tile;
pub use transfer::Readback;
pub use trips::check_trips;
pub(crate) use trips::max_trips;
pub(crate) use warmer::Warmer;
pub use wgsl::{Constant, Wgsl};
