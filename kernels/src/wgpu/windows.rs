//! How the memory of a launch is bound: each block once, and in windows where it is larger than a binding can be.
//!
//! A binding covers a limited number of bytes (128 MiB is what WebGPU guarantees), a buffer of the system too, and two
//! bindings that may be written must not overlap. So what is bound are the blocks of a launch and not its operands:
//! operands in one block share its array, and a block that is too large is bound as consecutive windows, of which the
//! unit's accessors pick one by the index (arrays.rs). Their bytes are a power of two, so that this is a shift.

use super::adapter::{Limits, missing};
use super::arrays::Array;
use super::memory::{ALIGN, Block};
use super::pipeline::Bound;
use super::recorder::PLACES_BYTES;
use super::source::MAX_BINDINGS;
use super::{Access, Slot, Unit};
use crate::Result;

impl Limits {
    /// The bytes of a window.
    pub(crate) fn window_bytes(&self) -> u64 {
        1 << self.binding_bytes.min(self.buffer_bytes).max(ALIGN).ilog2()
    }

    /// The bytes of each buffer of the system but the last where a block needs several of them: whole windows.
    pub(crate) fn segment_bytes(&self) -> u64 {
        (self.buffer_bytes / self.window_bytes()).max(1) * self.window_bytes()
    }

    /// The bytes that one binding covers at most.
    fn most_bytes(&self) -> u64 {
        self.binding_bytes.min(self.segment_bytes())
    }

    /// How many bindings a range takes.
    fn windows(&self, range: Block) -> u64 {
        let is_one = range.size <= self.most_bytes() && range.start + range.size <= self.segment_bytes();
        if is_one { 1 } else { range.size.div_ceil(self.window_bytes()) }
    }

    /// What is bound for a range: its windows, each in one buffer.
    pub(crate) fn pieces(&self, range: Block) -> impl Iterator<Item = Block> + use<> {
        let (windows, segment) = (self.windows(range), self.segment_bytes());
        let step = if windows == 1 { range.size } else { self.window_bytes() };
        (0..windows).map(move |window| {
            let at = range.start + window * step;
            Block {
                buffer: range.buffer + (at / segment) as u32,
                start: at % segment,
                size: step.min(range.size - window * step),
            }
        })
    }

    /// The part of a block that bytes `from` to `to` of it need. A block that one binding covers is bound whole, so that
    /// all its views have the same bind groups.
    fn range(&self, block: Block, [from, to]: [u64; 2]) -> (Block, u64) {
        if block.size <= self.most_bytes() {
            return (block, 0);
        }
        // Windows must not reach from one buffer into the next, so they start with the buffers where there are several.
        let step = if block.size > self.segment_bytes() { self.window_bytes() } else { ALIGN };
        let base = from.min(block.size - 4) / step * step;
        let end = to.clamp(base + 4, block.size).next_multiple_of(4);
        let (segment, at) = (self.segment_bytes(), block.start + base);
        let buffer = block.buffer + (at / segment) as u32;
        (Block { buffer, start: at % segment, size: end - base }, base)
    }
}

/// The operands in one block.
#[derive(Clone, Copy)]
struct Shared {
    block: Block,
    /// The bytes of it that they reach.
    reached: [u64; 2],
    array: Array,
}

/// Finds out how the slots of a unit are bound: says in the unit's bindings which arrays they are, and in `places` where
/// in these their data start.
///
/// # Errors
/// Memory of another device; more bindings than this one has.
#[track_caller]
pub(crate) fn arrange(
    unit: &mut Unit,
    slots: &[Option<Slot>; MAX_BINDINGS],
    places: &mut [u32; PLACES_BYTES / 4],
    limits: &Limits,
) -> Result<Bound> {
    let mut shared: [Option<Shared>; MAX_BINDINGS] = [None; MAX_BINDINGS];
    let mut numbers = [0; MAX_BINDINGS];
    for ((binding, slot), number) in unit.bound().zip(slots.iter().flatten()).zip(&mut numbers) {
        let block = slot.block.ok_or_else(|| missing("an argument is on another device".into()))?;
        let (array, [from, to]) = (Array::of(&binding), slot.reached_bytes());
        let is_same = |one: &Option<Shared>| one.is_none_or(|one| one.block == block);
        *number = shared.iter().position(is_same).unwrap_or(0);
        let one = shared[*number].get_or_insert(Shared { block, reached: [from, to], array });
        one.array.item = one.array.item.shared_with(array.item);
        one.reached = [one.reached[0].min(from), one.reached[1].max(to)];
    }
    let (mut bound, mut bases) = ([None; MAX_BINDINGS], [0; MAX_BINDINGS]);
    for (i, one) in shared.iter_mut().flatten().enumerate() {
        let (range, base) = limits.range(one.block, one.reached);
        (bound[i], bases[i]) = (Some(range), base);
        one.array.windows = limits.windows(range) as u16;
        one.array.shift =
            if one.array.windows > 1 { (limits.window_bytes() / one.array.item.size_bytes()).ilog2() as u8 } else { 0 };
    }
    let bindings = unit.bindings.iter_mut().flatten().filter(|binding| binding.access != Access::Absent);
    for (i, (binding, slot)) in bindings.zip(slots.iter().flatten()).enumerate() {
        let base = bases[numbers[i]] / slot.dtype.size_bytes() as u64;
        // Wraps where the data start before what is reached of them; indices wrap back.
        places[i] = (slot.offset as u32).wrapping_sub(base as u32);
        binding.is_moved = places[i] != 0;
        binding.array = shared[numbers[i]].map_or(binding.array, |one| one.array);
    }
    check_count(unit, limits)?;
    Ok(bound)
}

#[track_caller]
fn check_count(unit: &Unit, limits: &Limits) -> Result<()> {
    let needed = unit.storage_buffers();
    if needed <= limits.storage_buffers {
        return Ok(());
    }
    let arrays = unit.arrays().map(|array| format!("{} {}", array.windows, array.name)).collect::<Vec<_>>();
    Err(missing(format!(
        "{} needs {needed} storage buffers ({}) of at most {} bytes each, the device has {}: use smaller tensors",
        unit.entry,
        arrays.join(", "),
        limits.window_bytes(),
        limits.storage_buffers
    )))
}

/// Ranges of `len` elements of contiguous operands, first and count, each of which one launch can be bound to: all of
/// them where that can be, else as many as a window holds of the widest dtype.
pub(crate) fn ranges(limits: &Limits, slots: &[Slot], len: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    let mut blocks: Vec<(Block, [u64; 2])> = Vec::new();
    for slot in slots {
        let (Some(block), [from, to]) = (slot.block, slot.reached_bytes()) else { continue };
        match blocks.iter_mut().find(|(other, _)| *other == block) {
            Some((_, reached)) => *reached = [reached[0].min(from), reached[1].max(to)],
            None => blocks.push((block, [from, to])),
        }
    }
    // One more for the record of faults.
    let needed = 1 + blocks.iter().map(|&(block, reached)| limits.windows(limits.range(block, reached).0)).sum::<u64>();
    let step = match needed <= limits.storage_buffers.into() {
        true => len.max(1),
        false => (limits.window_bytes() / 4) as usize,
    };
    (0..len.div_ceil(step)).map(move |i| (i * step, step.min(len - i * step)))
}
