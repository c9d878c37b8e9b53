//! The tests, cheapest first. Those that need a device are reported as ignored where there is none.

mod adapters;
mod answers;
mod base;
mod cli;
mod convert;
mod data;
mod doctor;
mod estimate;
mod export;
mod family;
mod fetch;
mod files;
mod floors;
mod heads;
mod imports;
mod library;
mod ops;
mod optim;
mod parity;
mod peft;
mod pictures;
mod portable;
mod pth;
mod quiet;
mod refused;
mod runs;
mod scores;
mod server;
mod shaders;
mod support;
mod training;
mod weights;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let modules = [
        floors::trials(),
        shaders::trials(),
        data::trials(),
        pictures::trials(),
        doctor::trials(),
        files::trials(),
        weights::trials(),
        fetch::trials(),
        refused::trials(),
        scores::trials(),
        pth::trials(),
        convert::trials(),
        ops::trials(),
        optim::trials(),
        library::trials(),
        parity::trials(),
        family::trials(),
        portable::trials(),
        training::trials(),
        cli::trials(),
        estimate::trials(),
        runs::trials(),
        quiet::trials(),
        adapters::trials(),
        export::trials(),
        answers::trials(),
        base::trials(),
        peft::trials(),
        heads::trials(),
    ];
    libtest_mimic::run(&arguments, modules.into_iter().flatten().collect()).exit();
}
