//! The arguments of a launch as a wgpu kernel's host side sees them, and the stages that it launches.

use bytemuck::{Pod, Zeroable};

use super::device::Describe;
use super::memory::Block;
use super::recorder::{Dispatch, PARAMS_BYTES, PLACES_BYTES};
use super::source::{MAX_BINDINGS, push};
use super::windows::arrange;
use super::{Access, Binding, Unit, WgpuDevice, WgpuMemory};
use crate::{DType, Error, ErrorKind, Kernel, Result};

/// The place of the fault's describer among the places of bindings.
const FAULT_PLACE: usize = PLACES_BYTES / 4 - 1;

/// The arguments of a launch.
pub struct WgpuArgs<'a> {
    /// The element type that the kernel is specialised for.
    pub elem: DType,
    /// As in [`crate::Launch::grid`].
    pub grid: [usize; 3],
    /// Where it runs.
    pub device: &'a WgpuDevice,
    pub(crate) kernel: &'static Kernel,
    pub(crate) inputs: Vec<Slot>,
    pub(crate) outputs: Vec<Slot>,
    pub(crate) params: &'a [u8],
}

/// Elements that a kernel can be bound to: a block, and the element at which the data start.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The dtype of the elements.
    pub dtype: DType,
    /// How many elements there are from the start of the data to the end of the buffer.
    pub len: usize,
    /// The element at which the data start.
    pub(crate) offset: usize,
    /// The elements of the block that a launch reaches, from the first to the one after the last.
    reached: [usize; 2],
    /// What is bound; none for memory of another device.
    pub(crate) block: Option<Block>,
}

impl Slot {
    pub(crate) fn new(dtype: DType, len: usize, offset: usize, block: Block, len_bytes: usize) -> Slot {
        let size = (len_bytes as u64).next_multiple_of(4).max(4);
        let (reached, block) = ([0, len], Some(Block { size, ..block }));
        Slot { dtype, len: len.saturating_sub(offset), offset, reached, block }
    }

    /// No place at all.
    pub(crate) fn none(dtype: DType) -> Slot {
        Slot { dtype, len: 0, offset: 0, reached: [0; 2], block: None }
    }

    /// The same from `elements` further on.
    pub fn from(self, elements: usize) -> Slot {
        Slot { len: self.len.saturating_sub(elements), offset: self.offset + elements, ..self }
    }

    /// `len` consecutive elements from number `first` on, and no others.
    pub(crate) fn part(self, first: usize, len: usize) -> Slot {
        let offset = self.offset + first;
        Slot { len, offset, reached: [offset, offset + len], ..self }
    }

    /// The same for a launch that reaches no more than element `first` and those that lie from there by dims of these
    /// lengths and strides: of a block that is larger than a binding, no more than that is bound.
    pub(crate) fn reaching(self, first: u64, dims: impl IntoIterator<Item = (u64, i64)>) -> Slot {
        let start = self.offset as i64 + first as i64;
        let (mut from, mut to) = (start, start + 1);
        for (len, stride) in dims {
            let far = len.saturating_sub(1) as i64 * stride;
            from += far.min(0);
            to += far.max(0);
        }
        let reached = [from, to].map(|element| element.max(0) as usize);
        Slot { reached, ..self }
    }

    /// The bytes of the block that are reached.
    pub(crate) fn reached_bytes(&self) -> [u64; 2] {
        self.reached.map(|element| (element * self.dtype.size_bytes()) as u64)
    }
}

/// Memory for the time of a launch.
pub(crate) struct Workspace {
    memory: WgpuMemory,
    dtype: DType,
    len: usize,
}

impl Workspace {
    /// Its elements.
    pub(crate) fn slot(&self) -> Slot {
        self.memory.slot(self.dtype, self.len, 0)
    }
}

impl<'a> WgpuArgs<'a> {
    /// The parameters.
    pub fn params<P: Pod + Zeroable>(&self) -> P {
        bytemuck::pod_read_unaligned(self.params)
    }

    /// Input `index`.
    pub fn input(&self, index: usize) -> Slot {
        self.inputs[index]
    }

    /// Output `index`.
    pub fn output(&self, index: usize) -> Slot {
        self.outputs[index]
    }

    /// How many inputs there are.
    pub fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// How many outputs there are.
    pub fn n_outputs(&self) -> usize {
        self.outputs.len()
    }

    /// Memory of `len` elements for the time of this launch.
    #[track_caller]
    pub(crate) fn workspace(&self, dtype: DType, len: usize) -> Result<Workspace> {
        let memory = WgpuMemory::allocate(self.device, dtype, len * dtype.size_bytes())?;
        Ok(Workspace { memory, dtype, len })
    }

    /// A stage of this kernel: entry point `entry` of its file.
    pub(crate) fn stage(&self, entry: &'static str) -> Stage<'a> {
        Stage::new(self.device, self.kernel.name, entry)
    }

    /// The error for an element type that the kernel does not take.
    #[track_caller]
    pub(crate) fn unsupported(&self) -> Error {
        Error::new(ErrorKind::Unsupported { dtype: self.elem, device: "wgpu".into() })
    }

    /// An error unless the element type is a float of at most 32 bits.
    #[track_caller]
    pub(crate) fn floats_only(&self) -> Result<()> {
        if self.elem.is_float() && self.elem != DType::F64 { Ok(()) } else { Err(self.unsupported()) }
    }
}

/// A size as kernels count: elements have numbers below 2^32 there.
///
/// # Errors
/// A larger size.
#[track_caller]
pub fn size(size: u64) -> Result<u32> {
    u32::try_from(size).map_err(|_| too_large(size))
}

/// A stride or an offset as kernels count.
///
/// # Errors
/// One that does not fit 32 bits.
#[track_caller]
pub fn place(place: i64) -> Result<i32> {
    i32::try_from(place).map_err(|_| too_large(place.unsigned_abs()))
}

#[track_caller]
fn too_large(size: u64) -> Error {
    Error::new(ErrorKind::Device(format!("wgpu: kernels count in 32 bits, and {size} is more than that")))
}

/// One launch of an entry point. Buffers are bound in the order in which they are named.
pub struct Stage<'a> {
    device: &'a WgpuDevice,
    unit: Unit,
    /// Whether f16 is bound as arrays of it, whatever the device's conversions are like.
    is_native: bool,
    slots: [Option<Slot>; MAX_BINDINGS],
    places: [u32; PLACES_BYTES / 4],
    params: [u32; PARAMS_BYTES / 4],
    params_len: usize,
    groups: usize,
    fault: Option<(&'static str, Describe)>,
}

impl<'a> Stage<'a> {
    /// One workgroup of 256 invocations of an entry point, with nothing bound yet.
    pub(crate) fn new(device: &'a WgpuDevice, file: &'static str, entry: &'static str) -> Stage<'a> {
        Stage {
            device,
            unit: Unit { subgroups: device.has_subgroups(), ..Unit::new(file, entry) },
            is_native: false,
            slots: [None; MAX_BINDINGS],
            places: [0; PLACES_BYTES / 4],
            params: [0; PARAMS_BYTES / 4],
            params_len: 0,
            groups: 1,
            fault: None,
        }
    }

    /// Takes the entry point from another file than the kernel's own.
    pub(crate) fn file(mut self, file: &'static str) -> Self {
        self.unit.file = file;
        self
    }

    fn bind(mut self, name: &'static str, slot: Slot, access: Access) -> Self {
        let is_half = slot.dtype == DType::F16 && matches!(access, Access::Read | Access::Write);
        let is_native = is_half && self.stores_alone(slot.dtype);
        push(&mut self.unit.bindings, Binding::new(name, slot.dtype, access, is_native));
        if access != Access::Absent {
            push(&mut self.slots, slot);
        }
        self
    }

    /// Binds elements that are read through `load_<name>`.
    pub(crate) fn read(self, name: &'static str, slot: Slot) -> Self {
        self.bind(name, slot, Access::Read)
    }

    /// Whether an element of `dtype` can be written whatever is written beside it.
    fn stores_alone(&self, dtype: DType) -> bool {
        (self.is_native && dtype == DType::F16) || self.device.stores_alone(dtype)
    }

    /// Binds f16 as arrays of it from here on, whatever the device's conversions are like.
    pub(crate) fn natively(self) -> Self {
        Stage { is_native: true, ..self }
    }

    /// Binds elements that are written through `store_<name>`, or `LANES_<name>` at a time through `store_lanes_<name>`.
    /// Those of which a word holds several can only be written in the second way.
    pub(crate) fn write(self, name: &'static str, slot: Slot) -> Self {
        match self.stores_alone(slot.dtype) {
            true => self.bind(name, slot, Access::Write),
            false => self.words(name, slot),
        }
    }

    /// Binds elements that are written by whole words through `store_word_<name>`, which `pack_<name>` makes.
    pub(crate) fn words(self, name: &'static str, slot: Slot) -> Self {
        debug_assert!((slot.offset * slot.dtype.size_bytes()).is_multiple_of(4), "{name}: {slot:?}");
        self.bind(name, slot, Access::Words)
    }

    /// Binds elements of any dtype, each of which is written through `put_<name>` whatever is written beside it.
    pub(crate) fn scatter(self, name: &'static str, slot: Slot) -> Self {
        self.bind(name, slot, Access::Scatter)
    }

    /// Names an input that is not there: its elements are 0.
    pub(crate) fn absent(self, name: &'static str) -> Self {
        self.bind(name, Slot::none(DType::F32), Access::Absent)
    }

    /// As `read` where there is a slot, else as `absent`.
    pub(crate) fn optional(self, name: &'static str, slot: Option<Slot>) -> Self {
        match slot {
            Some(slot) => self.read(name, slot),
            None => self.absent(name),
        }
    }

    /// Lets the kernel `report` bad input of `kernel`; `describe` makes the error of a report.
    pub(crate) fn faults(mut self, kernel: &'static str, describe: Describe) -> Self {
        self.fault = Some((kernel, describe));
        self
    }

    /// Adds a constant of type u32.
    pub(crate) fn define(mut self, name: &'static str, value: u32) -> Self {
        push(&mut self.unit.defines, (name, value));
        self
    }

    /// Adds items: a type, a function.
    pub(crate) fn text(self, text: &'static str) -> Self {
        self.text_of([text, "", ""])
    }

    /// Adds items given in three parts.
    pub(crate) fn text_of(mut self, parts: [&'static str; 3]) -> Self {
        push(&mut self.unit.texts, parts);
        self
    }

    /// Adds the items of a further file, which an earlier file may hide.
    pub(crate) fn functions(mut self, file: &'static str) -> Self {
        self.unit.functions = file;
        self
    }

    /// How many invocations a workgroup has: the constant `THREADS`.
    pub(crate) fn threads(mut self, threads: u32) -> Self {
        self.unit.threads = threads;
        self
    }

    /// Sets the parameters: words of 32 bits in the order of the kernel's structure.
    pub(crate) fn params<P: Pod>(mut self, params: &P) -> Self {
        let words: &[u32] = bytemuck::cast_slice(bytemuck::bytes_of(params));
        debug_assert!(words.len() <= self.params.len(), "{} words of parameters", words.len());
        self.params[..words.len()].copy_from_slice(words);
        self.params_len = words.len();
        self
    }

    /// How many workgroups there are.
    pub(crate) fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// As many workgroups as `len` units of work need where each invocation does one.
    pub(crate) fn groups_for(self, len: usize) -> Self {
        let groups = len.div_ceil(self.unit.threads as usize);
        self.groups(groups)
    }

    /// Records the launch; nothing happens where there are no workgroups.
    ///
    /// # Errors
    /// A text that does not compile; more workgroups, or larger buffers, than the device takes.
    #[track_caller]
    pub(crate) fn run(mut self) -> Result<()> {
        if self.groups == 0 {
            return Ok(());
        }
        if let Some((kernel, describe)) = self.fault {
            let (slot, describer) = self.device.fault_slot(kernel, describe)?;
            self = self.bind("fault", slot, Access::Fault);
            self.places[FAULT_PLACE] = describer;
        }
        let groups = self.folded()?;
        let bound = arrange(&mut self.unit, &self.slots, &mut self.places, &self.device.limits())?;
        let pipelines = self.device.pipelines();
        let pipeline = pipelines.of(&self.unit)?;
        let bindings = pipelines.bind_group(&pipeline, &bound, self.device.arena())?;
        self.device.recorder().dispatch(&Dispatch {
            pipeline: &pipeline,
            bindings: &bindings,
            places: self.places,
            params: bytemuck::cast_slice(&self.params[..self.params_len]),
            groups,
        });
        self.device.check_trouble()
    }

    /// The workgroups in three dims: kernels compute their number from these.
    #[track_caller]
    fn folded(&self) -> Result<[u32; 3]> {
        let most = self.device.limits().groups as usize;
        let z = self.groups.div_ceil(most.saturating_mul(most));
        if z > most {
            return Err(too_large(self.groups as u64));
        }
        let y = self.groups.div_ceil(z).div_ceil(most);
        Ok([self.groups.div_ceil(z * y) as u32, y as u32, z as u32])
    }
}

/// The host side of a kernel that wgpu does not have.
///
/// # Errors
/// Always.
#[track_caller]
pub fn unsupported(args: &mut WgpuArgs<'_>) -> Result<()> {
    Err(args.unsupported())
}
