//! How a time is taken: as chainrule takes its own.
//!
//! Calls go over several sets of inputs in turn. They are timed in batches of at least [`BATCH_US`] by the device's own
//! clock, in a window that burn opens and closes on its stream; the median of the batches is told with p10 and p90.

use std::any::Any;
use std::time::{Duration, Instant};

use burn::tensor::{Device, ProfileOptions};
use serde_json::{Value, json};

use crate::Options;

pub const NAME: &str = "burn";

const BATCH_US: f64 = 200.0;
const MIN_BATCHES: usize = 5;
const MAX_BATCHES: usize = 1000;
/// Calls that are not counted: they compile, and choose the fastest of several kernels by trying them.
const WARM_UPS: usize = 3;

/// What a call gives. It is kept until its batch is timed, because burn need not write what nobody will read.
pub type Kept = Box<dyn Any + Send>;
/// One call, ready to run.
pub type Work = Box<dyn FnOnce() -> Vec<Kept> + Send>;
/// Makes a call of one set of inputs; what it computes itself is not timed.
pub type Prepare = Box<dyn FnMut() -> Work>;

/// The row of a case.
pub fn measure(options: &Options, sets: &mut [Prepare]) -> Result<Value, String> {
    let device = &options.device;
    let mut next = 0;
    let mut prepare = || {
        next = (next + 1) % sets.len();
        sets[next]()
    };
    for _ in 0..WARM_UPS {
        drop(prepare()());
        sync(device)?;
    }
    let once_us = batch_us(device, 1, &mut prepare)?;
    let count = (BATCH_US / once_us.max(0.1)).ceil() as usize;
    batch_us(device, count, &mut prepare)?;
    let (start, budget) = (Instant::now(), Duration::from_secs_f64(options.seconds.max(0.0)));
    let mut times = Vec::new();
    while times.len() < MIN_BATCHES || (times.len() < MAX_BATCHES && start.elapsed() < budget) {
        times.push(batch_us(device, count, &mut prepare)? / count as f64);
    }
    times.sort_by(f64::total_cmp);
    let [median, p10, p90] = [0.5, 0.1, 0.9].map(|q| quantile(&times, q));
    Ok(json!({ "by": NAME, "median_us": median, "p10_us": p10, "p90_us": p90, "extra_bytes": null }))
}

/// The microseconds of `count` calls together.
fn batch_us(device: &Device, count: usize, prepare: &mut impl FnMut() -> Work) -> Result<f64, String> {
    let calls: Vec<Work> = (0..count).map(|_| prepare()).collect();
    // What was prepared is done before the window opens, and what is asked for in it before the window closes.
    sync(device)?;
    let run = move || calls.into_iter().flat_map(|call| call()).collect::<Vec<Kept>>();
    let window = device.profile_with(ProfileOptions::default().flush(), run);
    let (results, window) = window.map_err(|error| format!("{error:?}"))?;
    let ticks = pollster::block_on(window.resolve()).ok_or("burn took no time of this case")?;
    sync(device)?;
    drop(results);
    Ok(ticks.duration().as_secs_f64() * 1e6)
}

fn sync(device: &Device) -> Result<(), String> {
    device.sync().map_err(|error| format!("{error:?}"))
}

/// The value below which the share `q` of the sorted values lies, interpolated between neighbours.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, part) = (place as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}
