//! Where each layer of VGG19 could stand on a card, from what a card can do and what the recorded instructions allow:
//! MODEL.md's tables. Arithmetic, and no measurement.

use std::fmt::Write;

use super::record::{Row, Table};

/// A card, by its maker's data sheet.
struct Card {
    name: &'static str,
    chip: &'static str,
    /// Compute units, and their clock in 1/s.
    units: f64,
    clock: f64,
    /// Bytes a second from memory.
    memory: f64,
    /// Vector units of a compute unit, and clocks that each takes for an instruction of 64 lanes.
    simds: f64,
    clocks: f64,
}

const CARDS: [Card; 2] = [
    Card {
        name: "RX 6900 XT",
        chip: "navi21",
        units: 80.0,
        clock: 2.25e9,
        memory: 512e9,
        simds: 2.0,
        clocks: 2.0,
    },
    Card {
        name: "RX 7900 XTX",
        chip: "navi31",
        units: 96.0,
        clock: 2.5e9,
        memory: 960e9,
        simds: 2.0,
        clocks: 2.0,
    },
];

/// Clocks of a compute unit for 16 bytes of workgroup memory for each of 64 lanes, at 128 bytes a clock.
const SHARED: f64 = 8.0;
/// Seconds from the end of one dispatch to the beginning of the next that needs it: assumed.
const LAUNCH: f64 = 4e-6;
/// The tile where nothing was measured, and that of the first layer.
const TILE: &str = "64x64x16.8x8";
const FIRST: &str = "ragged.64x64x4.8x8";
/// Bytes of a chunk of Winograd's transformed input: src/conv/rows/winograd.rs.
const CHUNK: f64 = 268_435_456.0;
/// Rows that `linear` takes for one reading of the weight.
const ROWS: f64 = 8.0;

/// Convolutions: name, channels in, channels out, side, how many alike, and how many of them are pooled.
const CONVOLUTIONS: [(&str, f64, f64, f64, f64, f64); 9] = [
    ("conv1_1", 3.0, 64.0, 224.0, 1.0, 0.0),
    ("conv1_2", 64.0, 64.0, 224.0, 1.0, 1.0),
    ("conv2_1", 64.0, 128.0, 112.0, 1.0, 0.0),
    ("conv2_2", 128.0, 128.0, 112.0, 1.0, 1.0),
    ("conv3_1", 128.0, 256.0, 56.0, 1.0, 0.0),
    ("conv3_2 to 4", 256.0, 256.0, 56.0, 3.0, 1.0),
    ("conv4_1", 256.0, 512.0, 28.0, 1.0, 0.0),
    ("conv4_2 to 4", 512.0, 512.0, 28.0, 3.0, 1.0),
    ("conv5_1 to 4", 512.0, 512.0, 14.0, 4.0, 1.0),
];
const LINEARS: [(&str, f64, f64); 3] = [
    ("classifier.0", 25_088.0, 4096.0),
    ("classifier.3", 4096.0, 4096.0),
    ("classifier.6", 4096.0, 1000.0),
];

impl Card {
    /// Multiplications and additions a second.
    fn peak(&self) -> f64 {
        self.units * self.simds * self.clock * 64.0 / self.clocks * 2.0
    }

    /// The share of the peak that a depth step's instructions allow where enough waves are there: other waves' scalar and memory
    /// instructions go beside the vector unit's, and all vector units of a compute unit share the workgroup's memory.
    fn allowed(&self, row: &Row) -> f64 {
        let step = &row.step;
        let vector = step.vector as f64 * self.clocks;
        let shared = step.shared as f64 * SHARED * self.simds;
        step.multiply_adds as f64 * self.clocks / vector.max(shared)
    }
}

/// What one layer takes.
struct Cost {
    operations: f64,
    bytes: f64,
    launches: f64,
    seconds: f64,
}

/// MODEL.md's tables.
pub fn tables(table: &Table) -> Result<String, String> {
    let mut text = String::new();
    for card in &CARDS {
        products(&mut text, card, table)?;
    }
    for batch in [1.0, 32.0] {
        layers(&mut text, table, batch)?;
    }
    Ok(text)
}

fn row<'a>(table: &'a Table, card: &Card, kernel: &str) -> Result<&'a Row, String> {
    let key = (card.chip.to_string(), kernel.to_string());
    let found = table.rows.get(&key);
    found.ok_or_else(|| format!("the table has no {kernel} for {}", card.chip))
}

/// The share that each product's kernel allows.
fn products(text: &mut String, card: &Card, table: &Table) -> Result<(), String> {
    let Card { name, chip, .. } = card;
    let head = format!(
        "\n{name} ({chip}), {:.1} TFLOP/s\n\n| kernel | multiply-adds of all instructions | of the vector unit's | share of the \
         peak allowed | waves |\n|---|---|---|---|---|\n",
        card.peak() / 1e12
    );
    *text += &head;
    let products = [
        "conv3x3.forward",
        "winograd.rows_product",
        "matmul.forward",
        "linear.",
    ];
    for ((of, kernel), row) in &table.rows {
        let named = products.iter().any(|product| kernel.starts_with(product));
        if of != chip || !named || kernel.contains("f16") || !row.step.looped {
            continue;
        }
        let step = &row.step;
        let line = writeln!(
            text,
            "| {kernel} | {:.0} % | {:.0} % | {:.0} % | {} |",
            step.share(),
            100.0 * step.multiply_adds as f64 / step.vector as f64,
            100.0 * card.allowed(row),
            row.waves
        );
        line.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Every layer of a forward pass, and the whole.
fn layers(text: &mut String, table: &Table, batch: f64) -> Result<(), String> {
    *text += &format!("\nForward, batch {batch}\n\n| layer | GFLOP | MB | launches |");
    for card in &CARDS {
        *text += &format!(" {}, ms |", card.name);
    }
    *text += "\n|---|---|---|---|---|---|\n";
    let mut sums = vec![0.0; CARDS.len()];
    let mut whole = [0.0; 3];
    let mut line = |name: &str, alike: f64, costs: Vec<Cost>| {
        let first = &costs[0];
        let figures = [first.operations / 1e9, first.bytes / 1e6, first.launches];
        let figures = figures.map(|figure| figure * alike);
        whole
            .iter_mut()
            .zip(figures)
            .for_each(|(sum, figure)| *sum += figure);
        *text += &format!(
            "| {name} | {:.2} | {:.1} | {:.0} |",
            figures[0], figures[1], figures[2]
        );
        for (sum, cost) in sums.iter_mut().zip(&costs) {
            let milliseconds = (cost.seconds + cost.launches * LAUNCH) * alike * 1e3;
            *sum += milliseconds;
            *text += &format!(" {milliseconds:.3} |");
        }
        *text += "\n";
    };
    for (name, cin, cout, side, alike, pooled) in CONVOLUTIONS {
        // A pooled layer stores a quarter of its planes.
        let stored = 1.0 - 0.75 * pooled / alike;
        let costs = CARDS.iter().map(|card| match cin < 32.0 {
            true => direct(card, table, [cin, cout, side, batch]),
            false => winograd(card, table, [cin, cout, side, batch], stored),
        });
        line(name, alike, costs.collect::<Result<_, _>>()?);
    }
    for (name, columns, outs) in LINEARS {
        let costs = CARDS
            .iter()
            .map(|card| linear(card, table, [columns, outs, batch]));
        line(name, 1.0, costs.collect::<Result<_, _>>()?);
    }
    *text += &format!(
        "| all | {:.1} | {:.0} | {:.0} |",
        whole[0], whole[1], whole[2]
    );
    for sum in &sums {
        *text += &format!(" {sum:.2}, {:.0} images/s |", batch * 1e3 / sum);
    }
    *text += "\n";
    Ok(())
}

/// The first layer, as an implicit matrix product.
fn direct(card: &Card, table: &Table, [cin, cout, side, n]: [f64; 4]) -> Result<Cost, String> {
    let row = row(table, card, &format!("conv3x3.forward.{FIRST}"))?;
    let pixels = side * side * n;
    let operations = 2.0 * 9.0 * cin * cout * pixels;
    // The padded channels are multiplied too.
    let done = 2.0 * 9.0 * 4.0 * cout * pixels;
    let bytes = 4.0 * (cin + cout) * pixels;
    Ok(Cost {
        operations,
        bytes,
        launches: 1.0,
        seconds: (done / (card.peak() * card.allowed(row))).max(bytes / card.memory),
    })
}

/// By F(4x4, 3x3) in its three dispatches, which leave a share of the result's planes `stored`. All that one leaves and the
/// next takes goes by way of memory.
fn winograd(
    card: &Card,
    table: &Table,
    [cin, cout, side, n]: [f64; 4],
    stored: f64,
) -> Result<Cost, String> {
    let row = row(table, card, &format!("winograd.rows_product.{TILE}"))?;
    let (pixels, tiles) = (side * side * n, (side / 4.0).ceil().powi(2) * n);
    let (v, m, u) = (
        36.0 * cin * tiles * 4.0,
        36.0 * cout * tiles * 4.0,
        36.0 * cin * cout * 4.0,
    );
    let chunks = (v.max(m) / CHUNK).ceil();
    let operations = 2.0 * 36.0 * cin * cout * tiles;
    let product =
        (operations / (card.peak() * card.allowed(row))).max((v + m + u * chunks) / card.memory);
    let (input, output) = (4.0 * cin * pixels + v, m + 4.0 * cout * pixels * stored);
    Ok(Cost {
        operations,
        bytes: input + output + v + m + u * chunks,
        launches: 3.0 * chunks,
        seconds: product + (input + output) / card.memory,
    })
}

/// A linear layer: its weight is read once for so many rows.
fn linear(card: &Card, table: &Table, [columns, outs, n]: [f64; 3]) -> Result<Cost, String> {
    let row = row(table, card, "linear.forward_quads.f32.8x4")?;
    let operations = 2.0 * columns * outs * n;
    let bytes = 4.0 * columns * outs * (n / ROWS).ceil();
    // Eight rows are computed for one, too.
    let done = 2.0 * columns * outs * n.max(ROWS);
    Ok(Cost {
        operations,
        bytes,
        launches: 2.0,
        seconds: (done / (card.peak() * card.allowed(row))).max(bytes / card.memory),
    })
}
