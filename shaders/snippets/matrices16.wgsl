// The import `matrices` of tile_matrix.wgsl: those of 16 x 16.
const SIDE: u32 = 16u;
alias LeftMatrix = coop_mat16x16<f16, A>;
alias RightMatrix = coop_mat16x16<f16, B>;
alias SumMatrix = coop_mat16x16<f32, C>;
