//! The steps of a run on several ranks. Rank 0 has the optimiser and the books: it says which step comes, and with which factors.
//! Every rank computes the gradients of its parts of the step's images. Each adds up one stretch of all parts' gradients, in
//! the order of the images, and rank 0 has the sums. What is added to what, and in which order, does not depend on how many ranks
//! there are, nor do the bits. What the other ranks do is in [`led`](super::led).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::step::{Step, Term};
use crate::autograd::Gradient;
use crate::error::Result;
use crate::nn::Adapter;
use crate::tensor::Tensor;
use crate::world::World;

/// Steps that are timed each way, the first of which counts for nothing: kernels are compiled in it.
const TRIED: usize = 3;

/// Numbers that are added up at once: 32 MiB of each part, which every device binds.
const AT_ONCE: usize = 8 << 20;

/// What rank 0 has the others do; but for the last, factors follow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Their parts of the step of this number, which is the `index`-th of its epoch.
    Step {
        number: u64,
        epoch: usize,
        index: usize,
    },
    /// Their share of the images to validate with.
    Look,
    /// Nothing more.
    End,
}

/// How the steps of several parts are taken.
#[derive(Debug)]
enum Way {
    /// Rank 0 takes them: there is no other rank, no step has parts to share, or a step is cheaper than its exchange.
    One,
    /// All ranks take them.
    All,
    /// It is being measured which of these is the faster: seconds of the steps so far, by one and by all.
    Trying([Vec<f64>; 2]),
}

/// The ranks of a run, as rank 0 leads them.
#[derive(Debug)]
pub(super) struct Crew {
    world: World,
    /// Whether the others wait for orders.
    leads: bool,
    way: Way,
    /// Whether a step is begun and not put together: the others wait for its rest.
    amid: bool,
}

impl Crew {
    /// The ranks of `world` for steps that have parts to share, or not.
    pub(super) fn new(world: &World, shares: bool) -> Self {
        let shares = shares && !world.is_alone();
        Crew {
            world: world.clone(),
            leads: shares,
            way: match shares {
                true => Way::Trying([Vec::new(), Vec::new()]),
                false => Way::One,
            },
            amid: false,
        }
    }

    /// Whether the next step is taken by all, where it has so many parts.
    pub(super) fn shares_step_of(&self, parts: usize) -> bool {
        parts > 1
            && match &self.way {
                Way::One => false,
                Way::All => true,
                Way::Trying([one, all]) => all.len() < one.len(),
            }
    }

    /// Whether it is being measured.
    pub(super) fn tries(&self) -> bool {
        matches!(self.way, Way::Trying(_))
    }

    /// A step of several parts took so long, by all or by one; once it is known which is the faster, the seconds of a step by
    /// one and by all.
    pub(super) fn took(&mut self, shared: bool, seconds: f64) -> Option<[f64; 2]> {
        let Way::Trying(times) = &mut self.way else {
            return None;
        };
        times[usize::from(shared)].push(seconds);
        if times.iter().any(|times| times.len() < TRIED) {
            return None;
        }
        let [one, all] = [0, 1].map(|way| times[way][1..].iter().copied().fold(f64::MAX, f64::min));
        self.way = match all < one {
            true => Way::All,
            false => Way::One,
        };
        Some([one, all])
    }

    /// Whether images to validate with are shared.
    pub(super) fn looks(&self) -> bool {
        !matches!(self.way, Way::One)
    }

    /// Whether a step is begun and not put together.
    pub(super) fn is_amid(&self) -> bool {
        self.amid
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// Has the others begin their parts of a step with `adapter`.
    pub(super) fn begin(&mut self, adapter: &Adapter, step: (u64, usize, usize)) -> Result<()> {
        let (number, epoch, index) = step;
        self.amid = true;
        let order = Order::Step {
            number,
            epoch,
            index,
        };
        self.say(order, Some(adapter))
    }

    /// Puts the step with `adapter` together that the ranks have begun, of `parts`, of which `own` are this one's.
    pub(super) fn gather(
        &mut self,
        adapter: &Adapter,
        parts: usize,
        own: Vec<Step>,
    ) -> Result<Step> {
        let (world, factors) = (&self.world, adapter.trained());
        let kept = own.iter().map(|step| step.kept).max().unwrap_or(0);
        let Exchanged { mut sums, losses } = exchange(world, &factors, parts, own)?;
        let mut of_ranks = vec![losses.into_iter()];
        for rank in 1..world.size() {
            sums.extend(numbers(&world.receive(rank)?));
            let told = serde_json::from_slice(&world.receive(rank)?);
            let told: Vec<Vec<u32>> = told.map_err(|_| world.garbled(rank))?;
            let told = told.into_iter().map(|words| {
                let terms = words
                    .into_iter()
                    .map(|word| Term::Here(vec![f32::from_bits(word)]));
                terms.collect::<Vec<_>>()
            });
            of_ranks.push(told.collect::<Vec<_>>().into_iter());
        }
        let gradients = like(&factors, &sums).ok_or_else(|| world.garbled(1))?;
        let gradients = gradients.into_iter().map(|sum| Ok(sum?.into()));
        // In the order of the images.
        let losses = (0..parts).filter_map(|part| of_ranks[part % world.size()].next());
        let step = Step {
            losses: losses.flatten().collect(),
            gradients: gradients.collect::<Result<_>>()?,
            kept,
        };
        self.amid = false;
        Ok(step)
    }

    /// Has the others look at their share of the images to validate with.
    pub(super) fn look(&self, adapter: &Adapter) -> Result<()> {
        self.say(Order::Look, Some(adapter))
    }

    /// Lets the others go. Where a step ended half way they wait for it, and it is the whole job that ends.
    pub(super) fn end(&self) -> Result<()> {
        match self.leads && !self.amid {
            true => self.say(Order::End, None),
            false => Ok(()),
        }
    }

    fn say(&self, order: Order, adapter: Option<&Adapter>) -> Result<()> {
        let order = serde_json::to_vec(&order).expect("plain values become JSON");
        self.world.broadcast(Some(order))?;
        if let Some(adapter) = adapter {
            let factors = read(&adapter.trained())?;
            self.world.broadcast(Some(bytes(&factors)))?;
        }
        Ok(())
    }
}

/// Which of so many parts of a step are this rank's: all are rank 0's where they are not `shared`.
pub(super) fn own_parts(
    world: &World,
    shared: bool,
    parts: usize,
) -> impl Iterator<Item = usize> + use<> {
    let (first, every) = match (shared, world.leads()) {
        (true, _) => (world.rank(), world.size()),
        (false, true) => (0, 1),
        (false, false) => (parts, 1),
    };
    (first..parts).step_by(every)
}

/// The images of this rank's parts of some steps, part by part; whether a step of so many parts is `shared`.
pub(super) fn own_images(
    world: &World,
    plan: Plan,
    steps: &[Vec<usize>],
    shared: impl Fn(usize) -> bool,
) -> Vec<Vec<usize>> {
    let own = steps.iter().flat_map(|step| {
        let parts: Vec<&[usize]> = plan.parts(step).collect();
        let own = own_parts(world, shared(parts.len()), parts.len());
        own.map(|part| parts[part].to_vec()).collect::<Vec<_>>()
    });
    own.collect()
}

/// What comes of an exchange on one rank.
pub(super) struct Exchanged {
    /// This rank's stretch of the sum of all gradients.
    pub(super) sums: Vec<f32>,
    /// The loss of each of this rank's parts, in terms to add.
    pub(super) losses: Vec<Vec<Term>>,
}

/// Hands every rank its stretch of the gradients of this one's parts of a step, `own`, which are as long as `factors`, and adds
/// up this one's stretch of all `parts`.
pub(super) fn exchange(
    world: &World,
    factors: &[Tensor],
    parts: usize,
    own: Vec<Step>,
) -> Result<Exchanged> {
    let (rank, size) = (world.rank(), world.size());
    let (mut gradients, mut losses) = (Vec::new(), Vec::new());
    for step in own {
        let dense = step.gradients.iter().map(Gradient::dense);
        gradients.push(read(&dense.collect::<Result<Vec<_>>>()?)?);
        losses.push(step.losses);
    }
    let length = factors.iter().map(|factor| factor.shape().len()).sum();
    let stretch = |rank: usize| world.share(rank, length, 1);
    let own = |range: Range<usize>| -> Vec<f32> {
        let stretches = gradients.iter().map(|gradient| &gradient[range.clone()]);
        stretches.flatten().copied().collect()
    };
    for to in (0..size).filter(|&to| to != rank) {
        world.send(to, bytes(&own(stretch(to))))?;
    }
    let range = stretch(rank);
    let mut of_ranks = Vec::with_capacity(size);
    for from in 0..size {
        let all = match from == rank {
            true => own(range.clone()),
            false => numbers(&world.receive(from)?),
        };
        if all.len() != own_parts_of(from, size, parts) * range.len() {
            return Err(world.garbled(from));
        }
        of_ranks.push(all);
    }
    let mut sums = Vec::with_capacity(range.len());
    for start in (0..range.len()).step_by(AT_ONCE) {
        let some = AT_ONCE.min(range.len() - start);
        let mut sum: Option<Tensor> = None;
        // On the device, as a step that one rank takes adds its parts up.
        for part in 0..parts {
            let first = part / size * range.len() + start;
            let values = &of_ranks[part % size][first..first + some];
            let next = Tensor::from_slice(factors[0].gpu(), [some], values)?;
            sum = Some(match sum {
                Some(sum) => sum.plus(&next)?,
                None => next,
            });
        }
        if let Some(sum) = sum {
            sums.extend(sum.to_vec()?);
        }
    }
    Ok(Exchanged { sums, losses })
}

/// Tensors of the shapes of `others` with these numbers; `None` where they are too few.
pub(super) fn like(others: &[Tensor], numbers: &[f32]) -> Option<Vec<Result<Tensor>>> {
    let mut rest = numbers;
    let made = others.iter().map(|other| {
        let (values, after) = rest.split_at_checked(other.shape().len())?;
        rest = after;
        Some(Tensor::from_slice(
            other.gpu(),
            other.shape().clone(),
            values,
        ))
    });
    made.collect()
}

/// How many of so many parts are those of `rank`.
fn own_parts_of(rank: usize, size: usize, parts: usize) -> usize {
    (rank..parts).step_by(size).count()
}

/// The numbers of some tensors, one after the other, which come to the host together.
fn read(tensors: &[Tensor]) -> Result<Vec<f32>> {
    let mut coming = Vec::new();
    for tensor in tensors {
        coming.push(match tensor.parts().count() == 1 {
            true => Term::Coming(tensor.read()?),
            false => Term::Here(tensor.to_vec()?),
        });
    }
    let mut all = Vec::new();
    for numbers in coming {
        all.extend(numbers.wait()?);
    }
    Ok(all)
}

pub(super) fn bytes(numbers: &[f32]) -> Vec<u8> {
    bytemuck::cast_slice(numbers).to_vec()
}

pub(super) fn numbers(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.chunks_exact(size_of::<f32>());
    words
        .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect()
}
