// What is stored at a time, the import `run`: a number.
alias Run = f32;
const RUN: u32 = 1u;

// The first of four.
fn run_of(a: f32, b: f32, c: f32, d: f32) -> Run {
    return a;
}
