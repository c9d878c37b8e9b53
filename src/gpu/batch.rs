//! The open batch: what is recorded and not yet submitted.

/// Dispatches recorded before they are handed to the device without being asked for.
pub(super) const BATCH: usize = 64;
/// Bytes between the `Params` of two dispatches: the largest alignment that devices ask for.
pub(super) const UNIFORM_STRIDE: usize = 256;

/// Bytes of small uploads between two submissions.
pub(super) const STAGED: usize = 256 << 10;

/// A dispatch that was stamped: its kernel and its workgroups.
pub(super) type Stamped = (String, usize);

/// Recorded and not yet submitted work.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) encoder: Option<wgpu::CommandEncoder>,
    pub(super) pass: Option<wgpu::ComputePass<'static>>,
    pub(super) params: Vec<u8>,
    /// Small uploads, which the encoder copies where they go.
    pub(super) staged: Vec<u8>,
    pub(super) dispatches: usize,
    /// Its dispatches, where they are stamped: all or none of a batch.
    pub(super) stamped: Vec<Stamped>,
}
