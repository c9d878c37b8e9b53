//! Recording: work goes into one command encoder and is submitted when something is read back, when an upload
//! must not overtake it, or when [`BATCH`] dispatches have gathered.

use super::batch::{BATCH, Batch, STAGED, UNIFORM_STRIDE};
use super::counts::one;
use super::device::{Gpu, Inner};
use super::dispatch::foreign;
use super::kernel::Kernel;
use super::pool::Buffer;
use crate::error::Result;

impl Gpu {
    /// Appends one dispatch of so many workgroups with its `Params` to the open batch.
    pub(super) fn record(
        &self,
        what: (&Kernel, usize),
        params: &[u8],
        dispatch: impl FnOnce(&mut wgpu::ComputePass<'static>, u32),
    ) -> Result<()> {
        let mut batch = self.0.batch.lock().expect("no panic holds the batch");
        let offset = batch.params.len() as u32;
        batch.params.extend_from_slice(params);
        let padded = batch.params.len().next_multiple_of(UNIFORM_STRIDE);
        batch.params.resize(padded, 0);
        let Batch {
            encoder,
            pass,
            stamped,
            ..
        } = &mut *batch;
        let encoder = encoder
            .get_or_insert_with(|| self.0.device.create_command_encoder(&Default::default()));
        let pass = pass.get_or_insert_with(|| {
            encoder
                .begin_compute_pass(&Default::default())
                .forget_lifetime()
        });
        match self.0.profile.as_ref().filter(|profile| profile.is_on()) {
            Some(profile) => {
                profile.stamp(pass, stamped.len() * 2);
                dispatch(pass, offset);
                profile.stamp(pass, stamped.len() * 2 + 1);
                stamped.push((what.0.name.to_string(), what.1));
            }
            None => dispatch(pass, offset),
        }
        one(&self.0.counters.dispatches);
        batch.dispatches += 1;
        if batch.dispatches == BATCH {
            self.flush(&mut batch);
            drop(batch);
            return self.failure();
        }
        Ok(())
    }

    /// Appends a copy to the open batch, after everything recorded so far.
    pub(super) fn record_copy(&self, copy: impl FnOnce(&mut wgpu::CommandEncoder)) {
        let mut batch = self.0.batch.lock().expect("no panic holds the batch");
        copy(self.encoder(&mut batch));
    }

    /// The open batch's encoder, outside of a pass.
    fn encoder<'b>(&self, batch: &'b mut Batch) -> &'b mut wgpu::CommandEncoder {
        batch.pass = None;
        batch
            .encoder
            .get_or_insert_with(|| self.0.device.create_command_encoder(&Default::default()))
    }

    /// Appends an upload of a few words to the open batch, in its order; `false` where it is too large for that.
    pub(super) fn record_upload(&self, to: &wgpu::Buffer, offset: u64, data: &[u8]) -> bool {
        if data.len() > STAGED / 8 {
            return false;
        }
        let mut batch = self.0.batch.lock().expect("no panic holds the batch");
        if batch.staged.len() + data.len() > STAGED {
            self.flush(&mut batch);
        }
        let (from, bytes) = (batch.staged.len() as u64, data.len() as u64);
        batch.staged.extend_from_slice(data);
        let encoder = self.encoder(&mut batch);
        encoder.copy_buffer_to_buffer(&self.0.staging, from, to, offset, bytes);
        true
    }

    /// Copies bytes of one buffer to another, after everything recorded so far.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] where one is on another device.
    pub(crate) fn copy(
        &self,
        from: &Buffer,
        at: u64,
        to: &Buffer,
        offset: u64,
        bytes: u64,
    ) -> Result<()> {
        if ![from, to].into_iter().all(|b| self.0.pool.owns(b)) {
            return Err(foreign("copy"));
        }
        self.record_copy(|encoder| {
            encoder.copy_buffer_to_buffer(&from.raw, at, &to.raw, offset, bytes);
        });
        Ok(())
    }

    /// Hands recorded work to the device without waiting for it.
    ///
    /// # Errors
    /// What the device reported since the last call.
    pub fn submit(&self) -> Result<()> {
        self.flush(&mut self.0.batch.lock().expect("no panic holds the batch"));
        self.failure()
    }

    /// What the device calls the work that was handed to it, where there was some.
    pub(super) fn flush(&self, batch: &mut Batch) -> Option<wgpu::SubmissionIndex> {
        batch.pass = None;
        let mut encoder = batch.encoder.take()?;
        let stamped = std::mem::take(&mut batch.stamped);
        let profile = self.0.profile.as_ref().filter(|_| !stamped.is_empty());
        if let Some(profile) = profile {
            profile.resolve(&mut encoder, stamped.len());
        }
        {
            let Inner {
                queue,
                uniforms,
                staging,
                ..
            } = &*self.0;
            queue.write_buffer(uniforms, 0, &batch.params);
            queue.write_buffer(staging, 0, &batch.staged);
            let index = queue.submit([encoder.finish()]);
            one(&self.0.counters.submits);
            batch.params.clear();
            batch.staged.clear();
            batch.dispatches = 0;
            let period = f64::from(queue.get_timestamp_period()) * 1e-9;
            if let Some(Err(error)) =
                profile.map(|profile| profile.collect(&self.0.device, period, stamped))
            {
                self.report(error);
            }
            Some(index)
        }
    }
}
