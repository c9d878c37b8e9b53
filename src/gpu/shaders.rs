//! The files of `shaders/`, embedded: what a kernel names and what files import. A test holds the list against the folder.

use sha2::{Digest, Sha256};

macro_rules! embed {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../shaders/", $path)))),*]
    };
}

/// Each file's path in `shaders/`, and its text.
static FILES: &[(&str, &str)] = embed![
    "bench/peak.wgsl"
    "conv/planes/conv_planes.wgsl"
    "conv/planes/pack.wgsl"
    "conv/planes/unmask.wgsl"
    "conv/planes/weight_gradient.wgsl"
    "conv/planes/winograd_input.wgsl"
    "conv/planes/winograd_mask.wgsl"
    "conv/planes/winograd_no_mask.wgsl"
    "conv/planes/winograd_output.wgsl"
    "conv/planes/winograd_params.wgsl"
    "conv/planes/winograd_product.wgsl"
    "conv/planes/winograd_turn.wgsl"
    "conv/planes/winograd_up.wgsl"
    "conv/rows/conv3x3.wgsl"
    "conv/rows/conv3x3_finish.wgsl"
    "conv/rows/share_low_rank.wgsl"
    "conv/rows/share_none.wgsl"
    "conv/rows/winograd_rows.wgsl"
    "conv/rows/winograd_rows_input.wgsl"
    "conv/rows/winograd_rows_output.wgsl"
    "conv/rows/winograd_rows_product.wgsl"
    "ops/adaptive_avg_pool2d.wgsl"
    "ops/bias.wgsl"
    "ops/concat_columns.wgsl"
    "ops/conv2d.wgsl"
    "ops/conv2d_few.wgsl"
    "ops/cross_entropy.wgsl"
    "ops/dropout.wgsl"
    "ops/dropout_planes.wgsl"
    "ops/linear.wgsl"
    "ops/linear_image.wgsl"
    "ops/linear_image_backward.wgsl"
    "ops/linear_narrow.wgsl"
    "ops/linear_params.wgsl"
    "ops/low_rank_relu.wgsl"
    "ops/matmul.wgsl"
    "ops/max_pool2d.wgsl"
    "ops/mse_loss.wgsl"
    "ops/relu.wgsl"
    "ops/scale.wgsl"
    "ops/scale_rows.wgsl"
    "ops/sum.wgsl"
    "optim/adam.wgsl"
    "optim/adam_core.wgsl"
    "optim/adam_outer.wgsl"
    "optim/adam_outer_buffers.wgsl"
    "optim/adam_outer_images.wgsl"
    "optim/adam_outer_narrow.wgsl"
    "optim/clip.wgsl"
    "optim/lost.wgsl"
    "optim/sgd.wgsl"
    "snippets/dropout_core.wgsl"
    "snippets/matrices16.wgsl"
    "snippets/matrices8.wgsl"
    "snippets/packed.wgsl"
    "snippets/pool.wgsl"
    "snippets/run1.wgsl"
    "snippets/run2.wgsl"
    "snippets/run4.wgsl"
    "snippets/stored_f16.wgsl"
    "snippets/stored_f32.wgsl"
    "snippets/tile.wgsl"
    "snippets/tile_frozen.wgsl"
    "snippets/tile_matrix.wgsl"
    "snippets/tile_registers.wgsl"
    "snippets/tile_shape.wgsl"
    "snippets/value_f32.wgsl"
    "snippets/value_vec4f.wgsl"
    "snippets/winograd4.wgsl"
    "snippets/winograd6.wgsl"
    "tensor/add.wgsl"
    "tensor/outer.wgsl"
    "tensor/planes_add.wgsl"
    "tensor/to_planes.wgsl"
    "tensor/to_rows.wgsl"
    "train/normalize.wgsl"
];

/// The embedded files, by their paths in `shaders/`.
pub fn shaders() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(path, _)| *path)
}

/// A SHA-256 over the embedded files.
pub(crate) fn version() -> [u8; 32] {
    let mut hasher = Sha256::new();
    for (path, text) in FILES {
        // The length says where a text ends.
        hasher.update(format!("{path}\n{}\n", text.len()));
        hasher.update(text);
    }
    hasher.finalize().into()
}

/// The text of an embedded file.
pub(super) fn text(path: &str) -> Option<&'static str> {
    let found = FILES.iter().find(|(known, _)| *known == path);
    found.map(|(_, text)| *text)
}
