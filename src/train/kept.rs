//! Numbers of every image that are computed once and kept: on the device while they fit, then in host memory, then in a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Add;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu};
use crate::tensor::Tensor;

/// Bytes of device memory that rows are given at a time.
const BLOCK: usize = 32 << 20;

/// Where rows may be kept.
#[derive(Clone, Debug)]
pub struct Room {
    /// Bytes on the device, and as many again in host memory.
    pub bytes: u64,
    /// The folder for a file of what does not fit; it has no name and goes with the run.
    pub folder: PathBuf,
}

impl Room {
    /// `bytes`, and beyond them a file in the system's folder for such.
    pub fn of(bytes: u64) -> Self {
        Room {
            bytes,
            folder: std::env::temp_dir(),
        }
    }

    /// The rest once `bytes` are promised to somebody else.
    pub fn without(&self, bytes: u64) -> Self {
        Room {
            bytes: self.bytes.saturating_sub(bytes),
            folder: self.folder.clone(),
        }
    }
}

/// Bytes that rows take, by their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// On the device.
    pub device: u64,
    /// In host memory.
    pub host: u64,
    /// In a file.
    pub file: u64,
}

impl Takes {
    /// Of so many rows of `length` bytes.
    pub(super) fn rows(rows: usize, length: usize, room: &Room) -> Self {
        let fit = (room.bytes / length as u64) as usize;
        let on_device = rows.min(fit);
        let in_host = (rows - on_device).min(fit);
        let block = in_block(length, rows);
        let bytes = |rows: usize| (rows * length) as u64;
        Takes {
            device: bytes(on_device.div_ceil(block) * block),
            host: bytes(in_host),
            file: bytes(rows - on_device - in_host),
        }
    }
}

impl Add for Takes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Takes {
            device: self.device + other.device,
            host: self.host + other.host,
            file: self.file + other.file,
        }
    }
}

/// Rows of `length` bytes of one block where there are so many.
fn in_block(length: usize, rows: usize) -> usize {
    (BLOCK / length).clamp(1, rows.max(1))
}

/// A row's place.
#[derive(Clone)]
enum Place {
    Device(usize),
    Host(usize),
    File(usize),
    Lent(Lent),
}

/// A row in a file that somebody else keeps.
#[derive(Clone)]
pub(super) struct Lent {
    pub(super) file: Arc<File>,
    /// The byte that it begins at.
    pub(super) offset: u64,
}

/// How many rows are kept.
pub(super) fn rows(wanted: &[bool]) -> usize {
    wanted.iter().filter(|&&wanted| wanted).count()
}

/// One row of bytes for each of some positions of an image store.
pub(super) struct Kept {
    gpu: Gpu,
    /// Of which positions rows are kept; of those beyond its end none are.
    wanted: Arc<[bool]>,
    /// How many those are.
    rows: usize,
    /// Bytes in a row, a multiple of 4.
    length: usize,
    room: Room,
    places: Vec<Option<Place>>,
    blocks: Vec<Buffer>,
    on_device: usize,
    host: Vec<Vec<u8>>,
    file: Option<File>,
    in_file: usize,
    /// The rows asked for last, which a run of one batch an epoch asks for every time.
    last: Option<(Vec<usize>, Tensor)>,
}

impl Kept {
    /// No row yet of `length` bytes each.
    pub(super) fn new(gpu: &Gpu, wanted: &Arc<[bool]>, length: usize, room: Room) -> Self {
        Kept {
            gpu: gpu.clone(),
            wanted: wanted.clone(),
            rows: rows(wanted),
            length,
            room,
            places: vec![None; wanted.len()],
            blocks: Vec::new(),
            on_device: 0,
            host: Vec::new(),
            file: None,
            in_file: 0,
            last: None,
        }
    }

    /// Whether all rows would fit without a file.
    pub(super) fn fit(&self) -> bool {
        (self.rows * self.length) as u64 <= 2 * self.room.bytes
    }

    /// Bytes of a row.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn has(&self, image: usize) -> bool {
        self.places.get(image).is_some_and(Option::is_some)
    }

    /// Whether its row is to be kept and is not there yet.
    pub(super) fn lacks(&self, image: usize) -> bool {
        self.wanted.get(image).is_some_and(|&wanted| wanted) && !self.has(image)
    }

    /// Whether every row that is to be kept is there.
    pub(super) fn complete(&self) -> bool {
        let mut rows = self.wanted.iter().zip(&self.places);
        rows.all(|(&wanted, place)| !wanted || place.is_some())
    }

    /// Keeps the row of an image.
    ///
    /// # Errors
    /// What the device reported, and [`Error::Io`] where the disk is full.
    pub(super) fn put(&mut self, image: usize, row: &[u8]) -> Result<()> {
        self.put_or_lend(image, row, None)
    }

    /// The same; where it would go to a file and is in one already it stays there.
    ///
    /// # Errors
    /// As [`Kept::put`].
    pub(super) fn put_or_lend(
        &mut self,
        image: usize,
        row: &[u8],
        lent: Option<Lent>,
    ) -> Result<()> {
        assert_eq!(row.len(), self.length, "rows have one length");
        let bytes = self.length;
        let place = if self.fits_device() {
            let (block, offset) = self.next_block()?;
            self.gpu.write(&self.blocks[block], offset, row)?;
            self.on_device += 1;
            Place::Device(self.on_device - 1)
        } else if self.fits(self.host.len()) {
            self.host.push(row.to_vec());
            Place::Host(self.host.len() - 1)
        } else if let Some(lent) = lent {
            Place::Lent(lent)
        } else {
            let folder = &self.room.folder;
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(
                    tempfile::tempfile_in(folder).map_err(Error::io(folder, "make a file"))?,
                ),
            };
            at(file, folder, (self.in_file * bytes) as u64)?
                .write_all(row)
                .map_err(Error::io(folder, "write the cache"))?;
            self.in_file += 1;
            Place::File(self.in_file - 1)
        };
        self.places[image] = Some(place);
        Ok(())
    }

    /// Whether the device has room for one more row.
    pub(super) fn fits_device(&self) -> bool {
        self.fits(self.on_device)
    }

    /// Keeps row `index` of `rows`, [N, length / 4] on the device, as that of an image, where there is room for it there: it
    /// does not come to the host. Whether there was.
    ///
    /// # Errors
    /// What the device reported.
    pub(super) fn put_from(&mut self, image: usize, rows: &Tensor, index: usize) -> Result<bool> {
        let row = rows.shape().row_len() * 4;
        assert_eq!(row, self.length, "rows have one length");
        if !self.fits_device() {
            return Ok(false);
        }
        let (block, offset) = self.next_block()?;
        let (from, bytes) = (rows.buffer("cache")?, row as u64);
        let to = &self.blocks[block];
        self.gpu
            .copy(from, index as u64 * bytes, to, offset, bytes)?;
        self.places[image] = Some(Place::Device(self.on_device));
        self.on_device += 1;
        Ok(true)
    }

    /// Whether there is room for one more than `count` rows, on the device or in host memory.
    fn fits(&self, count: usize) -> bool {
        ((count + 1) * self.length) as u64 <= self.room.bytes
    }

    /// The rows of `images` as a tensor [N, length / 4]; all of them have been put.
    ///
    /// # Errors
    /// What the device reported.
    pub(super) fn tensor(&mut self, images: &[usize]) -> Result<Tensor> {
        if let Some((_, tensor)) = self.last.as_ref().filter(|(rows, _)| rows == images) {
            return Ok(tensor.clone());
        }
        let bytes = self.length as u64;
        let result = Tensor::empty(&self.gpu, [images.len(), self.length / 4])?;
        let to = result.buffer("cache")?;
        let mut row = Vec::new();
        for (index, &image) in images.iter().enumerate() {
            let offset = index as u64 * bytes;
            match self.places[image].clone().expect("the row has been put") {
                Place::Device(place) => {
                    let (block, from) = self.block(place);
                    self.gpu
                        .copy(&self.blocks[block], from, to, offset, bytes)?;
                }
                Place::Host(place) => {
                    self.gpu.write(to, offset, &self.host[place])?;
                }
                Place::File(place) => {
                    row.resize(self.length, 0);
                    let folder = &self.room.folder;
                    let file = self.file.as_mut().expect("rows are in the file");
                    at(file, folder, place as u64 * bytes)?
                        .read_exact(&mut row)
                        .map_err(Error::io(folder, "read the cache"))?;
                    self.gpu.write(to, offset, &row)?;
                }
                Place::Lent(Lent { file, offset: from }) => {
                    row.resize(self.length, 0);
                    let folder = &self.room.folder;
                    at(&file, folder, from)?
                        .read_exact(&mut row)
                        .map_err(Error::io(folder, "read the cache"))?;
                    self.gpu.write(to, offset, &row)?;
                }
            }
        }
        self.last = Some((images.to_vec(), result.clone()));
        Ok(result)
    }

    /// Rows of one block.
    fn in_block(&self) -> usize {
        in_block(self.length, self.rows)
    }

    /// The block that takes the next row, and the byte there.
    fn next_block(&mut self) -> Result<(usize, u64)> {
        let (block, offset) = self.block(self.on_device);
        if block == self.blocks.len() {
            let bytes = self.in_block() * self.length;
            self.blocks.push(self.gpu.alloc(bytes as u64)?);
        }
        Ok((block, offset))
    }

    /// The block of row `place` on the device, and its byte there.
    fn block(&self, place: usize) -> (usize, u64) {
        let rows = self.in_block();
        (place / rows, (place % rows * self.length) as u64)
    }
}

fn at<'a>(mut file: &'a File, folder: &Path, offset: u64) -> Result<&'a File> {
    file.seek(SeekFrom::Start(offset))
        .map_err(Error::io(folder, "read the cache"))?;
    Ok(file)
}
