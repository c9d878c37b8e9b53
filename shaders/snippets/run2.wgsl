// What is read and stored at a time, the import `run`: 2 numbers beside each other.
alias Run = vec2f;
const RUN: u32 = 2u;
// The same of pooled planes.
alias Half = f32;
const HALF: u32 = 1u;

// The first of four.
fn run_of(a: f32, b: f32, c: f32, d: f32) -> Run {
    return vec2f(a, b);
}
fn half_of(a: f32, b: f32) -> Half {
    return a;
}
// The first of the result are the run's.
fn four_of(run: Run) -> vec4f {
    return vec4f(run, run);
}
