//! What AMD's compiler makes of the kernels for GPUs: none fails, none spills more than is known, and none is worse than the
//! table that is kept in benches/isa. Skipped where Mesa's RADV is not installed.

use std::process::Command;

use libtest_mimic::Trial;

use crate::support::trial;

#[path = "../benches/isa/assembly.rs"]
mod assembly;
#[path = "../benches/isa/radv.rs"]
#[allow(unsafe_code)] // Vulkan through ash, for a device that wgpu does not open.
mod radv;
#[path = "../benches/isa/record.rs"]
mod record;

/// The chip that this process is to compile for: Mesa takes it from the environment of a process.
const CHIP: &str = "GOLDFISH_TEST_CHIP";

/// Whether this process was started to compile for a chip; then it has done so.
pub fn compiled() -> bool {
    let Ok(chip) = std::env::var(CHIP) else {
        return false;
    };
    let table = record::compile(&chip, "", |_, _| {});
    print!("{}", table.expect("all kernels are compiled"));
    true
}

pub fn trials() -> Vec<Trial> {
    let absent = radv::manifest().is_none();
    if absent {
        eprintln!("skipped: isa, since Mesa's RADV is not installed");
    }
    vec![
        trial("isa::a_loop_is_counted", counted),
        trial("isa::what_is_worse_is_told", worse),
        trial("isa::no_kernel_is_worse_than_recorded", recorded).with_ignored_flag(absent),
    ]
}

fn counted() {
    let assembly = "BB0:\n\ts_mov_b32 s0, 0 ; be80\nBB1:\n\tbuffer_load_dwordx4 v[0:3], v4, s[0:3], 0 offen\n\tds_read_b128 \
        v[4:7], v9\n\tv_fmac_f32_e32 v0, v1, v2\n\tv_dual_fmac_f32 v1, v2, v3 :: v_dual_fmac_f32 v4, v5, v6\n\tv_mul_f32 \
        v1, v1, v2\n\ts_cbranch_scc1 BB1\nBB2:\n\tv_fma_f32 v0, v1, v2, v3\n\ts_cbranch_execz BB3\nBB3:\n\ts_endpgm\n";
    let step = assembly::step(assembly);
    let expected = assembly::Step {
        looped: true,
        instructions: 6,
        vector: 3,
        multiply_adds: 3,
        loads: 1,
        words: 4,
        shared: 1,
    };
    assert_eq!(step, expected);
    let straight = assembly::step("BB0:\n\tv_fma_f32 v0, v1, v2, v3\n\ts_endpgm\n");
    assert!(!straight.looped);
    assert_eq!((straight.instructions, straight.multiply_adds), (2, 1));
}

fn worse() {
    let recorded = record::Table::recorded().expect("the table is read");
    let text = recorded.to_string();
    let again = record::Table::parse(&text).expect("the table is read again");
    assert_eq!(again.to_string(), text);
    let row = recorded.rows.values().next().expect("a kernel").clone();
    assert_eq!(row.worse(&row), Vec::<String>::new());
    let mut spoilt = row.clone();
    spoilt.spilled += 1;
    spoilt.waves -= 1;
    spoilt.step.instructions *= 2;
    assert_eq!(spoilt.worse(&row).len(), 3, "{:?}", spoilt.worse(&row));
}

fn recorded() {
    let manifest = radv::manifest().expect("RADV is there");
    let program = std::env::current_exe().expect("this program");
    let table = record::of_all(&manifest, |chip| {
        let mut command = Command::new(&program);
        command.env(CHIP, chip);
        command
    });
    let table = table.expect("every kernel is compiled for every chip");
    let recorded = record::Table::recorded().expect("the table is read");
    let mut wrong = Vec::new();
    for ((chip, kernel), row) in &table.rows {
        if row.spilled + row.scratch > 0 {
            wrong.push(format!("{kernel} spills on {chip}"));
        }
    }
    if table.driver == recorded.driver {
        for (key, row) in &table.rows {
            let worse = match recorded.rows.get(key) {
                Some(before) => row.worse(before),
                None => vec!["is not in the table".into()],
            };
            wrong.extend(
                worse
                    .iter()
                    .map(|worse| format!("{} on {}: {worse}", key.1, key.0)),
            );
        }
        let gone = recorded
            .rows
            .keys()
            .filter(|key| !table.rows.contains_key(key));
        wrong.extend(gone.map(|key| format!("{} on {} is no longer there", key.1, key.0)));
    } else {
        eprintln!(
            "skipped: isa's figures, which were recorded with {} and not {}",
            recorded.driver, table.driver
        );
    }
    assert!(
        wrong.is_empty(),
        "{}\ncargo bench --bench isa -- --record keeps what is better or meant",
        wrong.join("\n")
    );
}
