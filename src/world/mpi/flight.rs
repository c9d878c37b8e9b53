//! Bytes that MPI has in its hands: they stay where they are until it gives them back.

use mpi::Tag;
use mpi::point_to_point::Message;
use mpi::request::{Request, StaticScope};
use mpi::topology::Process;
use mpi::traits::Destination;

/// A message on its way out or in.
pub(super) struct Flight {
    /// Taken while it is asked after.
    request: Option<Request<'static, [u8], StaticScope>>,
    /// The bytes, which stay there for as long as MPI wants them.
    bytes: *mut [u8],
}

impl Flight {
    /// Sends `bytes`.
    pub(super) fn out(to: &Process, tag: Tag, bytes: Vec<u8>) -> Self {
        let place = Box::into_raw(bytes.into_boxed_slice());
        // SAFETY: it was a box a moment ago, and is made one again by `landed` alone, once this reference is given back.
        #[allow(unsafe_code)]
        let bytes: &'static [u8] = unsafe { &*place };
        Flight {
            request: Some(to.immediate_send_with_tag(StaticScope, bytes, tag)),
            bytes: place,
        }
    }

    /// Receives `message`, which has so many bytes.
    pub(super) fn into(message: Message, length: usize) -> Self {
        let place = Box::into_raw(vec![0; length].into_boxed_slice());
        // SAFETY: as in `out`, and nobody else reads or writes there meanwhile.
        #[allow(unsafe_code)]
        let bytes: &'static mut [u8] = unsafe { &mut *place };
        Flight {
            request: Some(message.immediate_matched_receive_into(StaticScope, bytes)),
            bytes: place,
        }
    }

    /// Its bytes once MPI is done with them, else itself.
    pub(super) fn landed(mut self) -> Result<Vec<u8>, Self> {
        let Some(request) = self.request.take() else {
            return Ok(Vec::new());
        };
        match request.test() {
            Ok(_) => {
                // SAFETY: they come from a box in `out` or `into`, MPI has given its reference back with the request, and
                // this is the one place that takes them, since `self` is used up.
                #[allow(unsafe_code)]
                let bytes = unsafe { Box::from_raw(self.bytes) };
                Ok(bytes.into_vec())
            }
            Err(request) => Err(Flight {
                request: Some(request),
                bytes: self.bytes,
            }),
        }
    }
}

impl Drop for Flight {
    /// What MPI still has is left to it: the process ends.
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            std::mem::forget(request);
        }
    }
}
