// The import `mask` of winograd_output.wgsl where no gradient is wanted.
const MASK: bool = false;

fn keep(index: u32, bits: u32) {}
