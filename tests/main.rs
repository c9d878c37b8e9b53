//! The tests, cheapest first. Those that need a device are reported as ignored where there is none.

mod adapters;
mod answers;
mod augment;
mod base;
mod browser;
mod cli;
mod convert;
mod damaged;
mod data;
mod deploy;
mod doctor;
mod estimate;
mod export;
mod family;
mod faults;
mod fetch;
mod files;
mod floors;
mod heads;
mod history;
mod idle;
mod imports;
#[cfg(target_os = "linux")]
mod isa;
mod journeys;
mod kept;
mod kills;
mod launches;
mod library;
mod names;
mod ops;
mod optim;
mod parity;
mod peft;
mod pictures;
mod portable;
mod pth;
#[cfg(unix)]
mod quiet;
mod ranks;
mod recipe;
mod refused;
mod report;
mod resumed;
mod runs;
mod scores;
mod server;
mod shaders;
mod stop;
mod store;
mod support;
mod sweep;
mod training;
mod weights;

fn main() {
    #[cfg(target_os = "linux")]
    if isa::compiled() {
        return;
    }
    let arguments = libtest_mimic::Arguments::from_args();
    let modules = [
        floors::trials(),
        shaders::trials(),
        #[cfg(target_os = "linux")]
        isa::trials(),
        data::trials(),
        augment::trials(),
        pictures::trials(),
        doctor::trials(),
        files::trials(),
        weights::trials(),
        fetch::trials(),
        refused::trials(),
        scores::trials(),
        history::trials(),
        idle::trials(),
        report::trials(),
        pth::trials(),
        convert::trials(),
        ops::trials(),
        optim::trials(),
        library::trials(),
        parity::trials(),
        family::trials(),
        portable::trials(),
        training::trials(),
        ranks::trials(),
        launches::trials(),
        journeys::trials(),
        recipe::trials(),
        store::trials(),
        cli::trials(),
        estimate::trials(),
        resumed::trials(),
        runs::trials(),
        kept::trials(),
        sweep::trials(),
        names::trials(),
        deploy::trials(),
        #[cfg(unix)]
        quiet::trials(),
        stop::trials(),
        faults::trials(),
        kills::trials(),
        damaged::trials(),
        adapters::trials(),
        export::trials(),
        answers::trials(),
        base::trials(),
        peft::trials(),
        heads::trials(),
    ];
    libtest_mimic::run(&arguments, modules.into_iter().flatten().collect()).exit();
}
