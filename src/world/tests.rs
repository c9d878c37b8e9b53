use super::World;
use crate::error::Error;

#[test]
fn every_rank_hears_the_leader_and_each_other() {
    for size in 1..=9 {
        let heard = World::on_threads(size, |world| {
            let said = world.leads().then(|| b"begin".to_vec());
            let begin = world.broadcast(said).expect("a message");
            let all = world.gather(vec![world.rank() as u8; world.rank()]);
            (begin, all.expect("messages"))
        });
        for (begin, all) in heard {
            assert_eq!(begin, b"begin");
            let ranks = (0..size).map(|rank| vec![rank as u8; rank]);
            assert_eq!(all, ranks.collect::<Vec<_>>());
        }
    }
}

#[test]
fn shares_are_all_there_is_and_even() {
    for size in [1, 2, 3, 4, 7] {
        let world = &World::threads(size)[0];
        for things in 0..40 {
            for unit in [1, 2, 5, 8] {
                let shares: Vec<_> = (0..size).map(|r| world.share(r, things, unit)).collect();
                assert_eq!(shares[0].start, 0);
                assert_eq!(shares[size - 1].end, things);
                assert!(shares.windows(2).all(|two| two[0].end == two[1].start));
                let lengths = shares.iter().map(|share| share.len().div_ceil(unit));
                let (least, most) = (lengths.clone().min(), lengths.max());
                assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1, "{shares:?}");
                let begins = shares.iter().filter(|share| share.start < things);
                assert!(begins.clone().all(|share| share.start % unit == 0));
            }
        }
    }
}

#[test]
fn what_differs_is_refused_by_all_and_named() {
    let said = World::on_threads(3, |world| {
        let other = world.rank() == 2;
        world.same("weights", if other { b"b" } else { b"a" })
    });
    for said in said {
        let Err(Error::Rank { rank, problem }) = said else {
            panic!("{said:?}");
        };
        assert!(rank.starts_with("rank 2 on "), "{rank}");
        assert!(problem.starts_with("has not the same weights as rank 0 on "));
    }
    assert!(
        World::on_threads(3, |world| world.same("weights", b"a").is_ok())
            .into_iter()
            .all(|same| same)
    );
}

#[test]
fn a_rank_that_is_gone_is_named() {
    let mut ranks = World::threads(2);
    let last = ranks.pop();
    let first = ranks.pop().expect("two ranks");
    drop(last);
    let error = first.receive(1).expect_err("nobody sends");
    assert!(error.to_string().starts_with("rank 1 on "), "{error}");
    // What is still sent to it is nobody's.
    first.send(1, Vec::new()).expect("sent");
}
