// One step of Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019) with PyTorch's arithmetic: what adam.wgsl and
// adam_outer.wgsl share.
#import optim/lost.wgsl
struct Params {
    n: u32, // elements; forward_quads, outer: quads
    step_size: f32, // lr / (1 - beta1^t)
    rest1: f32, // 1 - beta1, rounded once
    beta2: f32,
    rest2: f32, // 1 - beta2, rounded once
    inverse_root2: f32, // 1 / sqrt(1 - beta2^t)
    eps: f32,
    weight_decay: f32, // of Adam: added to the gradient
    shrink: f32, // of AdamW: what its decay leaves of the parameter, 1 - lr * decay; 1 for none
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

fn moved(p: vec4f, dp: vec4f, m: vec4f, v: vec4f) -> Moved {
    // Choices: 0 times a parameter that is not finite would be NaN, and a product with 1 is joined with the difference below by
    // some compilers, which gives other bits where nothing decays.
    let gradient = select(dp + params.weight_decay * p, dp, params.weight_decay == 0.0);
    let mean = m + (gradient - m) * params.rest1;
    let square = v * params.beta2 + params.rest2 * gradient * gradient;
    let rest = select(p * params.shrink, p, params.shrink == 1.0);
    return Moved(rest - params.step_size * (mean / (sqrt(square) * params.inverse_root2 + params.eps)), mean, square);
}
