//! Times between marks. Where the adapter takes none itself (or `CHAINRULE_WGPU_FEATURES` leaves `timestamps` out) they
//! are the host's, with the same properties.

use chainrule_kernels::copy::fill;
use chainrule_kernels::wgpu::WgpuEvent;
use chainrule_kernels::{Buffer, DType, Device};

/// Marks with `launches` launches before each but the first.
fn marks(device: &Device, launches: &[usize]) -> Option<Vec<WgpuEvent>> {
    let Device::Wgpu(wgpu) = device else { return None };
    let mut y = Buffer::allocate(device, DType::F32, 1 << 20).unwrap();
    // The first launch compiles, which is no time of the device.
    fill(&mut y, 1.0).unwrap();
    let mut marks = vec![wgpu.record().unwrap()];
    for &count in launches {
        for step in 0..count {
            fill(&mut y, step as f64).unwrap();
        }
        marks.push(wgpu.record().unwrap());
    }
    let last = launches.last().map_or(1.0, |&count| count as f32 - 1.0);
    assert!(y.to_vec::<f32>().unwrap().iter().all(|&y| y == last), "marks changed what launches do");
    Some(marks)
}

#[test]
fn times_are_positive_and_add_up() {
    // The last part is more than a submission holds.
    let Some(marks) = marks(&crate::device(), &[3, 20, 300]) else { return };
    let ms = |from: usize, to: usize| marks[from].elapsed_ms(&marks[to]).unwrap();
    for from in 0..3 {
        assert!(ms(from, from + 1) > 0.0, "{} ms after mark {from}", ms(from, from + 1));
        assert_eq!(ms(from, from), 0.0);
        assert_eq!(ms(from + 1, from), -ms(from, from + 1));
    }
    let (whole, parts) = (ms(0, 3), ms(0, 1) + ms(1, 2) + ms(2, 3));
    // Sums of doubles.
    assert!((whole - parts).abs() <= 1e-9 * whole, "{whole} ms, {parts} ms in parts");
    assert!(whole < 60e3, "{whole} ms: a tick is not what it is taken for");
}

#[test]
fn more_work_takes_more_time() {
    let Some(marks) = marks(&crate::device(), &[2, 200]) else { return };
    let [few, many] = [0, 1].map(|at| marks[at].elapsed_ms(&marks[at + 1]).unwrap());
    // A hundred times the work; a machine that is busy elsewhere may hold up the short part.
    assert!(many > few, "{few} ms for 2 launches, {many} ms for 200");
}

#[test]
fn the_devices_time_is_within_the_hosts() {
    let device = crate::device();
    // What compiles does so before.
    marks(&device, &[1]);
    device.synchronize().unwrap();
    let start = std::time::Instant::now();
    let Some(marks) = marks(&device, &[50]) else { return };
    let ms = marks[0].elapsed_ms(&marks[1]).unwrap();
    let host_ms = start.elapsed().as_secs_f64() * 1e3;
    assert!(ms <= host_ms * 1.05, "{ms} ms on the device within {host_ms} ms");
}
