// What is stored at a time, the import `run`: 2 numbers beside each other.
alias Run = vec2f;
const RUN: u32 = 2u;

// The first of four.
fn run_of(a: f32, b: f32, c: f32, d: f32) -> Run {
    return vec2f(a, b);
}
