// What is read and stored at a time, the import `run`: 4 numbers beside each other.
alias Run = vec4f;
const RUN: u32 = 4u;
// The same of pooled planes.
alias Half = vec2f;
const HALF: u32 = 2u;

// The first of four.
fn run_of(a: f32, b: f32, c: f32, d: f32) -> Run {
    return vec4f(a, b, c, d);
}
fn half_of(a: f32, b: f32) -> Half {
    return vec2f(a, b);
}
// The first of the result are the run's.
fn four_of(run: Run) -> vec4f {
    return run;
}
