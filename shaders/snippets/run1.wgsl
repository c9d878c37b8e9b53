// What is read and stored at a time, the import `run`: a number.
alias Run = f32;
const RUN: u32 = 1u;
// The same of pooled planes.
alias Half = f32;
const HALF: u32 = 1u;

// The first of four.
fn run_of(a: f32, b: f32, c: f32, d: f32) -> Run {
    return a;
}
fn half_of(a: f32, b: f32) -> Half {
    return a;
}
// The first of the result are the run's.
fn four_of(run: Run) -> vec4f {
    return vec4f(run);
}
