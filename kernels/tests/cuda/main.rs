//! Kernels on CUDA against the same kernels on the host. Without a GPU they run on the emulator.

mod indexing;
mod random;

/// Where the kernels run: what `CHAINRULE_DEVICE` names if that is CUDA, else the emulator.
fn device() -> chainrule_kernels::Device {
    use chainrule_kernels::Device;
    match std::env::var("CHAINRULE_DEVICE") {
        Ok(name) if name.starts_with("cuda") => name.parse().unwrap(),
        _ => Device::cuda_emu().unwrap(),
    }
}
