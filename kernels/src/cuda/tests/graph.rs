//! Steps that are recorded and launched as one, on an emulator of each test's own: other tests' work would wait.

use std::time::Duration;

use super::super::emulator::Emulator;
use super::super::{CudaDevice, CudaGraph, CudaMemory, Stage, Unit};
use crate::elementwise::{BinaryOp, Operand, View, binary};
use crate::index::{IndexParams, index_select};
use crate::{Buffer, DType, Device, Error, Result, copy};

/// A device with a graph; nothing where there is no C++ compiler.
fn graph() -> Option<(Device, CudaGraph)> {
    let emulator = super::present("cuda-emu", Emulator::with_seed(0))?;
    let cuda = CudaDevice::with_engine(Box::new(emulator));
    let graph = cuda.graph();
    Some((Device::Cuda(cuda), graph))
}

fn view(buffer: &Buffer) -> Operand<'_> {
    Operand::View(View { buffer, offset: 0, strides: &[1] })
}

/// `x + value`, through a temporary that is gone when this returns.
fn plus(x: &Buffer, value: f32) -> Result<Buffer> {
    let values = Buffer::from_slice(&x.device(), &vec![value; x.len()])?;
    let mut y = Buffer::allocate(&x.device(), DType::F32, x.len())?;
    binary(BinaryOp::Add, view(x), view(&values), &[x.len()], &mut y)?;
    Ok(y)
}

#[test]
fn a_step_is_done_in_its_order_and_at_its_end() {
    let Some((device, mut graph)) = graph() else { return };
    let mut x = Buffer::from_slice(&device, &[1.0f32, 2.0]).unwrap();
    for step in 0..3 {
        let sums = graph.step(|| {
            // Each read of `x` comes between two writes of it, and all buffers in between are freed within the step.
            let first = plus(&plus(&x, 10.0)?, 100.0)?;
            copy::fill(&mut x, f64::from(step))?;
            let second = plus(&x, 0.5)?;
            Ok([first, second])
        });
        let [first, second] = sums.unwrap();
        let before = if step == 0 { [1.0, 2.0] } else { [step as f32 - 1.0; 2] };
        assert_eq!(first.to_vec::<f32>().unwrap(), before.map(|x| x + 110.0));
        assert_eq!(second.to_vec::<f32>().unwrap(), [step as f32 + 0.5; 2]);
    }
    assert_eq!(device.memory_stats().live_bytes, 8 + 32, "all but `x` and the record of faults is free");
}

#[test]
fn host_memory_is_copied_when_it_is_uploaded() {
    let Some((device, mut graph)) = graph() else { return };
    let mut values = vec![1.0f32; 1000];
    let x = graph.step(|| {
        let x = Buffer::from_slice(&device, &values)?;
        values.fill(2.0);
        Ok(x)
    });
    assert_eq!(x.unwrap().to_vec::<f32>().unwrap(), [1.0; 1000]);
}

#[test]
fn reading_in_a_step_is_an_error_and_nothing_happens() {
    let Some((device, mut graph)) = graph() else { return };
    let Device::Cuda(cuda) = &device else { return };
    let mut x = Buffer::from_slice(&device, &[1.0f32]).unwrap();
    type Read = fn(&Buffer, &CudaDevice) -> Result<()>;
    let reads: [Read; 3] =
        [|x, _| x.to_vec::<f32>().map(drop), |_, cuda| cuda.synchronize(), |_, cuda| cuda.record().map(drop)];
    for read in reads {
        let error = graph.step(|| {
            copy::fill(&mut x, 7.0)?;
            read(&x, cuda)
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("return the tensor from CudaGraph::step and read it afterwards"), "{error}");
        assert!(error.contains("tests/graph.rs"), "{error}");
        assert_eq!(x.to_vec::<f32>().unwrap(), [1.0]);
    }
    graph.step(|| copy::fill(&mut x, 3.0)).unwrap();
    assert_eq!(x.to_vec::<f32>().unwrap(), [3.0]);
}

#[test]
fn steps_do_not_nest() {
    let Some((device, mut graph)) = graph() else { return };
    let Device::Cuda(cuda) = &device else { return };
    let error = graph.step(|| cuda.graph().step(|| Ok(()))).unwrap_err().to_string();
    assert!(error.contains("steps do not nest"), "{error}");
    graph.step(|| Ok(())).unwrap();
}

#[test]
fn a_panic_in_a_step_leaves_a_usable_device() {
    let Some((device, mut graph)) = graph() else { return };
    let mut x = Buffer::from_slice(&device, &[1.0f32]).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        graph.step(|| {
            drop(plus(&x, 1.0)?);
            copy::fill(&mut x, 9.0)?;
            if x.len() == 1 { panic!("of the test") } else { Ok(()) }
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(x.to_vec::<f32>().unwrap(), [1.0]);
    assert_eq!(graph.step(|| plus(&x, 1.0)).unwrap().to_vec::<f32>().unwrap(), [2.0]);
}

#[test]
fn what_kernels_find_wrong_is_reported_at_the_end() {
    let Some((device, mut graph)) = graph() else { return };
    let x = Buffer::from_slice(&device, &[1.0f32, 2.0]).unwrap();
    let params = IndexParams { outer: 1, size: 2, n: 1, inner: 1 };
    let mut step = |index: i64| {
        graph.step(|| {
            let ids = Buffer::from_slice(&device, &[index])?;
            let mut y = Buffer::allocate(&device, DType::F32, 1)?;
            index_select((&x, 0), (&ids, 0), params, &mut y)?;
            Ok(y)
        })
    };
    let error = step(5).map(drop).unwrap_err().to_string();
    assert!(error.contains("5") && error.contains("tests/graph.rs"), "{error}");
    assert_eq!(step(1).unwrap().to_vec::<f32>().unwrap(), [2.0]);
}

#[test]
fn a_kernel_that_fails_ends_the_step() {
    let Some((device, mut graph)) = graph() else { return };
    let Device::Cuda(cuda) = &device else { return };
    let error = graph.step(|| {
        let y = CudaMemory::allocate(cuda, 256)?;
        let unit = Unit::new("faulty", DType::F32);
        Stage::new(cuda, unit, "divergent_barriers").blocks(2).threads(64).param(y.address()).run()
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("divergent __syncthreads"), "{error}");
    let x = Buffer::from_slice(&device, &[1.0f32]).unwrap();
    assert_eq!(graph.step(|| plus(&x, 1.0)).unwrap().to_vec::<f32>().unwrap(), [2.0]);
}

#[test]
fn work_of_other_threads_waits_for_the_step() {
    let Some((device, mut graph)) = graph() else { return };
    for is_discarded in [false, true] {
        let (mut x, mut z) = (zero(&device), zero(&device));
        let stepped = std::thread::scope(|scope| {
            graph.step(|| {
                copy::fill(&mut x, 5.0)?;
                scope.spawn(|| copy::fill(&mut z, 6.0));
                // Long enough for the other thread to ask for its work, were it not to wait.
                std::thread::sleep(Duration::from_millis(100));
                if is_discarded { Err(Error::argument("step", "of the test")) } else { Ok(()) }
            })
        });
        assert_eq!(stepped.is_err(), is_discarded);
        assert_eq!(x.to_vec::<f32>().unwrap(), [if is_discarded { 0.0 } else { 5.0 }]);
        assert_eq!(z.to_vec::<f32>().unwrap(), [6.0], "work outside of the step is not discarded with it");
    }
}

fn zero(device: &Device) -> Buffer {
    Buffer::from_slice(device, &[0.0f32]).unwrap()
}
