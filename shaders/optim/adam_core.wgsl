// One step of Adam (Kingma & Ba 2015) with PyTorch's arithmetic: what adam.wgsl and adam_outer.wgsl share.
struct Params {
    n: u32, // elements; forward_quads, outer: quads
    step_size: f32, // lr / (1 - beta1^t)
    rest1: f32, // 1 - beta1, rounded once
    beta2: f32,
    rest2: f32, // 1 - beta2, rounded once
    inverse_root2: f32, // 1 / sqrt(1 - beta2^t)
    eps: f32,
    weight_decay: f32,
    rows: u32, // outer: of the parameter
    columns: u32, // outer: quads of a row
    alpha: f32, // outer: what the product is scaled by
}
@group(0) @binding(0) var<uniform> params: Params;

struct Moved {
    p: vec4f,
    m: vec4f,
    v: vec4f,
}

// Whether some of four numbers is NaN or infinite.
fn is_lost(p: vec4f) -> bool {
    return any((bitcast<vec4u>(p) & vec4u(0x7f800000u)) == vec4u(0x7f800000u));
}

fn moved(p: vec4f, dp: vec4f, m: vec4f, v: vec4f) -> Moved {
    let gradient = dp + params.weight_decay * p;
    let mean = m + (gradient - m) * params.rest1;
    let square = v * params.beta2 + params.rest2 * gradient * gradient;
    return Moved(p - params.step_size * (mean / (sqrt(square) * params.inverse_root2 + params.eps)), mean, square);
}

