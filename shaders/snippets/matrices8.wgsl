// The import `matrices` of tile_matrix.wgsl: those of 8 x 8.
const SIDE: u32 = 8u;
alias LeftMatrix = coop_mat8x8<f16, A>;
alias RightMatrix = coop_mat8x8<f16, B>;
alias SumMatrix = coop_mat8x8<f32, C>;
