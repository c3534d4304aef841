//! What is held in memory, measured by the device's own counters. A binary of its own, whose tests run one at a time:
//! the counters belong to the process.

use std::sync::Mutex;

use chainrule::prelude::*;
use chainrule::{Attention, DType};

/// Held by the test that is measuring.
static COUNTERS: Mutex<()> = Mutex::new(());

/// The matrix of scores would take 16384^2 * 4 bytes = 1 GiB. Inputs, results and gradients are 7 MiB, the sums of dk and
/// dv of four tasks 8 MiB, and blocks are rounded up to an eighth.
#[test]
fn attention_takes_memory_linear_in_the_length() {
    let _alone = COUNTERS.lock().unwrap();
    let (device, mut rng, tape) = (Device::Cpu, Rng::seed(1), Tape::new());
    let mut leaf = || tape.leaf(Tensor::randn([1, 1, 16384, 16], DType::F32, &device, &mut rng).unwrap());
    let (q, k, v) = (leaf(), leaf(), leaf());
    device.reset_peak_memory();
    let before = device.memory_stats().live_bytes;
    let loss = q.attention(&k, &v, &Attention::causal()).and_then(|y| y.sum(.., false)).unwrap();
    let grads = loss.backward().unwrap();
    assert_eq!(grads.get(&q).unwrap().shape(), q.shape());
    let extra = device.memory_stats().peak_bytes - before;
    assert!(extra < 32 << 20, "{extra} bytes beyond the inputs");
}

#[derive(Clone, Module)]
struct Net {
    first: Linear,
    norm: LayerNorm,
    second: Linear,
}

impl Net {
    fn forward(&self, x: &Var) -> Result<Var> {
        self.second.forward(&self.norm.forward(&self.first.forward(x)?)?.gelu()?.dropout(0.1)?)
    }
}

/// A step of training on the device with a look at how well the net does, which gives the loss.
fn training(device: &Device) -> impl FnMut() -> f32 + use<> {
    let mut rng = Rng::seed(1);
    let x = Tensor::randn([32, 8], DType::F32, device, &mut rng).unwrap();
    let labels = Tensor::randint([32], 0, 4, DType::U32, device, &mut rng).unwrap();
    let net = Net {
        first: Linear::new(8, 16, &mut rng).unwrap(),
        norm: LayerNorm::new(16).unwrap(),
        second: Linear::new(16, 4, &mut rng).unwrap(),
    };
    let mut net = net.to_device(device).unwrap();
    let mut adam = AdamW::new(1e-3);
    move || {
        let tape = Tape::training(rng.fork());
        let loss = net.on(&tape).forward(&(&x).into()).unwrap().cross_entropy(&labels).unwrap();
        adam.step(&mut net, &loss.backward().unwrap()).unwrap();
        net.forward(&(&x).into()).unwrap().cross_entropy(&labels).unwrap().item::<f32>().unwrap()
    }
}

#[test]
fn memory_is_flat_over_a_thousand_steps_of_training_and_evaluation() {
    let _alone = COUNTERS.lock().unwrap();
    let device = Device::Cpu;
    let mut step = training(&device);
    let first = step();
    let early = device.memory_stats().live_bytes;
    let last = (0..1000).map(|_| step()).last().unwrap();
    assert_eq!(device.memory_stats().live_bytes, early);
    assert!(last < first, "the loss fell from {first} to {last}");
}

/// After 50 steps a device holds all that it will hold after 500: memory in use, the most that was, what is kept for
/// reuse, pipelines, and the bind groups of blocks that come back in each step.
#[cfg(feature = "wgpu")]
#[test]
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn everything_is_flat_over_five_hundred_steps_on_wgpu() {
    let _alone = COUNTERS.lock().unwrap();
    let device = match Device::wgpu() {
        Ok(device) => device,
        Err(error) if std::env::var("CHAINRULE_REQUIRE").is_ok_and(|all| all.split(',').any(|name| name == "wgpu")) => {
            panic!("CHAINRULE_REQUIRE asks for wgpu: {error}")
        }
        Err(error) => return eprintln!("skipped without wgpu: {error}"),
    };
    let Device::Wgpu(wgpu) = &device else { panic!("{device} was opened for wgpu") };
    let mut step = training(&device);
    let held = || (device.memory_stats(), wgpu.units().len(), wgpu.bind_groups());
    let first = step();
    for _ in 1..50 {
        step();
    }
    let early = held();
    let last = (50..500).map(|_| step()).last().unwrap();
    assert_eq!(held(), early, "memory, pipelines and bind groups after 500 steps and after 50");
    let (stats, pipelines, bind_groups) = early;
    assert!(stats.live_bytes > 0 && stats.cached_bytes > 0 && pipelines > 10 && bind_groups > 10, "{early:?}");
    assert!(last < first, "the loss fell from {first} to {last}");
}
