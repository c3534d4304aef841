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

/// What an adapter may have beyond the guaranteed, and what kernels therefore may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// Elements of 16 bits in kernels.
    pub f16: bool,
    /// Operations between the invocations of a subgroup, whatever its size.
    pub subgroups: bool,
    /// The device writes when it came to a place in its work.
    pub timestamps: bool,
}

/// What [`Features::timestamps`] takes.
const TIMESTAMPS: wgpu::Features =
    wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

/// The names of [`Features`] in `CHAINRULE_WGPU_FEATURES`, and what is asked of the adapter for each.
const FEATURES: [(&str, wgpu::Features); 3] =
    [("f16", wgpu::Features::SHADER_F16), ("subgroups", wgpu::Features::SUBGROUP), ("timestamps", TIMESTAMPS)];

impl Features {
    fn of(features: wgpu::Features) -> Features {
        Features {
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            timestamps: features.contains(TIMESTAMPS),
        }
    }
}

/// What of [`FEATURES`] is asked of an adapter: all that it has, or those of them that `CHAINRULE_WGPU_FEATURES` names
/// (`none`, or a list such as `f16,subgroups`).
fn wanted_features(adapter: &wgpu::Adapter) -> Result<wgpu::Features> {
    let list = named("CHAINRULE_WGPU_FEATURES");
    let names: Option<Vec<&str>> =
        list.as_ref().map(|list| list.split(',').map(str::trim).filter(|name| *name != "none").collect());
    let is_unknown = |name: &&&str| FEATURES.iter().all(|(known, _)| known != *name);
    if let Some(unknown) = names.iter().flatten().find(is_unknown) {
        let known = FEATURES.map(|(name, _)| name).join(", ");
        return Err(missing(format!("CHAINRULE_WGPU_FEATURES has {unknown:?}, expected none or some of: {known}")));
    }
    let is_wanted = |name| names.as_ref().is_none_or(|names| names.contains(&name));
    let wanted = FEATURES.iter().filter(|(name, feature)| adapter.features().contains(*feature) && is_wanted(*name));
    Ok(wanted.fold(wgpu::Features::empty(), |all, (_, feature)| all | *feature))
}

/// What was opened.
pub(crate) struct Opened {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) info: wgpu::AdapterInfo,
    pub(crate) limits: Limits,
    pub(crate) features: Features,
}

/// The bytes of a binding and of a buffer of the system, and the workgroups of a dim, under `CHAINRULE_WGPU_LIMITS=tiny`:
/// so few that tensors of some thousand elements take several.
const TINY: (u64, u64, u32) = (8 << 10, 32 << 10, 16);

/// Opens the adapter that `CHAINRULE_WGPU_ADAPTER` names, else the best, with the limits that `CHAINRULE_WGPU_LIMITS`
/// names: `webgpu` for what every browser guarantees and no features, `tiny` for tests of what is larger than a binding,
/// else the adapter's own.
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
    let wanted = named("CHAINRULE_WGPU_LIMITS");
    let (required_limits, required_features) = match wanted.as_deref() {
        None => (adapter.limits(), wanted_features(adapter)?),
        Some("webgpu") => (wgpu::Limits::default(), wgpu::Features::empty()),
        Some("tiny") => (tiny(adapter.limits()), wanted_features(adapter)?),
        Some(other) => {
            return Err(missing(format!("CHAINRULE_WGPU_LIMITS is {other:?}, expected webgpu, tiny or nothing")));
        }
    };
    let mut limits = Limits::of(&required_limits);
    if wanted.as_deref() == Some("tiny") {
        // Not asked of the adapter, because parameters and what is read back have buffers too.
        limits.buffer_bytes = TINY.1;
    }
    let features = Features::of(required_features);
    let request = adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("chainrule"),
        required_features,
        required_limits,
        memory_hints: wgpu::MemoryHints::Performance,
        ..Default::default()
    });
    let (device, queue) =
        pollster::block_on(request).map_err(|error| missing(format!("{} refuses: {error}", name(&info))))?;
    Ok(Opened { device, queue, info, limits, features })
}

fn tiny(limits: wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits { max_storage_buffer_binding_size: TINY.0, max_compute_workgroups_per_dimension: TINY.2, ..limits }
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
