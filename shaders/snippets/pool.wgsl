// A window of 2 x 2 after ReLU, whose numbers come one after the other.

// Which of its pixels, 0 to 3, a window's largest number came from; NOBODY where it is 0, which hands no gradient down.
const NOBODY: f32 = 4.0;
// Less than all that ReLU gives but NaN.
const LEAST: f32 = -1.0;

struct Window {
    best: f32,
    winner: f32,
}

// The first of the largest or the last NaN, as in max_pool2d.wgsl.
fn better(window: Window, value: f32, pixel: f32) -> Window {
    let nan = (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
    let is_better = (value > window.best) | nan;
    return Window(select(window.best, value, is_better), select(window.winner, pixel, is_better));
}

fn winner_of(window: Window) -> f32 {
    return select(window.winner, NOBODY, bitcast<u32>(window.best) == 0u);
}
