//! The tiles of the matrix products: how much of them a workgroup takes, and what of it a thread. What every kernel
//! is given that imports `shaders/snippets/tile.wgsl`.

use super::kernel::Kernel;

/// A workgroup's tile: threads, 4 x 4 blocks of each thread, and depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Rows and columns of threads.
    threads: [usize; 2],
    /// Rows and columns of a thread's blocks.
    quads: [usize; 2],
    /// Elements of a row and a column that are in workgroup memory at a time.
    pub(crate) depth: usize,
    /// On cooperative matrices.
    matrix: Option<Matrices>,
}

/// How subgroups share a tile on cooperative matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Matrices {
    /// Of a matrix.
    side: usize,
    /// Of a subgroup.
    lanes: usize,
    /// Rows and columns of subgroups.
    grid: [usize; 2],
    /// Rows and columns of a subgroup's matrices.
    blocks: [usize; 2],
}

const fn tile(threads: [usize; 2], quads: [usize; 2], depth: usize) -> Tile {
    Tile {
        threads,
        quads,
        depth,
        matrix: None,
    }
}

impl Tile {
    /// 64 x 64: what is used where nothing was measured.
    pub(crate) const MIDDLE: Tile = tile([8, 8], [2, 2], 16);
    /// The same with four times the threads, which have a quarter of the sums: the fastest of an H200's in most shapes.
    pub(super) const BUSY: Tile = tile([16, 16], [1, 1], 16);
    /// The 64 x 64 of every device, which form a sum alike.
    pub(crate) const MIDDLES: [Tile; 2] = [Tile::MIDDLE, Tile::BUSY];
    /// 16 x 128: for few rows, as low-rank factors have.
    pub(crate) const FLAT: Tile = tile([4, 16], [1, 2], 16);
    /// A multiple of the depth of each of [`Tile::ALL`].
    pub(crate) const DEEPEST: usize = 16;
    /// What is worth measuring on a device.
    pub(crate) const ALL: [Tile; 8] = [
        Tile::MIDDLE,
        tile([16, 16], [2, 2], 8),
        tile([16, 16], [2, 2], 16),
        tile([16, 8], [2, 2], 16),
        tile([8, 16], [2, 2], 16),
        Tile::BUSY,
        tile([8, 16], [2, 1], 16),
        tile([8, 8], [1, 1], 16),
    ];

    /// The tiles worth measuring on cooperative matrices of `side`, for subgroups of `lanes`: those that divide evenly.
    pub(crate) fn matrices(side: usize, lanes: usize) -> Vec<Tile> {
        let shapes = [
            ([2, 2], [2, 2]),
            ([2, 2], [2, 4]),
            ([4, 2], [2, 4]),
            ([2, 2], [4, 4]),
        ];
        let tile = |(grid, blocks): ([usize; 2], [usize; 2])| {
            let [rows, columns] = [0, 1].map(|i| grid[i] * blocks[i] * side);
            let (threads, quads) = (grid[0] * grid[1] * lanes, columns / 4);
            let thread_rows = threads / quads;
            // A thread has one quad of columns, and what leaves at a time is whole matrices.
            let even = threads.is_multiple_of(quads)
                && rows.is_multiple_of((thread_rows * 4).max(1))
                && (thread_rows * 4).is_multiple_of(side);
            even.then(|| Tile {
                threads: [thread_rows, quads],
                quads: [rows / (thread_rows * 4), 1],
                depth: 2 * side,
                matrix: Some(Matrices {
                    side,
                    lanes,
                    grid,
                    blocks,
                }),
            })
        };
        shapes.into_iter().filter_map(tile).collect()
    }

    /// The same, less deep: for products whose depth has no larger divisor.
    pub(crate) fn at_depth(self, depth: usize) -> Tile {
        Tile { depth, ..self }
    }

    /// Rows and columns.
    pub(crate) fn size(self) -> [usize; 2] {
        [0, 1].map(|i| self.threads[i] * self.quads[i] * 4)
    }

    /// Workgroups for a product of so many rows and columns.
    pub(crate) fn groups(self, rows: usize, columns: usize) -> usize {
        let [r, c] = self.size();
        rows.div_ceil(r) * columns.div_ceil(c)
    }

    /// Loop iterations of a thread for so much depth, for the limit of software drivers.
    pub(crate) fn trips(self, depth: usize) -> usize {
        let threads = self.threads[0] * self.threads[1];
        let loads = self.size().map(|s| (self.depth * s / 4).div_ceil(threads));
        depth.div_ceil(self.depth) * (self.depth + loads[0] + loads[1] + 1)
    }

    /// Whether a device with these limits runs it.
    pub(crate) fn fits(self, limits: &wgpu::Limits) -> bool {
        let threads = (self.threads[0] * self.threads[1]) as u32;
        let [r, c] = self.size();
        let bytes = match self.matrix {
            None => self.depth * (r + c + 8) * 4,
            Some(_) => self.depth * (r + c + 16) * 2 + self.threads[0] * 4 * (c + 4) * 4,
        };
        threads <= limits.max_compute_invocations_per_workgroup
            && threads <= limits.max_compute_workgroup_size_x
            && bytes <= limits.max_compute_workgroup_storage_size as usize
    }

    /// `kernel` with what `shaders/snippets/tile.wgsl` asks for.
    pub(crate) fn give(self, kernel: Kernel) -> Kernel {
        let kernel = kernel
            .constant("THREAD_ROWS", self.threads[0])
            .constant("THREAD_COLUMNS", self.threads[1])
            .constant("ROW_QUADS", self.quads[0])
            .constant("COLUMN_QUADS", self.quads[1])
            .constant("DEPTH", self.depth);
        let Some(matrices) = self.matrix else {
            return kernel.import("tile_core", "snippets/tile_registers.wgsl");
        };
        kernel
            .import("tile_core", "snippets/tile_matrix.wgsl")
            .import(
                "matrices",
                // `select.rs` takes no other sides.
                if matrices.side == 8 {
                    "snippets/matrices8.wgsl"
                } else {
                    "snippets/matrices16.wgsl"
                },
            )
            .constant("LANES", matrices.lanes)
            .constant("GRID_ROWS", matrices.grid[0])
            .constant("GRID_COLUMNS", matrices.grid[1])
            .constant("BLOCK_ROWS", matrices.blocks[0])
            .constant("BLOCK_COLUMNS", matrices.blocks[1])
    }
}

/// As names and files call it: `64x64x16.8x8` has 8 x 8 threads, `matrix16.64x64x32` cooperative matrices.
impl std::fmt::Display for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ([rows, columns], [y, x]) = (self.size(), self.threads);
        match self.matrix {
            None => write!(f, "{rows}x{columns}x{}.{y}x{x}", self.depth),
            Some(Matrices { side, .. }) => {
                write!(f, "matrix{side}.{rows}x{columns}x{}.{y}x{x}", self.depth)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tile;

    const MATRICES: [(usize, usize); 3] = [(16, 32), (16, 64), (8, 8)];

    #[test]
    fn a_thread_stays_with_its_quad_of_columns() {
        let matrices = MATRICES.map(|(s, l)| Tile::matrices(s, l));
        let matrices = matrices.into_iter().flatten();
        for tile in Tile::ALL.into_iter().chain([Tile::FLAT]).chain(matrices) {
            let threads = tile.threads[0] * tile.threads[1];
            assert!(threads.is_multiple_of(tile.size()[1] / 4), "{tile}");
        }
    }

    #[test]
    fn threads_fetch_whole_lines_of_quads() {
        let matrices = MATRICES.map(|(s, l)| Tile::matrices(s, l));
        let matrices = matrices.into_iter().flatten();
        for tile in Tile::ALL.into_iter().chain([Tile::FLAT]).chain(matrices) {
            for quads in tile.size().map(|size| size / 4) {
                let threads = tile.threads[0] * tile.threads[1];
                assert!(threads.is_multiple_of(quads), "{tile}");
                assert!(tile.depth.is_multiple_of(threads / quads), "{tile}");
            }
        }
        for tile in Tile::ALL {
            assert!(Tile::DEEPEST.is_multiple_of(tile.depth), "{tile}");
        }
    }

    #[test]
    fn matrix_tiles_are_shared_evenly_and_leave_in_whole_matrices() {
        for (side, lanes) in MATRICES {
            let tiles = Tile::matrices(side, lanes);
            assert!(!tiles.is_empty(), "{side} {lanes}");
            for tile in tiles {
                let Some(matrices) = tile.matrix else {
                    panic!("{tile} is on registers");
                };
                let size = [0, 1].map(|i| matrices.grid[i] * matrices.blocks[i] * side);
                assert_eq!(tile.size(), size, "{tile}");
                let subgroups = matrices.grid[0] * matrices.grid[1];
                assert_eq!(
                    tile.threads[0] * tile.threads[1],
                    subgroups * lanes,
                    "{tile}"
                );
                assert!((tile.threads[0] * 4).is_multiple_of(side), "{tile}");
            }
        }
        // Too few threads for the numbers of a matrix.
        assert_eq!(Tile::matrices(16, 8), []);
    }
}
