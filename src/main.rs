fn main() {
    let r = goldfish::selftest::run(None, |i, o| {
        println!("{i} {} {} fwd {:.1e} grad {:?} {} {:?}", o.op, o.case, o.forward_error, o.gradient_error, o.is_ok(), o.problem);
    });
    match r { Ok(r) => println!("{}", r.iter().all(|o| o.is_ok())), Err(e) => println!("{e}") }
}
