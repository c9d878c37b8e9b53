// What is stored at a time, the import `run`: 4 numbers beside each other.
alias Run = vec4f;
const RUN: u32 = 4u;

// The first of four.
fn run_of(a: f32, b: f32, c: f32, d: f32) -> Run {
    return vec4f(a, b, c, d);
}
