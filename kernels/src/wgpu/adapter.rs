//! Which adapter, and what may be asked of it.

use ::wgpu;

use crate::{Error, ErrorKind, Result};

/// What a kernel and a launch may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The bytes that one binding can cover.
    pub binding_bytes: u64,
    /// The bytes of one buffer of the system.
    pub buffer_bytes: u64,
    /// Workgroups of a launch in one dim.
    pub groups: u32,
    /// Invocations of a workgroup.
    pub threads: u32,
    /// Storage buffers that one kernel can be bound to.
    pub storage_buffers: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
}

impl Limits {
    fn of(limits: &wgpu::Limits) -> Limits {
        Limits {
            binding_bytes: limits.max_storage_buffer_binding_size,
            buffer_bytes: limits.max_buffer_size,
            groups: limits.max_compute_workgroups_per_dimension,
            threads: limits.max_compute_invocations_per_workgroup,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
        }
    }
}

/// What was opened.
pub(crate) struct Opened {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) info: wgpu::AdapterInfo,
    pub(crate) limits: Limits,
}

/// Opens the adapter that `CHAINRULE_WGPU_ADAPTER` names, else the best, with the limits that `CHAINRULE_WGPU_LIMITS`
/// names: `webgpu` for what every browser guarantees, else the adapter's own.
pub(crate) fn open() -> Result<Opened> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    // Without validation layers: what they look for is validated before it gets there.
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    let names: Vec<String> = adapters.iter().map(|adapter| name(&adapter.get_info())).collect();
    let wanted = named("CHAINRULE_WGPU_ADAPTER");
    let place = match &wanted {
        Some(wanted) => names.iter().position(|name| name.to_lowercase().contains(&wanted.to_lowercase())),
        None => (!names.is_empty()).then_some(0),
    };
    let Some(place) = place else {
        return Err(missing(match (wanted, names.is_empty()) {
            (_, true) => "no adapter: wgpu found no Vulkan, Metal or DirectX 12 driver on this machine".into(),
            (wanted, false) => format!(
                "no adapter's name contains {:?} (CHAINRULE_WGPU_ADAPTER); there are: {}",
                wanted.unwrap_or_default(),
                names.join(", ")
            ),
        }));
    };
    request(&adapters[place])
}

fn request(adapter: &wgpu::Adapter) -> Result<Opened> {
    let info = adapter.get_info();
    let required_limits = match named("CHAINRULE_WGPU_LIMITS").as_deref() {
        None => adapter.limits(),
        Some("webgpu") => wgpu::Limits::default(),
        Some(other) => {
            return Err(missing(format!("CHAINRULE_WGPU_LIMITS is {other:?}, expected webgpu or nothing")));
        }
    };
    let limits = Limits::of(&required_limits);
    let request = adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("chainrule"),
        required_limits,
        memory_hints: wgpu::MemoryHints::Performance,
        ..Default::default()
    });
    let (device, queue) =
        pollster::block_on(request).map_err(|error| missing(format!("{} refuses: {error}", name(&info))))?;
    Ok(Opened { device, queue, info, limits })
}

/// The adapter in one line: `NVIDIA H200 (Vulkan)`.
pub(crate) fn name(info: &wgpu::AdapterInfo) -> String {
    format!("{} ({:?})", info.name, info.backend)
}

/// Discrete GPUs first, drivers that compute on the processor last.
fn rank(device_type: wgpu::DeviceType) -> u32 {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

fn named(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

#[track_caller]
pub(crate) fn missing(message: String) -> Error {
    Error::new(ErrorKind::Device(format!("wgpu: {message}")))
}
