//! What a launch costs on the host: an engine that does nothing takes the device's part.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::super::engine::{Engine, Function, Graph, Mark, Module};
use super::super::params::Params;
use super::super::{Architecture, CudaDevice, Launched, Stage, Unit, tensor_map};
use crate::elementwise::{BinaryOp, Operand, View, binary};
use crate::{Buffer, DType, Device, Result};

/// Takes every launch and runs none.
struct Idle;

impl Module for Idle {
    fn function(&self, _: &str) -> Result<Function> {
        Ok(Function(0))
    }
}

impl Engine for Idle {
    fn name(&self) -> &str {
        "idle"
    }
    fn model(&self) -> &str {
        "nothing"
    }
    fn multiprocessors(&self) -> usize {
        100
    }
    fn max_shared_bytes(&self) -> usize {
        100 << 10
    }
    fn architecture(&self) -> Architecture {
        Architecture { number: 90 }
    }
    fn is_synchronous(&self) -> bool {
        false
    }
    fn allocate(&self, _: usize) -> Result<Option<u64>> {
        Ok(Some(1 << 20))
    }
    fn free(&self, _: u64) {}
    fn upload(&self, _: u64, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn download(&self, _: u64, _: &mut [u8]) -> Result<()> {
        Ok(())
    }
    fn tensor_map(&self, _: &tensor_map::Layout) -> Result<tensor_map::TensorMap> {
        Ok(tensor_map::TensorMap([0; 16]))
    }
    fn set_bytes(&self, _: u64, _: u8, _: usize) -> Result<()> {
        Ok(())
    }
    fn load(&self, _: &Unit) -> Result<Box<dyn Module>> {
        Ok(Box::new(Idle))
    }
    fn launch(&self, _: Function, _: Launched, _: &mut Params) -> Result<()> {
        Ok(())
    }
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
    fn mark(&self) -> Result<Mark> {
        Ok(Mark(0))
    }
    fn elapsed_ms(&self, _: Mark, _: Mark) -> Result<f64> {
        Ok(0.0)
    }
    fn forget(&self, _: Mark) {}
    fn begin_recording(&self) -> Result<()> {
        Ok(())
    }
    fn launch_recording(&self, _: &mut Option<Graph>) -> Result<()> {
        Ok(())
    }
    fn discard_recording(&self) {}
    fn forget_graph(&self, _: Graph) {}
}

/// The system's allocator, which counts for each thread.
struct Counting;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the promises that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

/// Launches that a profiler can find: `valgrind --tool=callgrind --toggle-collect='*counted_launches*'` on this test.
#[inline(never)]
fn counted_launches(a: &Buffer, b: &Buffer, y: &mut Buffer) {
    for _ in 0..1000 {
        let view = |buffer| Operand::View(View { buffer, offset: 0, strides: &[1] });
        binary(BinaryOp::Add, view(a), view(b), &[4096], y).unwrap();
    }
}

#[test]
fn a_launch_allocates_nothing_below_its_arguments() {
    let cuda = CudaDevice::with_engine(Box::new(Idle));
    let stage = |count: usize| {
        let unit =
            Unit::new("matmul", DType::F32).define("TILE", 64).define("VECTOR", count).define("EXPRESSION", "a + b");
        Stage::new(&cuda, unit, "matmul_forward").blocks(7).param(1u64).param([2u64; 40]).run().unwrap();
    };
    (0..3).for_each(stage);
    let before = allocations();
    (0..3).for_each(stage);
    assert_eq!(allocations() - before, 0);
    assert_eq!(cuda.units().len(), 3);

    // Above it are the two lists of buffers, once as the op gives them and once as addresses.
    let device = Device::Cuda(cuda);
    let [a, b] = [(); 2].map(|()| Buffer::allocate(&device, DType::F32, 4096).unwrap());
    let mut y = Buffer::allocate(&device, DType::F32, 4096).unwrap();
    counted_launches(&a, &b, &mut y);
    let before = allocations();
    counted_launches(&a, &b, &mut y);
    assert_eq!(allocations() - before, 1000 * 4);
}
