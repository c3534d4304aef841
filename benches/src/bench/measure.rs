//! How a time is taken.
//!
//! Calls go over several sets of inputs in turn, together larger than the caches, so that each finds its inputs in
//! memory. They are timed in batches of at least [`BATCH_US`] between two marks of [`super::clock`]. Before a batch one
//! call is made that is not counted: it keeps the device busy while the first that counts is launched, so that a batch
//! begins without a gap.

use std::time::{Duration, Instant};

use chainrule::{Device, Result};

use super::clock::Mark;
use super::statistics::Spread;

/// One call of an op on one set of inputs.
pub(crate) type Call = Box<dyn FnMut() -> Result<()>>;

/// What a batch takes at least, in microseconds: far more than the resolution of events, which is half of one.
const BATCH_US: f64 = 200.0;
/// Batches at least, however long each takes.
const MIN_BATCHES: usize = 5;
/// Batches at most: more tell nothing new.
const MAX_BATCHES: usize = 1000;

/// The times of a case, and the memory it takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Timing {
    /// Microseconds of one call.
    pub(crate) us: Spread,
    /// The most bytes in use during a call beyond those before it: its results and what it works in.
    pub(crate) extra_bytes: Option<u64>,
}

/// Times calls that are made in turn, for about `seconds`.
pub(crate) fn measure(device: &Device, seconds: f64, calls: &mut [Call]) -> Result<Timing> {
    let mut next = 0;
    let mut call_next = || {
        next = (next + 1) % calls.len();
        calls[next]()
    };
    // The first call compiles and allocates; the next tells what a batch is.
    call_next()?;
    device.synchronize()?;
    let live_bytes = device.memory_stats().live_bytes;
    device.reset_peak_memory();
    let once_us = batch_us(device, 1, &mut call_next)?;
    let extra_bytes = Some(device.memory_stats().peak_bytes.saturating_sub(live_bytes) as u64);
    let count = calls_of_a_batch(once_us);
    batch_us(device, count, &mut call_next)?;
    let (start, budget) = (Instant::now(), Duration::from_secs_f64(seconds.max(0.0)));
    let mut times = Vec::new();
    while times.len() < MIN_BATCHES || (times.len() < MAX_BATCHES && start.elapsed() < budget) {
        times.push(batch_us(device, count, &mut call_next)? / count as f64);
    }
    // What kernels found wrong with their inputs is known now at the latest.
    device.synchronize()?;
    Ok(Timing { us: Spread::of(times), extra_bytes })
}

/// How many calls fill a batch.
fn calls_of_a_batch(once_us: f64) -> usize {
    (BATCH_US / once_us.max(0.1)).ceil() as usize
}

/// The microseconds of `count` calls together.
fn batch_us(device: &Device, count: usize, call: &mut impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let start = Mark::now(device)?;
    for _ in 0..count {
        call()?;
    }
    start.elapsed_us(&Mark::now(device)?)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn batches_are_long_enough_and_sets_are_used_in_turn() {
        assert_eq!([1000.0, 200.0, 150.0, 3.0, 0.0].map(calls_of_a_batch), [1, 1, 2, 67, 2000]);
        let order = Rc::new(RefCell::new(Vec::new()));
        let call = |number: usize| -> Call {
            let order = Rc::clone(&order);
            Box::new(move || {
                order.borrow_mut().push(number);
                std::thread::sleep(Duration::from_micros(300));
                Ok(())
            })
        };
        let timing = measure(&Device::Cpu, 0.0, &mut [call(0), call(1), call(2)]).unwrap();
        assert!(timing.us.median >= 300.0 && timing.us.p10 <= timing.us.median && timing.us.median <= timing.us.p90);
        assert!(order.borrow().windows(2).all(|pair| pair[1] == (pair[0] + 1) % 3));
    }
}
