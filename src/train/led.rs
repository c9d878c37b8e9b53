//! The steps of a run on a rank that is led: what rank 0's [`crew`](super::crew) orders is done, until it orders nothing more.

use super::crew::{Exchanged, Order, bytes, exchange, like, numbers, own_images, own_parts};
use super::predict::answers_by;
use super::prefix::Prefix;
use super::step::{Cut, Network};
use super::task::Task;
use crate::error::Result;
use crate::nn::Adapter;
use crate::world::World;

/// Does what rank 0 orders, until it orders nothing more. `start` has the modules of the adapter that is trained.
///
/// # Errors
/// What the device or an image file reported, and [`Error::Rank`](crate::Error::Rank) where another rank is gone.
pub fn serve(prefix: &mut Prefix, task: Task, start: &Adapter) -> Result<()> {
    if !task.plan.shares_steps(task.split.train.len()) {
        return Ok(());
    }
    let world = prefix.world().clone();
    let served = Server {
        world: world.clone(),
        network: Network::after(prefix, task.images.transform().size, task.plan.checkpoint),
        weights: task.class_weights(start.classes(prefix.base().arch())),
        task,
        start,
    }
    .run(prefix);
    prefix.leave_world();
    served
}

/// A rank that is led.
struct Server<'a> {
    world: World,
    network: Network,
    weights: Option<Vec<f32>>,
    task: Task<'a>,
    start: &'a Adapter,
}

impl Server<'_> {
    fn run(&self, prefix: &mut Prefix) -> Result<()> {
        let mut order = self.hear()?;
        loop {
            order = match order {
                Order::End => return Ok(()),
                Order::Look => {
                    let adapter = self.factors()?;
                    let which = &self.task.split.validation;
                    answers_by(
                        &self.world,
                        prefix,
                        self.task.images,
                        which,
                        &adapter,
                        |_, _| Ok(()),
                    )?;
                    self.hear()?
                }
                Order::Step { epoch, index, .. } => {
                    let next = self.steps(prefix, epoch, index, order)?;
                    // A step that there is none of is nobody's order.
                    (next != order)
                        .then_some(next)
                        .ok_or_else(|| self.world.garbled(0))?
                }
            };
        }
    }

    fn hear(&self) -> Result<Order> {
        let said = self.world.broadcast(None)?;
        serde_json::from_slice(&said).map_err(|_| self.world.garbled(0))
    }

    /// The adapter with the factors that rank 0 says.
    fn factors(&self) -> Result<Adapter> {
        let said = numbers(&self.world.broadcast(None)?);
        let factors = like(&self.start.trained(), &said).ok_or_else(|| self.world.garbled(0))?;
        Ok(self
            .start
            .with(&factors.into_iter().collect::<Result<Vec<_>>>()?))
    }

    /// Takes this rank's parts of the steps of `epoch` from the `index`-th on, of which `order` is the first, as long as one
    /// follows the other; what is ordered then.
    fn steps(
        &self,
        prefix: &mut Prefix,
        epoch: usize,
        index: usize,
        mut order: Order,
    ) -> Result<Order> {
        let Task { images, plan, .. } = self.task;
        let steps = self.task.steps(epoch, index);
        let own = own_images(&self.world, plan, &steps, |parts| parts > 1);
        let mut inputs = prefix.inputs(images, own);
        for (at, step) in steps.iter().enumerate() {
            let Order::Step {
                number,
                epoch: of,
                index: which,
            } = order
            else {
                return Ok(order);
            };
            if (of, which) != (epoch, index + at) {
                return Ok(order);
            }
            let adapter = self.factors()?;
            let cut = Cut::new(self.task, self.weights.as_deref(), step, number)?;
            let mut own = Vec::new();
            for part in own_parts(&self.world, cut.parts() > 1, cut.parts()) {
                let Some(input) = inputs.next() else {
                    break;
                };
                own.push(
                    self.network
                        .step(&input?, &adapter, &cut.asked(part, None))?,
                );
            }
            let factors = adapter.trained();
            let Exchanged { sums, losses } = exchange(&self.world, &factors, cut.parts(), own)?;
            self.world.send(0, bytes(&sums))?;
            let mut told: Vec<Vec<u32>> = Vec::new();
            for terms in losses {
                let mut words = Vec::new();
                for term in terms {
                    words.extend(term.wait()?.first().map(|word| word.to_bits()));
                }
                told.push(words);
            }
            let told = serde_json::to_vec(&told).expect("numbers become JSON");
            self.world.send(0, told)?;
            order = self.hear()?;
        }
        Ok(order)
    }
}
